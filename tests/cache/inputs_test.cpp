// A layer's inputs kept in place of keys and values: attention gives the bits of "read the row,
// project it, turn the key, multiply", row by row, whatever store, keep, cut, threads and branches.
#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/planner.hpp>
#include <cairn/models/audit.hpp>

#include "layers/layers_support.hpp"
#include "quantised_support.hpp"
#include "read_rows.hpp"
#include "session_support.hpp"
using namespace support;

namespace {

const HeadLayout input_heads{6, 2, 24, 16, 64};

// Projections to keys and values, of which each product takes all columns of one row.
class NaiveMaker final : public RowMaker {
  public:
    explicit NaiveMaker(const JoinedLinear& kv) : kv_(kv) {}
    int width() const noexcept override { return static_cast<int>(kv_.in()); }
    void make(Made what, int kv_head, const float* x, int count, float* out,
              Context& context) const override {
        const int dims = what == Made::keys ? input_heads.key_dim : input_heads.value_dim;
        const int first = what == Made::keys ? 0 : input_heads.kv_heads * input_heads.key_dim;
        std::vector<float> y(static_cast<std::size_t>(kv_.out()));
        for (int r = 0; r < count; ++r) {
            kv_.forward({const_cast<float*>(x) + r * width(), width(), 1}, {y.data(), kv_.out(), 1},
                        context);
            std::copy_n(y.data() + first + kv_head * dims, dims, out + r * dims);
        }
    }

  private:
    const JoinedLinear& kv_;
};

struct InputText {
    RowMatrix q, x, v;
    JoinedLinear kv;
    explicit InputText(int rows) {
        Random random(15);
        q = random_matrix(random, rows, input_heads.heads * input_heads.key_dim);
        x = random_matrix(random, rows, input_heads.input);
        v = random_matrix(random, rows, input_heads.kv_heads * input_heads.value_dim);
        kv = random_linear(random, input_heads.kv_heads * 40, input_heads.input, ElementType::f32);
    }
};

// Feeds rows [begin, end) in pieces.
void input_feed(AnyCache& cache, const InputText& text, RowMatrix& out, int begin, int end,
                int piece, const AttentionParameters& parameters, Context& context) {
    for (int at = begin; at < end;) {
        const int n = std::min({piece, end - at, cache.max_rows()});
        cache.stage(token_rows(text.x.middleRows(at, n)), token_rows(text.v.middleRows(at, n)));
        attend(cache.ref(), {text.q.row(at).data(), text.q.cols(), n, at}, parameters,
               input_heads.heads, out.row(at).data(), out.cols(), context);
        cache.commit();
        at += n;
    }
}

}  // namespace

TEST_CASE("inputs: keys and values are made of rows after they are read", "[inputs]") {
    constexpr int rows = 280;
    const InputText text(rows);
    const NaiveMaker maker(text.kv);
    const RotaryHalf rotary(RotarySettings{20, 1e4, 2000, {}, {}});
    const AttentionParameters parameters{.scale = 0.2F, .rotation = &rotary, .maker = &maker};
    Context alone;
    for (const char* word :
         {"contiguous:f32+inputs", "paged=16:f16+inputs", "mapped:q8_0+inputs",
          "paged=32:kivi4+inputs", "contiguous:q4_0+rot+inputs", "tiered=40:q8_0+inputs",
          "contiguous,disk=64:f16+inputs", "paged=16:f16+inputs:window=100,sinks=4",
          "paged=16:k=f16+inputs,v=q8_0", "contiguous:k=f16+inputs,v=q4_0+rot"}) {
        INFO(word);
        const CacheSpec spec = CacheSpec::parse(word);
        CHECK(CacheSpec::parse(spec.canonical()).canonical() == spec.canonical());
        AnyCache read = spec.make(input_heads, 400);
        RowMatrix wanted(rows, input_heads.heads * input_heads.value_dim);
        for (int p = 0; p < rows; ++p) {
            read.stage(token_rows(text.x.middleRows(p, 1)), token_rows(text.v.middleRows(p, 1)));
            wanted.row(p) =
                read_and_attend(read, text.q.row(p), p, parameters,
                                [&](RowKind kind, Made part, int kv_head, int position,
                                    std::span<const float> row) {
                                    if (kind != RowKind::input)
                                        return std::vector<float>(row.begin(), row.end());
                                    std::vector<float> made(part == Made::keys ? 24 : 16);
                                    maker.make(part, kv_head, row.data(), 1, made.data(), alone);
                                    if (part == Made::keys) rotary.rotate(made.data(), position);
                                    return made;
                                });
            read.commit();
        }
        same_however_fed(
            [&] { return spec.make(input_heads, 400); }, text.x, text.v, wanted,
            [&](AnyCache& cache, RowMatrix& out, int begin, int end, int piece, Context& context) {
                input_feed(cache, text, out, begin, end, piece, parameters, context);
            });
    }
}

TEST_CASE("inputs are kept once, and what attention needs of them is said", "[inputs]") {
    const InputText text(40);
    AnyCache cache = KvCache<Contiguous<Inputs<F16>>>(input_heads, 100);
    CHECK(cache.rows_wanted() == RowsWanted{RowKind::input, false});
    CHECK(cache.payload_bytes(40) == std::size_t{40} * 64 * 2);
    cache.append(token_rows(text.x), token_rows(text.v));
    const CachePlan plan = plan_cache(CacheSpec::parse("f16+inputs"), input_heads, {100, 40, 0});
    CHECK(plan.payload == cache.payload_bytes(40));
    CHECK(plan.committed == cache.bytes());
    RowMatrix out(40, input_heads.heads * input_heads.value_dim);
    Context context;
    const auto attended = [&](const RowMaker* maker) {
        return code_of([&] {
            attend(cache.ref(), {text.q.data(), text.q.cols(), 40, 0}, {.maker = maker},
                   input_heads.heads, out.data(), out.cols(), context);
        });
    };
    CHECK(attended(nullptr) == ErrorCode::invalid_argument);
    // Its k are input rows: those of keys would be read beyond their end.
    CHECK(code_of([&] {
              const RowMatrix keys = text.x.leftCols(48);
              prefill(text.q, keys, text.v, cache, {}, out, context);
          }) == ErrorCode::shape_mismatch);
    Random random(1);
    const JoinedLinear narrow(random_linear(random, 80, 32, ElementType::f32));
    const NaiveMaker wrong(narrow);
    CHECK(attended(&wrong) == ErrorCode::shape_mismatch);
    CHECK(code_of([] { KvCache<Contiguous<Inputs<F16>>>({6, 2, 24, 16}, 10); }) ==
          ErrorCode::invalid_argument);
    for (const char* spec :
         {"f16+inputs:h2o=10", "k=f16,v=f16+inputs", "f16+bare+inputs", "f16+inputs+bare"})
        CHECK(code_of([&] { (void)CacheSpec::parse(spec); }) == ErrorCode::usage);
}

TEST_CASE("inputs in a model: f32 gives the bits of f32, alone and in a batch", "[inputs]") {
    const TinyLlama model = tiny_llama();
    const std::vector<Token> prompt(40, 7);
    ThreadPool pool(2);
    const auto logits = [](auto row) { return std::vector<float>(row.begin(), row.end()); };
    for (const char* word : {"paged=16:f32+inputs", "contiguous:k=f32+inputs,v=f32"}) {
        AnySession plain = session_of(model, CacheSpec::parse("contiguous:f32"), 200, pool);
        AnySession other = session_of(model, CacheSpec::parse(word), 200, pool);
        CHECK(same_bits(logits(plain.prefill(prompt)), logits(other.prefill(prompt))));
        for (int i = 0; i < 20; ++i)
            REQUIRE(same_bits(logits(plain.decode(Token(i))), logits(other.decode(Token(i)))));
    }
}

TEST_CASE("what a cache of unrotated keys or inputs loses is audited like any other", "[inputs]") {
    const TinyLlama model = tiny_llama();
    const std::vector<Token> text(50, 7);
    const auto audited = [&](const char* word) {
        return audit_cache(model, text, [&](int layer, const HeadLayout& layout, int rows) {
            return CacheSpec::parse(word).make(layout, rows, layer);
        });
    };
    for (const char* exact : {"f32+bare", "f32+inputs", "k=f32+inputs,v=f32"}) {
        INFO(exact);
        const Audit audit = audited(exact);
        CHECK(audit.logits.kl == 0.0);
        for (const RelativeError& error : audit.attention) CHECK(error.difference == 0.0);
    }
    for (const char* lossy : {"q4_0+bare", "q4_0+inputs", "k=q4_0+inputs,v=f32"}) {
        INFO(lossy);
        CHECK(audited(lossy).attention[0].value() > 0.0);
    }
}

TEST_CASE("some outputs of joined linear layers are those of all", "[inputs]") {
    Random random(4);
    std::vector<Linear> parts;
    parts.push_back(random_linear(random, 60, 64, ElementType::f32, true));
    parts.push_back(Linear(
        packed(random_blocks(random, 37, 64, ElementType::q8_0), 37, 64, ElementType::q8_0)));
    parts.push_back(random_linear(random, 28, 64, ElementType::f16));
    const JoinedLinear joined(std::move(parts));
    ThreadPool pool(2);
    for (const Compute compute : {Compute::fast, Compute::accurate})
        for (const int rows : {1, 5, 33}) {
            Context context(pool);
            context.compute = compute;
            RowMatrix x = random_matrix(random, rows, 64);
            RowMatrix all(rows, 125);
            joined.forward(view(x), view(all), context);
            for (int round = 0; round < 10; ++round) {
                const int begin = draw(random, 0, 124);
                const int end = draw(random, begin + 1, 125);
                RowMatrix some(rows, end - begin);
                joined.forward(view(x), view(some), begin, end, context);
                REQUIRE(same_bits(some, RowMatrix(all.middleCols(begin, end - begin))));
            }
        }
}
