// Keys kept before rotation: attention gives the bits of "read the row, turn it, multiply", row by
// row, whatever store, keep, cut, threads and branches.
#include <cairn/cache/cache_spec.hpp>

#include "read_rows.hpp"
#include "session_support.hpp"
#include "support.hpp"
using namespace support;

namespace {

const HeadLayout bare_heads{6, 2, 24, 16};

RotaryHalf bare_rotary() { return RotaryHalf(RotarySettings{20, 1e4, 2000, {}, {}}); }

// A cache's word, and the word of a cache that keeps the same rows and does not know what they are.
struct BareCase {
    const char* spec;
    const char* twin;
};
constexpr BareCase bare_cases[] = {
    {"contiguous:f32+bare", "contiguous:f32"},
    {"paged=16:k=f16+bare,v=f32", "paged=16:k=f16,v=f32"},
    {"mapped:q8_0+bare", "mapped:q8_0"},
    {"paged=32:kivi4+bare", "paged=32:kivi4"},
    {"contiguous:q4_0+rot+bare", "contiguous:q4_0+rot"},
    {"contiguous:k=q4_0+bare+rot,v=f16", "contiguous:k=q4_0+rot,v=f16"},
    {"tiered=40:q8_0+bare", "tiered=40:q8_0"},
    {"contiguous,disk=64:f16+bare", "contiguous,disk=64:f16"},
    {"tiered=40,disk=64:q4_0+bare", "tiered=40,disk=64:q4_0"},
    {"paged=16:f16+bare:window=100,sinks=4", "paged=16:f16:window=100,sinks=4"},
};

struct BareText {
    RowMatrix q, k, v;
    explicit BareText(int rows) {
        Random random(5);
        q = random_matrix(random, rows, bare_heads.heads * bare_heads.key_dim);
        k = random_matrix(random, rows, bare_heads.kv_heads * bare_heads.key_dim);
        v = random_matrix(random, rows, bare_heads.kv_heads * bare_heads.value_dim);
    }
};

// Feeds rows [begin, end) in pieces.
void bare_feed(AnyCache& cache, const BareText& text, RowMatrix& out, int begin, int end, int piece,
               const AttentionParameters& parameters, Context& context) {
    for (int at = begin; at < end;) {
        const int n = std::min(piece, end - at);
        prefill(text.q.middleRows(at, n), text.k.middleRows(at, n), text.v.middleRows(at, n), cache,
                parameters, out.middleRows(at, n), context);
        at += n;
    }
}

}  // namespace

TEST_CASE("bare keys: rows are turned after they are read", "[bare_keys]") {
    constexpr int rows = 330;
    const BareText text(rows);
    const RotaryHalf rotary = bare_rotary();
    const AttentionParameters parameters{.scale = 0.2F, .rotation = &rotary};
    for (const BareCase& c : bare_cases) {
        INFO(c.spec);
        const CacheSpec spec = CacheSpec::parse(c.spec);
        CHECK(spec.canonical() == CacheSpec::parse(spec.canonical()).canonical());
        // The definition: one row at a time from a cache that keeps the same bytes.
        AnyCache twin = CacheSpec::parse(c.twin).make(bare_heads, 400);
        RowMatrix wanted(rows, bare_heads.heads * bare_heads.value_dim);
        for (int p = 0; p < rows; ++p) {
            twin.stage(token_rows(text.k.middleRows(p, 1)), token_rows(text.v.middleRows(p, 1)));
            wanted.row(p) = read_and_attend(
                twin, text.q.row(p), p, parameters,
                [&](RowKind, Made part, int, int position, std::span<const float> row) {
                    std::vector<float> key(row.begin(), row.end());
                    if (part == Made::keys) rotary.rotate(key.data(), position);
                    return key;
                });
            twin.commit();
        }
        CHECK(spec.make(bare_heads, 400).payload_bytes(300) ==
              CacheSpec::parse(c.twin).make(bare_heads, 400).payload_bytes(300));
        same_however_fed(
            [&] { return spec.make(bare_heads, 400); }, text.k, text.v, wanted,
            [&](AnyCache& cache, RowMatrix& out, int begin, int end, int piece, Context& context) {
                bare_feed(cache, text, out, begin, end, piece, parameters, context);
            });
    }
}

TEST_CASE("bare keys of f32 are keys of f32, and of a batch each gets its own", "[bare_keys]") {
    const BareText text(300);
    const RotaryHalf rotary = bare_rotary();
    const AttentionParameters parameters{.scale = 0.2F, .rotation = &rotary};
    Context context;
    RowMatrix turned = text.k;
    for (int r = 0; r < 300; ++r)
        for (int h = 0; h < bare_heads.kv_heads; ++h)
            rotary.rotate(turned.row(r).data() + h * bare_heads.key_dim, r);
    AnyCache bare = KvCache<Paged<BareKeys<F32>>>(bare_heads, 400);
    AnyCache plain = KvCache<Contiguous<F32>>(bare_heads, 400);
    RowMatrix a(300, bare_heads.heads * bare_heads.value_dim), b(a);
    prefill(text.q, text.k, text.v, bare, parameters, a, context);
    prefill(text.q, turned, text.v, plain, parameters, b, context);
    CHECK(same_bits(a, b));
    std::vector<AnyCache> branches;
    std::vector<BatchQuery> batch;
    RowMatrix got(5, a.cols());
    for (int i = 0; i < 5; ++i) branches.push_back(bare.fork());
    for (int i = 0; i < 5; ++i)
        batch.push_back({branches[static_cast<std::size_t>(i)].ref(), text.q.row(299).data(), 299,
                         got.row(i).data()});
    attend_batch(batch, parameters, bare_heads.heads, context);
    for (int i = 0; i < 5; ++i) CHECK(same_bits(RowMatrix(got.row(i)), RowMatrix(a.row(299))));
}

TEST_CASE("bare keys in a model: f32 gives the bits of f32", "[bare_keys]") {
    const TinyLlama model = tiny_llama();
    const std::vector<Token> prompt(40, 7);
    auto plain = model.session<KvCache<>>(200);
    auto bare = model.session<KvCache<Paged<BareKeys<F32>>>>(200);
    const auto logits = [](auto row) { return std::vector<float>(row.begin(), row.end()); };
    CHECK(same_bits(logits(plain.prefill(prompt)), logits(bare.prefill(prompt))));
    for (int i = 0; i < 20; ++i)
        REQUIRE(same_bits(logits(plain.decode(Token(i))), logits(bare.decode(Token(i)))));
}

TEST_CASE("bare keys that cannot be are refused in one sentence", "[bare_keys]") {
    for (const char* spec :
         {"f16+bare:h2o=10", "q8_0+bare:hashevict=10", "paged=16:f32+bare:nacl=9"})
        CHECK(code_of([&] { (void)CacheSpec::parse(spec); }) == ErrorCode::usage);
    CHECK(code_of([&] { (void)CacheSpec::parse("k=f16,v=f16+bare"); }) == ErrorCode::usage);
    CHECK(code_of([&] { (void)CacheSpec::parse("f16+bare+bare"); }) == ErrorCode::usage);
}
