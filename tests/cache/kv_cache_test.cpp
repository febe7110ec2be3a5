#include <atomic>
#include <thread>

#include "cache/cache_support.hpp"
using namespace support;

static_assert(AttentionCache<KvCache<>> && Rewindable<KvCache<>> && Forkable<KvCache<>> &&
              SessionCache<KvCache<>>);
static_assert(AttentionCache<AnyCache> && Rewindable<AnyCache> && Forkable<AnyCache> &&
              !SessionCache<AnyCache>);
static_assert(!std::is_copy_constructible_v<KvCache<>> &&
              std::is_nothrow_move_constructible_v<Mapping>);

TEMPLATE_TEST_CASE("staged rows become visible, committed or forgotten", "[kv_cache]", F32, F16,
                   BF16) {
    Random random(1);
    KvCache<Contiguous<TestType>> cache(uneven_heads, 100);
    const Step a(random, 17), b(random, 5);
    append(cache, a);
    const auto before = decoded_rows(cache);
    cache.stage(token_rows(b.k), token_rows(b.v));
    CHECK(cache.committed() == 17);
    CHECK(cache.length() == 22);
    CHECK(decoded_rows(cache) == before);
    cache.rollback();
    CHECK(cache.length() == 17);
    CHECK(decoded_rows(cache) == before);
    cache.stage(token_rows(b.k), token_rows(b.v));
    cache.stage(token_rows(b.k), token_rows(b.v));
    cache.commit(7);  // the first seven of ten
    CHECK(cache.committed() == 24);
    CHECK(cache.length() == 24);
    cache.commit(3);  // nothing is staged
    CHECK(cache.committed() == 24);
    cache.truncate(17);
    CHECK(decoded_rows(cache) == before);
    cache.clear();
    CHECK(cache.committed() == 0);
    append(cache, a);
    CHECK(decoded_rows(cache) == before);
}

TEST_CASE("everything refused leaves the cache as it was", "[kv_cache]") {
    Random random(2);
    KvCache<> cache(uneven_heads, 20);
    append(cache, Step(random, 12));
    const auto before = decoded_rows(cache);
    const Step nine(random, 9), eight(random, 8);
    CHECK(code_of([&] { cache.stage(token_rows(nine.k), token_rows(nine.v)); }) ==
          ErrorCode::capacity);
    CHECK(code_of([&] { cache.stage(token_rows(nine.k), token_rows(eight.v)); }) ==
          ErrorCode::shape_mismatch);
    CHECK(code_of([&] { cache.stage({nullptr, 40, 1}, {nullptr, 24, 1}); }) ==
          ErrorCode::invalid_argument);
    CHECK(code_of([&] { cache.truncate(13); }) == ErrorCode::bad_state);
    CHECK(code_of([&] { cache.truncate(-1); }) == ErrorCode::bad_state);
    CHECK_FALSE(cache.can_truncate(13));
    CHECK(decoded_rows(cache) == before);
    append(cache, eight);  // exactly full
    CHECK(cache.committed() == 20);
    const Step one(random, 1);
    CHECK(code_of([&] { cache.stage(token_rows(one.k), token_rows(one.v)); }) ==
          ErrorCode::capacity);
    cache.truncate(19);
    append(cache, one);  // goes on after truncating
    CHECK(code_of([&] { KvCache<>(uneven_heads, 0); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { KvCache<>({4, 3, 8, 8}, 5); }) == ErrorCode::invalid_argument);
    KvCache<> moved = std::move(cache);
    CHECK(code_of([&] { cache.stage(token_rows(one.k), token_rows(one.v)); }) ==
          ErrorCode::bad_state);
    CHECK(code_of([&] { (void)cache.copy(); }) == ErrorCode::bad_state);
    CHECK(code_of([&] { KvCache<>({64, 64, 1 << 20, 1 << 20}, 2147480000); }) !=
          ErrorCode::usage);  // typed, not a crash
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
    branches.push_back({Cache(uneven_heads, 64), RowMatrix(0, 40), RowMatrix(0, 24)});
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
            Cache fresh(uneven_heads, 64);
            if (branch.k.rows() > 0) fresh.append(token_rows(branch.k), token_rows(branch.v));
            REQUIRE(decoded_rows(branch.cache) == decoded_rows(fresh));
        }
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

TEMPLATE_TEST_CASE("after a move: zero, nothing, or bad_state", "[kv_cache]", KvCache<>,
                   (KvCache<Mapped<Q8_0>, WindowSinks<20>>),
                   (KvCache<TieredToDisk<Q8_0, F16, 8, 8>>), (KvCache<Paged<F16>, H2O<12>>),
                   (KvCache<Contiguous<F16>, HashEvict<20>>), AnyCache) {
    Random random(8);
    const auto make = [] {
        if constexpr (std::is_same_v<TestType, AnyCache>)
            return AnyCache(KvCache<Paged<F16>>(uneven_heads, 60));
        else
            return TestType(uneven_heads, 60);
    };
    TestType cache = make();
    const Step step(random, 10), one(random, 1);
    append(cache, step);
    cache.stage(token_rows(one.k), token_rows(one.v));
    TestType moved = std::move(cache);
    RunList keys, values;
    // What asks.
    CHECK((cache.committed() == 0 && cache.length() == 0 && cache.capacity() == 0));
    CHECK((cache.max_rows() == 0 && cache.span() == 0 && cache.held() == 0));
    CHECK((cache.bytes() == 0 && cache.payload_bytes(5) == 0));
    CHECK_FALSE((cache.streaming() || cache.can_truncate(0) || cache.can_truncate(5)));
    cache.runs(0, keys, values);
    CHECK((keys.size() == 0 && values.size() == 0));
    if constexpr (requires { cache.can_drop(0, 1); })
        CHECK_FALSE((cache.can_drop(0, 1) || cache.can_close(1) || cache.can_shift(0, 1)));
    if constexpr (requires { cache.wants_scores(0); }) {
        CHECK_FALSE((cache.wants_scores(0) || cache.wants_queries()));
        const float q[64] = {};
        cache.on_queries(0, q, 1, 0);
        cache.on_scores(0, q, 0, 5);
    }
    cache.commit(1);
    cache.rollback();
    // What acts.
    const auto refused = [&](auto&& act) { CHECK(code_of(act) == ErrorCode::bad_state); };
    refused([&] { cache.stage(token_rows(one.k), token_rows(one.v)); });
    refused([&] { cache.truncate(0); });
    refused([&] { cache.clear(); });
    refused([&] { cache.expect_prompt(5); });
    refused([&] { (void)cache.fork(); });
    refused([&] { (void)cache.copy(); });
    if constexpr (requires { cache.drop(0, 1); }) {
        refused([&] { cache.drop(0, 1); });
        refused([&] { cache.close(1); });
        refused([&] { cache.shift(0, 1); });
    }
    if constexpr (requires { cache.pin(0, 1); }) refused([&] { cache.pin(0, 1); });
    Context context;
    RowMatrix q = random_matrix(random, 1, 80), out(1, 48);
    refused([&] { attend(cache, {q.data(), 80, 1, 0}, {}, 4, out.data(), 48, context); });
    // What it was is all there, and a new one may take its place.
    CHECK((moved.committed() == 10 && moved.length() == 11));
    moved.rollback();
    cache = make();
    append(cache, step);
    RowMatrix other(1, 48);
    prefill(q, one.k, one.v, cache, {}, out, context);
    prefill(q, one.k, one.v, moved, {}, other, context);
    CHECK(same_bits(out, other));
}

TEMPLATE_TEST_CASE("two threads on one cache: each call works or is told", "[kv_cache]",
                   (KvCache<Contiguous<F32>>), (KvCache<Paged<F16>>)) {
    const HeadLayout layout{2, 2, 8, 8};
    TestType cache(layout, 64);
    Random random(5);
    const RowMatrix rows = random_matrix(random, 3, 16);
    std::atomic<int> others = 0;
    const auto work = [&](int seed) {
        Random choose(static_cast<std::uint64_t>(seed));
        for (int i = 0; i < 300; ++i) try {
                switch (choose.below(8)) {
                    case 0: cache.clear(); break;
                    case 1: cache.fork().append(token_rows(rows), token_rows(rows)); break;
                    case 2: cache.copy().append(token_rows(rows), token_rows(rows)); break;
                    case 3: cache.stage(token_rows(rows), token_rows(rows)); break;
                    case 4: cache.commit(); break;
                    case 5: cache.rollback(); break;
                    case 6: cache.can_truncate(0); break;
                    default: cache.append(token_rows(rows), token_rows(rows)); break;
                }
            } catch (const Error& error) {
                if (error.code() != ErrorCode::concurrent_use &&
                    error.code() != ErrorCode::capacity && error.code() != ErrorCode::bad_state)
                    ++others;
            }
    };
    std::thread other(work, 1);
    work(2);
    other.join();
    CHECK(others == 0);
    cache.clear();
    cache.append(token_rows(rows), token_rows(rows));
    CHECK(cache.committed() == 3);
    CHECK(cache.length() == 3);
}
