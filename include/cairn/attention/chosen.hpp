// The rows that one query reads of a cache whose queries choose: a set of pages for each KV head.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cairn/cache/seam/page_set.hpp"
#include "cairn/cache/seam/run.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// What one row of queries reads; the bits lie in memory of who chose them.
struct ChosenRows {
    std::uint64_t* words;  ///< [kv_heads][PageSet::words(pages)]
    int pages;             ///< up to and with the one that the query stands in
    int page_rows;
    int most_runs;  ///< that a list of the cache's runs is cut to

    PageSet of(int kv_head) const noexcept {
        return {words + static_cast<std::size_t>(kv_head) * PageSet::words(pages), pages};
    }
    /// Calls body(begin, end) for the stretches of a KV head's chosen rows in [low, high).
    template <class Body>
    void each_stretch(int kv_head, int low, int high, Body&& body) const {
        of(kv_head).each_stretch([&](int first, int last) {
            const int begin = std::max(low, first * page_rows);
            const int end = std::min(high, last * page_rows);
            if (begin < end) body(begin, end);
        });
    }
    /// The chosen rows of a list of runs. Where all pages are chosen the runs are whole. Rows in
    /// memory lie anywhere, so each run names those of the run after the next.
    void cut(int kv_head, const RunList& from, RunList& to) const noexcept {
        to.clear();
        for (const Run& run : from)
            each_stretch(kv_head, run.begin, run.end, [&](int begin, int end) {
                Run part = run;
                part.begin = begin;
                part.end = end;
                if (to.size() >= 2 && run.source == nullptr)
                    to[to.size() - 2].next = part.rows(part.begin, part.begin + 1).unit;
                to.push(part);
            });
    }
    /// Says how many runs a list of `runs` of the cache's comes to at most.
    void count_runs(int kv_heads, int runs) noexcept {
        int stretches = 1;
        for (int h = 0; h < kv_heads; ++h) {
            int count = 0;
            of(h).each_stretch([&](int, int) { ++count; });
            stretches = std::max(stretches, count);
        }
        most_runs = stretches * runs;
    }
};

}}}  // namespace cairn::internal
