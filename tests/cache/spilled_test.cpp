// Old rows on disk: the same rows and bits as in memory, a bounded memory, and typed errors where
// the disk fails.
#include <sys/resource.h>
#include <unistd.h>

#include <cairn/attention/batch.hpp>
#include <cairn/cache/seam/row_source.hpp>

#include "support.hpp"
using namespace support;

namespace {

const HeadLayout four_heads{4, 2, 8, 12};

// A cache that keeps `rows` of its rows in memory and writes the others into `file`.
template <class Codec>
AnyCache spilling(const std::shared_ptr<ScratchFile>& file, int rows, int capacity) {
    return AnyCache(four_heads, capacity, Spilled<Codec>{.memory_rows = rows, .file = file},
                    KeepAll());
}
void fill(Random& random, AnyCache& cache, AnyCache& other, int rows) {
    for (int at = 0; at < rows;) {
        const int n = std::min(draw(random, 1, cache.max_rows()), rows - at);
        const RowMatrix k = random_matrix(random, n, four_heads.kv_heads * four_heads.key_dim);
        const RowMatrix v = random_matrix(random, n, four_heads.kv_heads * four_heads.value_dim);
        for (AnyCache* c : {&cache, &other}) {
            c->stage({k.data(), k.cols(), n}, {v.data(), v.cols(), n});
            c->commit(n);
        }
        at += n;
    }
}
// The decoded rows that the next query reads.
std::vector<float> rows_of(const AnyCache& cache) {
    std::vector<float> all;
    RowReader reader;
    for (int h = 0; h < four_heads.kv_heads; ++h) {
        RunList lists[2];
        cache.runs(h, lists[0], lists[1]);
        for (int s = 0; s < 2; ++s)
            for (const Run& run : lists[s])
                for (int row = run.begin; row < std::min(run.end, cache.committed()); ++row) {
                    const int dims = s == 0 ? four_heads.key_dim : four_heads.value_dim;
                    all.resize(all.size() + static_cast<std::size_t>(dims));
                    run.codec->decode(reader.at(run, row), dims, &all[all.size()] - dims, dims);
                }
    }
    return all;
}
RowMatrix attended(const AnyCache& cache, const RowMatrix& q, Context& context) {
    RowMatrix out(q.rows(), four_heads.heads * four_heads.value_dim);
    AnyCache view = cache.fork();
    attend(view.ref(),
           {q.data(), q.cols(), static_cast<int>(q.rows()),
            cache.committed() - static_cast<int>(q.rows())},
           {.scale = 0.4F}, four_heads.heads, out.data(), out.cols(), context);
    return out;
}

}  // namespace

TEST_CASE("rows on disk are no slots, whether a keep by score forgets or not", "[spilled]") {
    CacheFacts facts;
    facts.store.on_disk = true;
    CHECK(broken_rule(facts).empty());
    facts.keep.by_score = true;
    CHECK_FALSE(broken_rule(facts).empty());
    facts.keep.by_score = false;
    facts.keep.forgets = true;
    CHECK_FALSE(broken_rule(facts).empty());
    facts.store.on_disk = false;
    CHECK(broken_rule(facts).empty());
}

TEST_CASE("rows on disk are the rows in memory: random scripts of branches", "[spilled]") {
    Random random(81);
    ThreadPool pool(3);
    Context threads(pool);
    Context alone;
    struct Case {
        const char* name;  // of the cache in memory
        int in_memory;
        AnyCache (*make)(const std::shared_ptr<ScratchFile>&, int, int);
    };
    const Case cases[] = {{"contiguous:f32", 32, spilling<F32>},
                          {"contiguous:q4_0+rot", 200, spilling<Rotated<Q4_0>>},
                          {"contiguous:kivi2", 64, spilling<Kivi<2>>},
                          {"tiered=30:f16", 1, spilling<TwoTiers<F16, F16, 30>>}};
    for (const Case& c : cases) {
        struct Pair {
            AnyCache disk;
            AnyCache memory;
        };
        INFO(c.name);
        const auto file = std::make_shared<ScratchFile>();
        std::int64_t on_disk = 0;
        std::vector<Pair> pairs;
        pairs.push_back(
            {c.make(file, c.in_memory, 2000), CacheSpec::parse(c.name).make(four_heads, 2000)});
        for (int step = 0; step < 120; ++step) {
            const std::size_t i = random.below(pairs.size());
            Pair& pair = pairs[i];
            switch (random.below(6)) {
                case 0:
                    if (pairs.size() < 5) {
                        Pair branch{pair.disk.fork(), pair.memory.fork()};
                        pairs.push_back(std::move(branch));
                    }
                    continue;
                case 1: {
                    const int to = draw(random, 0, pair.disk.committed());
                    REQUIRE(pair.disk.can_truncate(to) == pair.memory.can_truncate(to));
                    if (pair.disk.can_truncate(to)) {
                        pair.disk.truncate(to);
                        pair.memory.truncate(to);
                    }
                    break;
                }
                case 2:
                    if (pairs.size() > 1) pairs.erase(pairs.begin() + static_cast<long>(i));
                    continue;
                default:
                    fill(random, pair.disk, pair.memory,
                         std::min(draw(random, 1, 300), 2000 - pair.disk.committed()));
            }
            REQUIRE(rows_of(pair.disk) == rows_of(pair.memory));
            const int n = std::min(draw(random, 1, 20), pair.disk.committed());
            const RowMatrix q = random_matrix(random, n, four_heads.heads * four_heads.key_dim);
            REQUIRE(same_bits(attended(pair.disk, q, step % 2 ? threads : alone),
                              attended(pair.memory, q, alone)));
            on_disk += static_cast<std::int64_t>(file->bytes());
        }
        const int ring = SpilledRows::ring_rows({2000, 0, 0, 128}, c.in_memory);
        CHECK(ring < c.in_memory + 128 + 2 * SpilledRows::block_rows(c.in_memory));
        CHECK(on_disk > 0);
        pairs.clear();
        CHECK(file->bytes() == 0);
    }
}

TEST_CASE("the types are the caches of their words", "[spilled]") {
    Random random(84);
    const int rows = 700;
    const RowMatrix q = random_matrix(random, rows, four_heads.heads * four_heads.key_dim);
    const RowMatrix k = random_matrix(random, rows, four_heads.kv_heads * four_heads.key_dim);
    const RowMatrix v = random_matrix(random, rows, four_heads.kv_heads * four_heads.value_dim);
    const auto through = [&](auto cache) {
        RowMatrix out(rows, four_heads.heads * four_heads.value_dim);
        Context context;
        prefill(q, k, v, cache, {.scale = 0.3F}, out, context);
        return std::pair(out, cache.bytes());
    };
    const auto same = [&](auto cache, const char* word) {
        const auto [out, bytes] = through(std::move(cache));
        const auto [wanted, wanted_bytes] = through(CacheSpec::parse(word).make(four_heads, 800));
        CHECK(same_bits(out, wanted));
        CHECK(bytes == wanted_bytes);
    };
    same(KvCache<Spilled<F16, Q8_0, 64>>(four_heads, 800), "contiguous,disk=64:k=f16,v=q8_0");
    same(KvCache<TieredToDisk<Q4_0, F16, 50, 32>>(four_heads, 800), "tiered=50,disk=32:q4_0");
}

TEST_CASE("memory stays bounded, and the file is given back with its branches", "[spilled]") {
    Random random(82);
    const auto kept = std::make_shared<ScratchFile>();
    const ScratchFile& file = *kept;
    AnyCache plain = CacheSpec::parse("contiguous:f16").make(four_heads, 8000);
    AnyCache cache = spilling<F16>(kept, 256, 8000);
    fill(random, cache, plain, 1000);
    const std::size_t bytes = cache.bytes();
    fill(random, cache, plain, 6000);
    CHECK(cache.bytes() == bytes);
    CHECK(cache.bytes() * 8 < plain.bytes());
    const std::size_t used = file.bytes();
    CHECK(used >= 6000 * static_cast<std::size_t>(four_heads.kv_heads) * (8 + 12) * 2);
    {
        AnyCache branch = cache.fork();
        CHECK(file.bytes() == used);  // blocks are shared
        fill(random, branch, plain, 600);
        CHECK(file.bytes() > used);
    }
    CHECK(file.bytes() == used);
    cache.clear();
    CHECK(file.bytes() == 0);
}

TEST_CASE("a disk that fails is an error, and the cache is as it was", "[spilled]") {
    Random random(83);
    const auto file = std::make_shared<ScratchFile>();
    AnyCache cache = spilling<F32>(file, 32, 3000);
    AnyCache plain = CacheSpec::parse("contiguous:f32").make(four_heads, 3000);
    fill(random, cache, plain, 1000);
    const RowMatrix q = random_matrix(random, 1, four_heads.heads * four_heads.key_dim);
    Context context;
    const RowMatrix before = attended(cache, q, context);
    const std::vector<float> rows = rows_of(cache);
    const int descriptor = file->descriptor();
    const off_t size = ::lseek(descriptor, 0, SEEK_END);

    // No room for another block.
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
    rlimit tight = limit;
    tight.rlim_cur = static_cast<rlim_t>(size);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
    const RowMatrix k = random_matrix(random, 100, four_heads.kv_heads * four_heads.key_dim);
    const RowMatrix v = random_matrix(random, 100, four_heads.kv_heads * four_heads.value_dim);
    const auto code = code_of([&] {
        for (int i = 0; i < 3; ++i) cache.stage({k.data(), k.cols(), 40}, {v.data(), v.cols(), 40});
    });
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(code == ErrorCode::io);
    cache.rollback();
    CHECK(cache.committed() == 1000);
    CHECK(rows_of(cache) == rows);
    CHECK(same_bits(attended(cache, q, context), before));
    AnyCache longer = cache.fork();
    fill(random, longer, plain, 300);  // there is room again

    // What was written cannot be read: every way of attending says so, on any thread.
    REQUIRE(::ftruncate(descriptor, 1) == 0);
    CHECK(code_of([&] { attended(cache, q, context); }) == ErrorCode::io);
    ThreadPool pool(3);
    Context threads(pool);
    CHECK(code_of([&] { attended(cache, q, threads); }) == ErrorCode::io);
    RowMatrix out(1, four_heads.heads * four_heads.value_dim);
    const BatchQuery batch[] = {{cache.ref(), q.data(), 999, out.data()}};
    CHECK(code_of([&] { attend_batch(batch, {.scale = 0.4F}, four_heads.heads, threads); }) ==
          ErrorCode::io);
    CHECK(code_of([&] { rows_of(cache); }) == ErrorCode::io);
    cache.truncate(500);
    CHECK(code_of([&] { cache.stage({k.data(), k.cols(), 1}, {v.data(), v.cols(), 1}); }) ==
          ErrorCode::io);
    CHECK(cache.length() == 500);
    cache.clear();
    AnyCache fresh = CacheSpec::parse("contiguous:f32").make(four_heads, 3000);
    fill(random, cache, fresh, 700);
    CHECK(rows_of(cache) == rows_of(fresh));
}
