#include <sys/mman.h>

#include <thread>

#include "support.hpp"
using namespace support;

namespace {

const HeadLayout layout{4, 2, 20, 12};

struct Step {
    RowMatrix k, v;
    Step(Random& random, int rows)
        : k(random_matrix(random, rows, 40)), v(random_matrix(random, rows, 24)) {}
};
template <class C>
void append(C& cache, const Step& step) {
    cache.stage(token_rows(step.k), token_rows(step.v));
    cache.commit(static_cast<int>(step.k.rows()));
}
// All committed rows, decoded: what attention would see.
template <class C>
std::vector<float> contents(const C& cache) {
    std::vector<float> result;
    for (int h = 0; h < layout.kv_heads; ++h) {
        RunList keys, values;
        cache.runs(h, keys, values);
        for (const auto* list : {&keys, &values})
            for (const Run& run : *list) {
                const int dims = list == &keys ? layout.key_dim : layout.value_dim;
                std::vector<float> row(static_cast<std::size_t>(dims));
                for (int r = run.begin; r < std::min(run.end, cache.committed()); ++r) {
                    run.codec->decode(run.rows(r, r + 1), dims, row.data(), dims);
                    result.insert(result.end(), row.begin(), row.end());
                }
            }
    }
    return result;
}
// Pages of a mapping that are in memory.
std::size_t resident(const Run& run, std::size_t bytes) {
    std::vector<unsigned char> map(bytes / page_size());
    REQUIRE(::mincore(run.data, bytes, map.data()) == 0);
    std::size_t pages = 0;
    for (const unsigned char page : map) pages += page & 1;
    return pages * page_size();
}

}  // namespace

static_assert(AttentionCache<KvCache<>> && Rewindable<KvCache<>> && Forkable<KvCache<>> &&
              SessionCache<KvCache<>>);
static_assert(AttentionCache<AnyCache> && Rewindable<AnyCache> && Forkable<AnyCache> &&
              !SessionCache<AnyCache>);
static_assert(!std::is_copy_constructible_v<KvCache<>> &&
              std::is_nothrow_move_constructible_v<Mapping>);

TEMPLATE_TEST_CASE("staged rows become visible, committed or forgotten", "[kv_cache]", F32, F16,
                   BF16) {
    Random random(1);
    KvCache<Contiguous<TestType>> cache(layout, 100);
    const Step a(random, 17), b(random, 5);
    append(cache, a);
    const auto before = contents(cache);
    cache.stage(token_rows(b.k), token_rows(b.v));
    CHECK(cache.committed() == 17);
    CHECK(cache.length() == 22);
    CHECK(contents(cache) == before);
    cache.rollback();
    CHECK(cache.length() == 17);
    CHECK(contents(cache) == before);
    cache.stage(token_rows(b.k), token_rows(b.v));
    cache.stage(token_rows(b.k), token_rows(b.v));
    cache.commit(7);  // the first seven of ten
    CHECK(cache.committed() == 24);
    CHECK(cache.length() == 24);
    cache.commit(3);  // nothing is staged
    CHECK(cache.committed() == 24);
    cache.truncate(17);
    CHECK(contents(cache) == before);
    cache.clear();
    CHECK(cache.committed() == 0);
    append(cache, a);
    CHECK(contents(cache) == before);
}

TEST_CASE("everything refused leaves the cache as it was", "[kv_cache]") {
    Random random(2);
    KvCache<> cache(layout, 20);
    append(cache, Step(random, 12));
    const auto before = contents(cache);
    const Step nine(random, 9), eight(random, 8);
    CHECK(code_of([&] { cache.stage(token_rows(nine.k), token_rows(nine.v)); }) ==
          ErrorCode::capacity);
    CHECK(code_of([&] { cache.stage(token_rows(nine.k), token_rows(eight.v)); }) ==
          ErrorCode::shape_mismatch);
    CHECK(code_of([&] {
              cache.stage({nullptr, 40, 1}, {nullptr, 24, 1});
          }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { cache.truncate(13); }) == ErrorCode::bad_state);
    CHECK(code_of([&] { cache.truncate(-1); }) == ErrorCode::bad_state);
    CHECK_FALSE(cache.can_truncate(13));
    CHECK(contents(cache) == before);
    append(cache, eight);  // exactly full
    CHECK(cache.committed() == 20);
    const Step one(random, 1);
    CHECK(code_of([&] { cache.stage(token_rows(one.k), token_rows(one.v)); }) ==
          ErrorCode::capacity);
    cache.truncate(19);
    append(cache, one);  // goes on after truncating
    CHECK(code_of([&] { KvCache<>(layout, 0); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { KvCache<>({4, 3, 8, 8}, 5); }) == ErrorCode::invalid_argument);
    KvCache<> moved = std::move(cache);
    CHECK(code_of([&] { cache.stage(token_rows(one.k), token_rows(one.v)); }) ==
          ErrorCode::bad_state);
    CHECK(code_of([&] { (void)cache.copy(); }) == ErrorCode::bad_state);
    CHECK(code_of([&] {
              KvCache<>({64, 64, 1 << 20, 1 << 20}, 2147480000);
          }) != ErrorCode::usage);  // typed, not a crash
}

TEMPLATE_TEST_CASE("forks share rows and never see each other's", "[kv_cache][contiguous]", F32,
                   F16) {
    Random random(3);
    using Cache = KvCache<Contiguous<TestType>>;
    // The model: each cache is the list of its rows. Random appends, truncates, forks and drops,
    // with branches that interleave inside one tile.
    struct Branch {
        Cache cache;
        RowMatrix k, v;
    };
    std::vector<Branch> branches;
    branches.push_back({Cache(layout, 64), RowMatrix(0, 40), RowMatrix(0, 24)});
    for (int op = 0; op < 2000; ++op) {
        const auto which =
            static_cast<std::size_t>(draw(random, 0, static_cast<int>(branches.size()) - 1));
        Branch& b = branches[which];
        const int rows = static_cast<int>(b.k.rows());
        switch (draw(random, 0, 5)) {
            case 0:
            case 1: {
                const Step step(random, std::min(draw(random, 1, 5), 64 - rows));
                b.cache.stage(token_rows(step.k), token_rows(step.v));
                if (draw(random, 0, 3) == 0) {
                    b.cache.rollback();
                    break;
                }
                b.cache.commit();
                RowMatrix k(rows + step.k.rows(), 40), v(rows + step.k.rows(), 24);
                k << b.k, step.k;
                v << b.v, step.v;
                b.k = k;
                b.v = v;
                break;
            }
            case 2: {
                const int keep = draw(random, 0, rows);
                b.cache.truncate(keep);
                b.k.conservativeResize(keep, 40);
                b.v.conservativeResize(keep, 24);
                break;
            }
            case 3:
                if (branches.size() < 6) branches.push_back({b.cache.fork(), b.k, b.v});
                break;
            case 4:
                if (branches.size() < 6) branches.push_back({b.cache.copy(), b.k, b.v});
                break;
            default:
                if (branches.size() > 1)
                    branches.erase(branches.begin() + static_cast<std::ptrdiff_t>(which));
        }
        for (const Branch& branch : branches) {
            Cache fresh(layout, 64);
            if (branch.k.rows() > 0) fresh.append(token_rows(branch.k), token_rows(branch.v));
            REQUIRE(contents(branch.cache) == contents(fresh));
        }
    }
}

TEST_CASE("a fork costs no rows until it writes", "[contiguous]") {
    Random random(4);
    KvCache<> cache(layout, 1000);
    append(cache, Step(random, 500));
    KvCache<> fork = cache.fork();
    RunList a, b, v;
    cache.runs(0, a, v);
    fork.runs(0, b, v);
    CHECK(a[0].data == b[0].data);
    append(cache, Step(random, 1));  // the parent goes on in place
    fork.runs(0, b, v);
    CHECK(a[0].data == b[0].data);
    append(fork, Step(random, 1));  // the child makes its own copy
    fork.runs(0, b, v);
    CHECK(a[0].data != b[0].data);
}

TEST_CASE("rows never move, and bytes are what the system holds", "[contiguous]") {
    Random random(5);
    KvCache<Contiguous<F16, F32>> cache(layout, 100000);
    RunList keys, values;
    CHECK(cache.bytes() == 0);
    append(cache, Step(random, 1));
    cache.runs(1, keys, values);
    const std::byte* where = keys[0].data;
    for (int i = 0; i < 60; ++i) {
        append(cache, Step(random, draw(random, 1, 90)));
        cache.runs(1, keys, values);
        REQUIRE(keys[0].data == where);
        const int rows = cache.committed();
        const std::size_t key_bytes =
            ContiguousRows::bytes_for(F16::keys(), 2, 20, {1000, 0, 0, 0}, rows);
        const std::size_t value_bytes =
            ContiguousRows::bytes_for(F32::values(), 2, 12, {1000, 0, 0, 0}, rows);
        REQUIRE(cache.bytes() == key_bytes + value_bytes);
        REQUIRE(cache.payload_bytes(rows) ==
                static_cast<std::size_t>(rows) * 2 * (20 * 2 + 12 * 4));
        // Each head's stretch holds exactly its share of pages.
        REQUIRE(resident(keys[0],
                         round_up(static_cast<std::size_t>(rows + 15) / 16 * 16 * 40, page_size()) +
                             page_size()) == key_bytes / 2);
        REQUIRE(resident(values[0], round_up(static_cast<std::size_t>(rows) * 48, page_size()) +
                                        page_size()) == value_bytes / 2);
    }
}

TEST_CASE("the textbook formula gives the known numbers", "[kv_cache]") {
    // Bytes a token at 16 bits: LLaMA-7B 32 layers of 32x128, Llama-2-70B 80 of 8x128, GPT-2 XL 48
    // of 25x64.
    const auto bytes = [](int layers, int kv_heads, int dim) {
        KvCache<Contiguous<F16>> cache({kv_heads, kv_heads, dim, dim}, 16);
        return static_cast<std::size_t>(layers) * cache.payload_bytes(1);
    };
    CHECK(bytes(32, 32, 128) == 524288);
    CHECK(bytes(80, 8, 128) == 327680);
    CHECK(bytes(48, 25, 64) == 307200);
    CHECK(bytes(30, 3, 64) == 23040);
    CHECK(TinyShape{.layers = 48, .heads = 25, .width = 1600}.cache_bytes(1, 2) == 307200);
}

TEST_CASE("Eigen sees the rows of an f32 cache", "[views]") {
    Random random(6);
    KvCache<> cache(layout, 50);
    const Step step(random, 33);
    append(cache, step);
    for (int h = 0; h < 2; ++h) {
        CHECK(key_view(cache, h) == step.k.middleCols(h * 20, 20));
        CHECK(value_view(cache, h) == step.v.middleCols(h * 12, 12));
    }
    CHECK(code_of([&] { key_view(cache, 2); }) == ErrorCode::invalid_argument);
    KvCache<Contiguous<F16>> half(layout, 50);
    CHECK(key_view(half, 0).rows() == 0);
    append(half, step);
    CHECK(code_of([&] { key_view(half, 0); }) == ErrorCode::unsupported);
}

TEST_CASE("16-bit rows saturate, and keep NaN", "[plain]") {
    KvCache<Contiguous<F16>> cache({1, 1, 2, 2}, 4);
    const float k[] = {1e30F, std::nanf("")};
    const float v[] = {-1e30F, std::numeric_limits<float>::infinity()};
    cache.append({k, 2, 1}, {v, 2, 1});
    RunList keys, values;
    cache.runs(0, keys, values);
    float row[2];
    keys[0].codec->decode(keys[0].rows(0, 1), 2, row, 2);
    CHECK(row[0] == 65504.0F);
    CHECK(std::isnan(row[1]));
    values[0].codec->decode(values[0].rows(0, 1), 2, row, 2);
    CHECK(row[0] == -65504.0F);
    CHECK(std::isinf(row[1]));
}

TEST_CASE("two threads on one cache: one of them is told", "[busy]") {
    BusyFlag flag;
    const BusyFlag::Hold hold(flag, "x");
    CHECK(code_of([&] { BusyFlag::Hold second(flag, "x"); }) == ErrorCode::concurrent_use);
}

TEST_CASE("a SPEC names a cache, one way only", "[any_cache]") {
    CHECK(CacheSpec::parse("contiguous").canonical() == "contiguous:f32");
    CHECK(CacheSpec::parse("contiguous:k=bf16,v=f16").canonical() == "contiguous:k=bf16,v=f16");
    CHECK(CacheSpec::parse("contiguous:k=f16,v=f16").canonical() == "contiguous:f16");
    for (const char* bad : {"",
                            "pages",
                            "paged=0",
                            "mapped,disk=64",
                            "contiguous,disk=0",
                            "contiguous,disk",
                            "tiered=8,disc=64",
                            "contiguous,disk=64:f16:window=8",
                            "paged=8:f16",
                            "paged=16:kivi4",
                            "contiguous=4",
                            "contiguous:q9",
                            "contiguous:k=f16",
                            "contiguous:k=f16,v=",
                            "contiguous:f16:most",
                            "contiguous:f16:window",
                            "contiguous::window=0",
                            "contiguous::window=4,recent=3",
                            "contiguous::h2o=4,recent=5",
                            "contiguous::h2o=99999999999",
                            "contiguous::hashevict=14",
                            "contiguous:kivi4:h2o=40",
                            "tiered:kivi2",
                            "tiered::snapkv=50",
                            "contiguous:f16:all:all",
                            ":f16"})
        CHECK(code_of([&] { CacheSpec::parse(bad); }) == ErrorCode::usage);
    Random random(7);
    AnyCache any = CacheSpec::parse("contiguous:k=f16,v=f32").make(layout, 40);
    KvCache<Contiguous<F16, F32>> typed(layout, 40);
    const Step step(random, 30);
    append(any, step);
    append(typed, step);
    CHECK(contents(any) == contents(typed));
    CHECK(any.bytes() == typed.bytes());
    AnyCache fork = any.fork();
    any.truncate(10);
    CHECK(contents(fork) == contents(typed));
    CHECK(any.copy().committed() == 10);
}
