// One tile of queries of one KV head against one segment of 256 row numbers. A segment is always
// computed alone, from its own maximum, and merged in order: what a row gets never depends on which
// rows, runs, blocks or threads it was computed with.
#pragma once

#include <algorithm>
#include <cstddef>

#include "cairn/attention/parameters.hpp"
#include "cairn/cache/run.hpp"
#include "cairn/kernels/dispatch.hpp"

namespace cairn::inline CAIRN_ABI::detail {

/// Row numbers that are reduced together before merging. Part of the numerics.
inline constexpr int segment_rows = 256;
/// Queries (rows x heads of a group) that share one pass over keys and values.
inline constexpr int tile_queries = 16;

/// Queries of one KV head: rows ascending, within a row the heads of the group.
struct QueryTile {
    int first_row;  // of the tile, in the batch of query rows
    int rows;
    int group;     // heads a row
    int head;      // first query head
    int position;  // token position of the first row
    int count() const noexcept { return rows * group; }
    int position_of(int query) const noexcept { return position + query / group; }
};

/// Scratch of one worker: rotated queries, scores, and one segment's result.
struct TileScratch {
    float* q;       // [tile_queries][key_dim]
    float* scores;  // [tile_queries][segment_rows]
    float* out;     // [tile_queries][value_dim]
    float* max;     // [tile_queries]
    float* sum;     // [tile_queries]
    static std::size_t floats(int key_dim, int value_dim) noexcept {
        return tile_queries * (round_up(static_cast<std::size_t>(key_dim), 16) + segment_rows +
                               round_up(static_cast<std::size_t>(value_dim), 16) + 2);
    }
    TileScratch(float* at, int key_dim, int value_dim) noexcept
        : q(at),
          scores(q + tile_queries * round_up(static_cast<std::size_t>(key_dim), 16)),
          out(scores + tile_queries * segment_rows),
          max(out + tile_queries * round_up(static_cast<std::size_t>(value_dim), 16)),
          sum(max + tile_queries) {}
};

/// Rows of a run that a query at `position` sees inside [low, high): an interval.
struct Interval {
    int begin;
    int end;
    bool empty() const noexcept { return begin >= end; }
};
inline Interval visible(const Run& run, int window, int position, int low, int high) noexcept {
    const int width = std::min(window, run.window);
    const int first = width > position ? 0 : position - width + 1;
    return {std::max({run.begin, low, first}), std::min({run.end, high, position + 1})};
}

/// Calls `body(rows)` for the stretches of rows of a run between begin and end that lie in one
/// block.
template <class Body>
void for_each_block(const Run& run, int begin, int end, Body&& body) {
    for (int row = begin; row < end;) {
        const Rows rows = run.rows(row, end);
        body(rows, row);
        row += rows.count;
    }
}

/// Fills scratch.max, sum and out for the rows [low, low + 256) that the tile's queries see.
inline void attend_segment(const RunList& keys, const RunList& values, const QueryTile& tile,
                           const HeadLayout& layout, const AttentionParameters& parameters, int low,
                           const TileScratch& scratch) {
    const kernels::Table& kernel = kernels::active();
    const int high = low + segment_rows;
    const int queries = tile.count();
    const int window = parameters.mask.window();
    const int dims = layout.value_dim;
    const std::ptrdiff_t q_stride = layout.key_dim;

    // Scores of all rows that any query of the tile sees: its first query sees furthest back, its
    // last one furthest ahead.
    for (const Run& run : keys) {
        const int begin = visible(run, window, tile.position_of(0), low, high).begin;
        const int end = visible(run, window, tile.position_of(queries - 1), low, high).end;
        for_each_block(run, begin, end, [&](const Rows& rows, int row) {
            run.codec->scores(rows, layout.key_dim, scratch.q, q_stride, queries,
                              scratch.scores + (row - low), segment_rows);
        });
    }

    // Each query's own interval: bias, holes between runs, softmax.
    for (int i = 0; i < queries; ++i) {
        const int position = tile.position_of(i);
        float* s = scratch.scores + i * segment_rows;
        int begin = high;
        int end = low;
        for (const Run& run : keys) {
            const Interval seen = visible(run, window, position, low, high);
            if (seen.empty()) continue;
            if (parameters.soft_cap > 0.0F)
                kernel.soft_cap(s, seen.begin - low, seen.end - low, parameters.soft_cap);
            if (!parameters.alibi.empty()) {
                const float slope =
                    parameters.alibi[static_cast<std::size_t>(tile.head + i % tile.group)];
                for (int j = seen.begin; j < seen.end; ++j) {
                    const auto distance = static_cast<float>(j - position);
                    kernel.axpy(slope, &distance, 1, s + (j - low));
                }
            }
            for (int j = end; begin < end && j < seen.begin; ++j)
                s[j - low] = -std::numeric_limits<float>::infinity();
            begin = std::min(begin, seen.begin);
            end = std::max(end, seen.end);
        }
        scratch.max[i] = -std::numeric_limits<float>::infinity();
        scratch.sum[i] = 0.0F;
        if (begin < end)
            kernel.softmax(s, begin - low, end - low, &scratch.max[i], &scratch.sum[i]);
    }

    // Values, rows ascending for every query: rows that all see are read once for all of them, the
    // ragged ends (the diagonal, the window's tail) query by query. Unseen rows are never touched:
    // they may hold anything.
    std::fill_n(scratch.out, queries * dims, 0.0F);
    for (const Run& run : values) {
        int all_begin = low;
        int all_end = high;
        for (int i = 0; i < queries; ++i) {
            const Interval seen = visible(run, window, tile.position_of(i), low, high);
            all_begin = std::max(all_begin, seen.begin);
            all_end = std::min(all_end, seen.end);
        }
        if (all_begin > all_end) all_begin = all_end = high;  // nothing in common: all one by one
        const auto weigh = [&](int begin, int end, int query, int count) {
            for_each_block(run, begin, end, [&](const Rows& rows, int row) {
                run.codec->weigh(rows, dims, scratch.scores + query * segment_rows + (row - low),
                                 segment_rows, count, scratch.out + query * dims, dims);
            });
        };
        for (int i = 0; i < queries; ++i) {
            const Interval seen = visible(run, window, tile.position_of(i), low, high);
            weigh(seen.begin, std::min(seen.end, all_begin), i, 1);
        }
        weigh(all_begin, all_end, 0, queries);
        for (int i = 0; i < queries; ++i) {
            const Interval seen = visible(run, window, tile.position_of(i), low, high);
            weigh(std::max(seen.begin, all_end), seen.end, i, 1);
        }
    }
}

}  // namespace cairn::inline CAIRN_ABI::detail
