// The block pool against a naive model, and what pages promise: sharing, copy on write, nothing
// leaked, nothing used twice.
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <map>
#include <thread>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/codec/decoded.hpp>

#include "support.hpp"
using namespace support;

namespace {

const HeadLayout two_heads{2, 1, 16, 16};

// The blocks that a cache reads its committed rows of four a block from: keys', then values'.
template <class C>
std::vector<int> blocks_of_four(const C& cache) {
    RunList lists[2];
    cache.runs(0, lists[0], lists[1]);
    std::vector<int> blocks;
    for (const RunList& list : lists)
        for (const Run& run : list)
            blocks.insert(blocks.end(), run.block_table,
                          run.block_table + (cache.committed() + 3) / 4);
    return blocks;
}
// The committed rows of a cache, decoded, head 0.
template <class C>
std::vector<std::vector<float>> contents(const C& cache) {
    std::vector<std::vector<float>> rows;
    RunList keys;
    RunList values;
    cache.runs(0, keys, values);
    for (const Run& run : keys)
        for (int r = run.begin; r < std::min(run.end, cache.committed()); ++r) {
            std::vector<float> row(16);
            run.codec->decode(run.rows(r, r + 1), 16, row.data(), 16);
            rows.push_back(row);
        }
    return rows;
}

// A codec that its policy makes anew for every stream.
class FreshRows final : public DecodedCodec {
  public:
    explicit FreshRows(float scale) : DecodedCodec({.name = "fresh"}), scale_(scale) {}
    std::size_t unit_bytes(int dims) const override { return sizeof(float) * checked_size(dims); }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        for (int r = 0; r < to.count; ++r)
            for (int d = 0; d < dims; ++d) {
                const float scaled = x[r * stride + d] * scale_;
                std::memcpy(to.unit + r * to.stride + 4 * d, &scaled, 4);
            }
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        for (int r = 0; r < from.count; ++r)
            for (int d = 0; d < dims; ++d) {
                std::memcpy(x + r * stride + d, from.unit + r * from.stride + 4 * d, 4);
                x[r * stride + d] /= scale_;
            }
    }
    std::uint64_t fingerprint() const override { return scale_ == 1.0F ? 0 : 1; }

  private:
    static std::size_t checked_size(int dims) { return static_cast<std::size_t>(dims); }
    float scale_;
};
struct Fresh {
    float scale = 1.0F;
    StreamPlan plan(const StreamShape&) const {
        return StreamPlan(std::make_shared<const FreshRows>(scale));
    }
};

// Handlers that were there before the library's run while it holds the lock of a fork.
std::atomic<BlockPool*> seen_at_fork{nullptr};
void look_at_pool() {
    if (BlockPool* pool = seen_at_fork) pool->let_go(pool->take());
}
const int earlier_handlers = ::pthread_atfork(look_at_pool, look_at_pool, look_at_pool);

}  // namespace

TEST_CASE("caches whose codecs are made anew draw from one pool", "[paged]") {
    const auto pools = std::make_shared<BlockPools>(8);
    const auto cache_of = [&](float scale) {
        return AnyCache(two_heads, 64, Paged<Fresh>{{scale}, {scale}, 16, 0, pools}, KeepAll{});
    };
    AnyCache a = cache_of(1.0F);
    AnyCache b = cache_of(1.0F);
    AnyCache doubled = cache_of(2.0F);
    const std::vector<float> rows(16 * 20, 3.0F);
    for (AnyCache* cache : {&a, &b, &doubled})
        cache->append({rows.data(), 16, 20}, {rows.data(), 16, 20});
    CHECK(a.pool_use().used == 8);  // keys and values of both
    CHECK(b.pool_use().used == 8);
    CHECK(doubled.pool_use().used == 4);
    CHECK(contents(doubled)[19] == std::vector<float>(16, 3.0F));
    CHECK(code_of([&] { a.append({rows.data(), 16, 20}, {rows.data(), 16, 20}); }) ==
          ErrorCode::capacity);
    CHECK(contents(b) == contents(doubled));
}

TEST_CASE("blocks: the lowest free one, counted references, a full pool", "[paged]") {
    BlockPool pool({lasting(F32::keys()), 1, 4}, 8, 4);
    CHECK(pool.take() == 0);
    CHECK(pool.take() == 1);
    CHECK(pool.take() == 2);
    pool.share(1);
    pool.let_go(0);
    pool.let_go(1);
    CHECK(pool.used() == 2);
    CHECK(pool.take() == 0);
    CHECK(pool.take() == 3);
    CHECK(code_of([&] { pool.take(); }) == ErrorCode::capacity);
    pool.let_go(1);
    CHECK(pool.take() == 1);
    CHECK(code_of([&] { BlockPool({lasting(F16::keys()), 1, 4}, 8, 4); }) ==
          ErrorCode::invalid_argument);
}

TEST_CASE("a fork waits for what other threads do with blocks: the child goes on", "[fork]") {
    BlockPool pool({lasting(F32::keys()), 1, 16}, 16, 8);
    BlockPools pools(4);
    const int kept = pool.take();
    std::atomic<bool> stop{false};
    std::thread other([&] {
        while (!stop) {
            const int block = pool.take();
            pool.share(block);
            pool.let_go(block);
            pool.let_go(block);
            pools.of({lasting(F32::keys()), 1, 16}, 16);
        }
    });
    int good = 0;
    for (int round = 0; round < 100; ++round) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::alarm(5);  // a lock that is never released
            const int before = pool.used();
            const int block = pool.take();
            const bool whole = (before == 1 || before == 2) && pool.used() == before + 1 &&
                               pool.references(block) == 1 && pool.references(kept) == 1;
            pools.of({lasting(F32::keys()), 1, 16}, 8);
            ::syscall(SYS_exit_group, whole ? 0 : 1);  // no tool asks after the other thread
        }
        int status = -1;
        ::waitpid(child, &status, 0);
        good += status == 0 ? 1 : 0;
        if (status != 0) break;
    }
    stop = true;
    other.join();
    CHECK(good == 100);
}

TEST_CASE("handlers of fork may use pools", "[fork]") {
    REQUIRE(earlier_handlers == 0);
    BlockPool pool({lasting(F32::keys()), 1, 16}, 16, 8);
    seen_at_fork = &pool;
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(5);
        ::syscall(SYS_exit_group, pool.used() == 0 && pool.take() == 0 ? 0 : 1);
    }
    seen_at_fork = nullptr;
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(pool.used() == 0);
}

TEST_CASE("10^5 operations on many sequences against a map of vectors", "[paged]") {
    using Cache = KvCache<Paged<F32, F32, 4>>;
    Random random(21);
    struct Sequence {
        Cache cache;
        std::vector<std::vector<float>> rows;
    };
    // Keys and values are alike: they share one pool.
    const auto pools = std::make_shared<BlockPools>(1000);
    const Cache root(two_heads, 60, {.pool = pools});
    std::map<int, Sequence> sequences;
    int next = 0;
    const BlockPool& pool = *pools->of({lasting(F32::keys()), 1, 16}, 4);
    int steps = 0;
    for (; steps < 100000; ++steps) {
        const auto pick = [&] {
            auto it = sequences.begin();
            std::advance(it, static_cast<long>(random.below(sequences.size())));
            return it;
        };
        const int op = draw(random, 0, 9);
        if (sequences.empty() || (op == 0 && sequences.size() < 12)) {
            sequences.emplace(next++, Sequence{root.fork(), {}});
        } else if (op == 1) {
            const auto it = pick();
            if (sequences.size() < 12)
                sequences.emplace(next++, Sequence{it->second.cache.fork(), it->second.rows});
        } else if (op == 2) {
            sequences.erase(pick());
        } else if (op == 3) {
            Sequence& s = pick()->second;
            const int n = draw(random, 0, static_cast<int>(s.rows.size()));
            s.cache.truncate(n);
            s.rows.resize(static_cast<std::size_t>(n));
        } else {
            Sequence& s = pick()->second;
            const int n = std::min(draw(random, 1, 9), 60 - static_cast<int>(s.rows.size()));
            const auto k = random_vector(random, static_cast<std::size_t>(n) * 16);
            s.cache.stage({k.data(), 16, n}, {k.data(), 16, n});
            const int kept = op < 7 ? n : draw(random, 0, n);
            s.cache.commit(kept);
            for (int r = 0; r < kept; ++r)
                s.rows.emplace_back(k.begin() + r * 16, k.begin() + (r + 1) * 16);
        }
        if (steps % 97 == 0)
            for (const auto& [id, s] : sequences) REQUIRE(contents(s.cache) == s.rows);
        if (steps % 1009 == 0) {
            // References are table entries; a block is free or referenced, never both.
            std::map<int, int> count;
            for (const auto& [id, s] : sequences)
                for (const int block : blocks_of_four(s.cache)) ++count[block];
            for (const auto& [block, n] : count) REQUIRE(pool.references(block) == n);
            // No block is held beyond those: less than one a stream is wasted on a sequence.
            REQUIRE(pool.used() == static_cast<int>(count.size()));
            REQUIRE(root.pool_use().used == pool.used());
        }
    }
    CHECK(steps == 100000);
    sequences.clear();
    CHECK(pool.used() == 0);
}

TEST_CASE("siblings interleave inside a shared block", "[paged]") {
    Random random(22);
    for (const char* text : {"paged=16:f32", "paged=32:f16", "contiguous:f16", "mapped:q8_0",
                             "paged=16:q5_1", "tiered=20:q4_0", "paged=32:kivi4"}) {
        const CacheSpec spec = CacheSpec::parse(text);
        AnyCache a = spec.make(two_heads, 300);
        AnyCache alone = spec.make(two_heads, 300);
        const auto row = [&](AnyCache& cache, float value, int n) {
            std::vector<float> x(static_cast<std::size_t>(n) * 16, value);
            for (std::size_t i = 0; i < x.size(); ++i) x[i] += static_cast<float>(i % 7);
            cache.stage({x.data(), 16, n}, {x.data(), 16, n});
            cache.commit(n);
        };
        row(a, 1.0F, 37);
        row(alone, 1.0F, 37);
        AnyCache b = a.fork();
        AnyCache c = b.fork();
        for (int i = 0; i < 40; ++i) {
            row(a, 2.0F, 1);
            row(b, 3.0F, 1 + i % 2);
            if (i % 3 == 0) row(c, 4.0F, 2);
            row(alone, 2.0F, 1);
        }
        INFO(text);
        // What attention reads of `a` is what a cache without siblings holds.
        const RowMatrix q = random_matrix(random, 1, 32);
        RowMatrix x(1, 32);
        RowMatrix y(1, 32);
        Context context;
        attend(a, {q.data(), 32, 1, a.length() - 1}, {}, 2, x.data(), 32, context);
        attend(alone, {q.data(), 32, 1, alone.length() - 1}, {}, 2, y.data(), 32, context);
        CHECK(same_bits(x, y));
        AnyCache deep = a.copy();
        row(a, 9.0F, 5);
        attend(deep, {q.data(), 32, 1, deep.length() - 1}, {}, 2, y.data(), 32, context);
        CHECK(same_bits(x, y));
    }
}

TEST_CASE("mapped: pages come with tokens and go with truncate", "[mapped]") {
    using Cache = KvCache<Mapped<F32>>;
    Cache cache({2, 2, 64, 64}, 100000);
    CHECK(cache.bytes() == 0);
    const std::vector<float> rows(128 * 100, 1.0F);
    for (int i = 0; i < 20; ++i) cache.append({rows.data(), 128, 100}, {rows.data(), 128, 100});
    const std::size_t full = cache.bytes();
    CHECK(full == 4 * round_up(2000 * 256, page_size()));
    cache.truncate(100);
    CHECK(cache.bytes() == 4 * round_up(100 * 256, page_size()));
    for (int i = 0; i < 19; ++i) cache.append({rows.data(), 128, 100}, {rows.data(), 128, 100});
    CHECK(cache.bytes() == full);
    CHECK(key_view(cache, 1).rows() == 2000);
    CHECK(key_view(cache, 1)(1999, 63) == 1.0F);
}

TEST_CASE("a full pool refuses a stage and changes nothing", "[paged]") {
    CacheSpec spec = CacheSpec::parse("paged=16:f32");
    spec.set_pool_blocks(3);
    AnyCache a = spec.make(two_heads, 100);
    const std::vector<float> rows(16 * 60, 1.0F);
    a.stage({rows.data(), 16, 20}, {rows.data(), 16, 20});
    a.commit(20);
    AnyCache b = a.fork();
    CHECK(code_of([&] { b.stage({rows.data(), 16, 30}, {rows.data(), 16, 30}); }) ==
          ErrorCode::capacity);
    CHECK(b.length() == 20);
    b.stage({rows.data(), 16, 12}, {rows.data(), 16, 12});
    b.commit(12);
    CHECK(code_of([&] { a.stage({rows.data(), 16, 13}, {rows.data(), 16, 13}); }) ==
          ErrorCode::capacity);
    b.truncate(0);
    a.stage({rows.data(), 16, 28}, {rows.data(), 16, 28});
    a.commit(28);
    CHECK(a.committed() == 48);
}
