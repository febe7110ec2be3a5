// A random script on the caches of a few layers: whatever is appended, taken back, branched, saved
// and loaded, the next query reads the rows of caches that were fed one row after the other.
#pragma once

#include <cairn/cache/cache_set.hpp>
#include <cairn/cache/cache_spec.hpp>

#include "cache/cache_support.hpp"
#include "read_rows.hpp"

namespace support {

/// Caches of `layers` layers of one layout.
inline CacheSet<AnyCache> cache_set_of(const CacheSpec& spec, const HeadLayout& heads, int layers) {
    CacheSet<AnyCache> set;
    for (int layer = 0; layer < layers; ++layer) set.add(spec.make(heads, 400, layer));
    return set;
}

/// The rows of a cache that its last query and the next one read alike.
inline std::vector<std::vector<float>> rows_seen(const AnyCache& cache) {
    std::vector<std::vector<float>> all;
    const HeadLayout heads = cache.layout();
    for (int h = 0; h < heads.kv_heads; ++h) {
        internal::OwnRuns runs(cache.most_runs());
        cache.runs(h, runs.keys, runs.values);
        for (const Made part : {Made::keys, Made::values})
            for (ReadRow& row :
                 read_rows(part == Made::keys ? runs.keys : runs.values, part, h,
                           std::max(cache.committed() - 1, 0),
                           part == Made::keys ? heads.key_dim : heads.value_dim, cache.committed(),
                           [](RowKind, Made, int, int, std::span<const float> numbers) {
                               return std::vector<float>(numbers.begin(), numbers.end());
                           }))
                all.push_back(std::move(row.numbers));
    }
    return all;
}

/// Rows [begin, begin + n) of a step.
inline std::pair<TokenRows, TokenRows> step_rows(const Step& all, int begin, int n) {
    return {token_rows(all.k.middleRows(begin, n)), token_rows(all.v.middleRows(begin, n))};
}

inline std::vector<std::byte> archived_set(CacheSet<AnyCache>& set) {
    MemoryArchive archive;
    for (AnyCache& cache : set) cache.archive(archive);
    return archive.stored();
}

/// `all` has the rows that are fed, 300 a layer; 40 numbers of k, 24 of v.
inline void lives_through_a_script(const CacheSpec& spec, const HeadLayout& heads,
                                   const std::vector<Step>& all, Random& random) {
    const auto layers = static_cast<int>(all.size());
    const auto feed = [&](CacheSet<AnyCache>& set, int n, auto commit) {
        const int begin = set[0].committed();
        for (int layer = 0; layer < layers; ++layer) {
            const auto [k, v] = step_rows(all[static_cast<std::size_t>(layer)], begin, n);
            set[layer].stage(k, v);
        }
        for (AnyCache& cache : set) cache.commit(commit);
    };
    const auto as_fresh = [&](const CacheSet<AnyCache>& got) {
        CacheSet<AnyCache> fresh = cache_set_of(spec, heads, layers);
        for (int row = 0; row < got[0].committed(); ++row) feed(fresh, 1, 1);
        bool same = true;
        for (int layer = 0; layer < layers; ++layer)
            same = same && rows_seen(fresh[layer]) == rows_seen(got[layer]);
        return same;
    };
    CacheSet<AnyCache> set = cache_set_of(spec, heads, layers);
    for (int round = 0; round < 40; ++round) {
        const int n = std::min({draw(random, 1, 60), 300 - set[0].committed(), set[0].max_rows()});
        if (n == 0) {
            for (AnyCache& cache : set) cache.clear();
            continue;
        }
        switch (draw(random, 0, 5)) {
            case 0: feed(set, n, draw(random, 0, n)); break;
            case 1: {
                auto branch = set.branch([](const AnyCache& cache) { return cache.fork(); });
                feed(branch, n, n);
                if (round % 2 == 0) set = std::move(branch);
                break;
            }
            case 2: {
                const int to = draw(random, 0, set[0].committed());
                if (set[0].can_truncate(to))
                    for (AnyCache& cache : set) cache.truncate(to);
                break;
            }
            case 3: {
                const std::vector<std::byte> stored = archived_set(set);
                CacheSet<AnyCache> loaded = cache_set_of(spec, heads, layers);
                MemoryArchive cut({stored.begin(), stored.end() - 1});
                CHECK(code_of([&] {
                          for (AnyCache& cache : loaded) cache.archive(cut);
                      }) == ErrorCode::bad_file);
                CHECK(loaded[layers - 1].committed() == 0);
                for (AnyCache& cache : loaded) cache.clear();
                MemoryArchive whole(stored);
                for (AnyCache& cache : loaded) cache.archive(whole);
                CHECK(archived_set(loaded) == stored);
                set = std::move(loaded);
                break;
            }
            case 4: {
                auto copy = set.branch([](const AnyCache& cache) { return cache.copy(); });
                set = std::move(copy);
                break;
            }
            default: feed(set, n, n); break;
        }
        if (round % 5 == 4) REQUIRE(as_fresh(set));
    }
}

}  // namespace support
