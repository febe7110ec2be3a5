// attend_batch gives each sequence the bits of attend, whatever shares rows with whatever, and
// reads shared rows once.
#include <cairn/attention/batch.hpp>
#include <cairn/cache/cache_spec.hpp>

#include "counting_codec.hpp"
#include "support.hpp"
using namespace support;

namespace {

void fill(Random& random, AnyCache& cache, int rows) {
    const HeadLayout layout = cache.layout();
    while (rows > 0) {
        const int n = std::min({rows, 100, cache.max_rows()});
        const RowMatrix k = random_matrix(random, n, layout.kv_heads * layout.key_dim);
        const RowMatrix v = random_matrix(random, n, layout.kv_heads * layout.value_dim);
        cache.stage({k.data(), k.cols(), n}, {v.data(), v.cols(), n});
        cache.commit(n);
        rows -= n;
    }
}

}  // namespace

TEST_CASE("a batch of branches gives each the bits it gets alone", "[batch]") {
    Random random(31);
    const char* specs[] = {"paged=16:f32",
                           "paged=16:f16",
                           "contiguous:f16",
                           "paged=32:q4_0+rot",
                           "paged=32:kivi4",
                           "paged=16:f16:window=300,sinks=4",
                           "contiguous:f32:window=100,sinks=0",
                           "tiered=100:q8_0",
                           "contiguous,disk=64:f16",
                           "contiguous,disk=300:kivi2"};
    ThreadPool pool(3);
    for (int round = 0; round < 60; ++round) {
        const char* spec = specs[round % 10];
        INFO(spec << ", round " << round);
        const int kv = draw(random, 1, 3);
        const HeadLayout layout{kv * draw(random, 1, 6), kv, draw(random, 1, 40) * 2,
                                draw(random, 1, 80)};
        // A tree of branches: each new one is cut off an earlier one, or begins anew.
        std::vector<AnyCache> caches;
        const int count = draw(random, 1, 9);
        const AnyCache root = CacheSpec::parse(spec).make(layout, 1500);
        for (int i = 0; i < count; ++i) {
            caches.push_back(i > 0 && random.below(5) != 0
                                 ? caches[random.below(caches.size())].fork()
                                 : root.fork());
            AnyCache& cache = caches.back();
            const int back = cache.committed() - draw(random, 0, 60);
            if (random.below(3) == 0 && cache.can_truncate(back)) cache.truncate(back);
            fill(random, cache, draw(random, 1, cache.committed() > 900 ? 5 : 600));
        }
        std::vector<float> slopes;
        AttentionParameters parameters{.scale = 0.3F};
        if (random.below(4) == 0) parameters.mask = Mask::sliding_window(draw(random, 1, 700));
        if (random.below(4) == 0) parameters.soft_cap = 3.0F;
        if (random.below(4) == 0) {
            for (int h = 0; h < layout.heads; ++h)
                slopes.push_back(0.1F / static_cast<float>(h + 1));
            parameters.alibi = slopes;
            parameters.sinks = slopes;
        }
        const RotaryHalf rotary(RotarySettings{layout.key_dim, 1e4, 2000, {}, {}});
        if (random.below(2) == 0) parameters.rotation = &rotary;
        const int width = layout.heads * layout.value_dim;
        const RowMatrix q = random_matrix(random, count, layout.heads * layout.key_dim);
        RowMatrix wanted(count, width);
        Context alone;
        for (int i = 0; i < count; ++i) {
            const AnyCache& cache = caches[static_cast<std::size_t>(i)];
            attend(cache.ref(), {q.row(i).data(), 0, 1, cache.committed() - 1}, parameters,
                   layout.heads, wanted.row(i).data(), width, alone);
        }
        Context threads(pool);
        for (Context* context : {&alone, &threads}) {
            RowMatrix got(count, width);
            std::vector<BatchQuery> batch;
            for (int i = 0; i < count; ++i) {
                const AnyCache& cache = caches[static_cast<std::size_t>(i)];
                batch.push_back(
                    {cache.ref(), q.row(i).data(), cache.committed() - 1, got.row(i).data()});
            }
            attend_batch(batch, parameters, layout.heads, *context);
            REQUIRE(same_bits(got, wanted));
        }
    }
}

TEST_CASE("a batch of caches that choose rows by score gives each what it gets alone", "[batch]") {
    Random random(34);
    ThreadPool pool(2);
    Context context(pool);
    const HeadLayout layout{6, 2, 16, 12};
    const AttentionParameters parameters{.scale = 0.25F};
    for (const char* spec : {"paged=16:f16:h2o=40,recent=10", "contiguous:f32:hashevict=40"}) {
        INFO(spec);
        std::vector<AnyCache> alone;
        std::vector<AnyCache> together;
        for (int i = 0; i < 3; ++i) {
            AnyCache cache = CacheSpec::parse(spec).make(layout, 400);
            cache.expect_prompt(60);
            fill(random, cache, 60);
            together.push_back(cache.copy());
            alone.push_back(std::move(cache));
        }
        for (int step = 60; step < 100; ++step) {
            const RowMatrix q = random_matrix(random, 3, 6 * 16);
            const RowMatrix k = random_matrix(random, 3, 2 * 16);
            const RowMatrix v = random_matrix(random, 3, 2 * 12);
            RowMatrix wanted(3, 6 * 12);
            RowMatrix got(3, 6 * 12);
            std::vector<BatchQuery> batch;
            for (int i = 0; i < 3; ++i) {
                AnyCache& one = alone[static_cast<std::size_t>(i)];
                AnyCache& other = together[static_cast<std::size_t>(i)];
                for (AnyCache* cache : {&one, &other})
                    cache->stage({k.row(i).data(), 0, 1}, {v.row(i).data(), 0, 1});
                attend(one.ref(), {q.row(i).data(), 0, 1, step}, parameters, 6,
                       wanted.row(i).data(), 0, context);
                batch.push_back({other.ref(), q.row(i).data(), step, got.row(i).data()});
            }
            attend_batch(batch, parameters, 6, context);
            REQUIRE(same_bits(got, wanted));
            for (std::vector<AnyCache>* caches : {&alone, &together})
                for (AnyCache& cache : *caches) cache.commit();
        }
        CHECK(together[0].held() == 40);
    }
}

TEST_CASE("shared rows are read once for the whole batch", "[batch]") {
    Random random(32);
    const HeadLayout layout{4, 2, 16, 16};
    AnyCache first(KvCache<Paged<Counting>>(layout, 1200));
    fill(random, first, 1024);
    std::vector<AnyCache> caches;
    for (int i = 0; i < 8; ++i) {
        caches.push_back(first.fork());
        fill(random, caches.back(), 10);
    }
    const RowMatrix q = random_matrix(random, 8, 4 * 16);
    RowMatrix out(8, 4 * 16);
    std::vector<BatchQuery> batch;
    for (int i = 0; i < 8; ++i)
        batch.push_back(
            {caches[static_cast<std::size_t>(i)].ref(), q.row(i).data(), 1033, out.row(i).data()});
    const AttentionParameters parameters{.scale = 0.25F};
    Context context;
    Counting::clear();
    for (const BatchQuery& b : batch)
        attend(b.cache, {b.q, 0, 1, b.position}, parameters, 4, b.out, 0, context);
    CHECK(Counting::scored == 8 * 2 * 1034);
    Counting::clear();
    attend_batch(batch, parameters, 4, context);
    CHECK(Counting::scored == 2 * (1024 + 8 * 10));
    CHECK(Counting::weighed == 2 * (1024 + 8 * 10));
}

TEST_CASE("a batch refuses what attend refuses", "[batch]") {
    Random random(33);
    AnyCache a(KvCache<>({2, 1, 8, 8}, 10));
    AnyCache b(KvCache<>({2, 1, 8, 16}, 10));
    fill(random, a, 3);
    fill(random, b, 3);
    std::vector<float> q(16);
    std::vector<float> out(64);
    Context context;
    const AttentionParameters parameters{.scale = 1.0F};
    const auto code = [&](std::vector<BatchQuery> batch, int heads) {
        return code_of([&] { attend_batch(batch, parameters, heads, context); });
    };
    CHECK(code({{a.ref(), q.data(), 2, out.data()}, {b.ref(), q.data(), 2, out.data()}}, 2) ==
          ErrorCode::shape_mismatch);
    CHECK(code({{a.ref(), q.data(), 3, out.data()}}, 2) == ErrorCode::bad_state);
    CHECK(code({{a.ref(), q.data(), 2, out.data()}}, 0) == ErrorCode::shape_mismatch);
    attend_batch({}, parameters, 2, context);
}
