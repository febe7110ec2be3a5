// One tile of queries of one KV head against one segment of 256 row numbers. A segment is always
// computed alone, from its own maximum, and merged in order: what a row gets never depends on which
// rows, runs, blocks or threads it was computed with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "cairn/attention/tiling.hpp"
#include "cairn/cache/seam/cache_ref.hpp"
#include "cairn/core/context.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Room for one list of a cache's runs; none where the list's own is enough.
inline std::span<Run> list_room(int runs, Workspace::Frame& frame) {
    if (runs <= RunList::inside) return {};
    return {frame.array<Run>(static_cast<std::size_t>(runs)), static_cast<std::size_t>(runs)};
}
inline std::span<Run> list_room(CacheRef cache, Workspace::Frame& frame) {
    return list_room(cache.most_runs(), frame);
}

/// Rows of a run that a query at `position` sees inside [low, high): an interval.
struct SeenRows {
    int begin;
    int end;
    bool empty() const noexcept { return begin >= end; }
};
inline SeenRows visible(const Run& run, int window, int position, int low, int high) noexcept {
    int begin = std::max(run.begin, low);
    int end = std::min({run.end, high, position - run.offset - run.from + 1});
    if (run.window <= position) begin = std::max(begin, position - run.window + 1 - run.offset);
    if (window != Run::forever) {
        const int place = run.place_of(position);
        if (window <= place) begin = std::max(begin, place - window + 1 - run.offset);
    }
    if (run.ages()) {
        begin = std::max(begin, age_boundary(position, run.age_unit, run.age_to));
        if (run.hot_to != 0) end = std::min(end, age_boundary(position, run.hot_unit, run.hot_to));
    }
    return {begin, end};
}

/// Calls `body(rows, row)` for the stretches of rows of a run between begin and end that lie in one
/// block. What will be read while the next segment is computed is named with each.
template <class Body>
void for_each_block(const Run& run, int begin, int end, Body&& body) {
    for (int row = begin; row < end;) {
        Rows rows = run.rows(row, end);
        const int next = row + segment_rows;
        if (next < run.end)
            rows.ahead = run.rows(next, next + 1).unit;
        else if (run.next != nullptr)
            rows.ahead = run.next + (row - run.begin) / run.codec->rows_per_unit * run.stride;
        body(rows, row);
        row += rows.count;
    }
}

/// Names beside rows of values from `row` on the keys that are multiplied as many rows later as a
/// segment has. Scores in integers are done before their keys can come, so these come meanwhile.
inline void name_keys(const RunList& keys, int row, Rows& values) noexcept {
    const int next = row + segment_rows;
    for (const Run& run : keys) {
        if (run.begin > next || run.end <= next || run.source != nullptr) continue;
        values.beside = run.rows(next, next + 1).unit;
        values.beside_bytes = run.stride / run.codec->rows_per_unit;
        return;
    }
}

/// Calls `body(begin, end, query, count)` so that every query's visible rows of a run are covered
/// once, ascending: rows that all see in one go for all of them, the ragged ends (the diagonal, a
/// window's tail, an age's edge) query by query.
template <class Body>
void for_each_common(const Run& run, const QueryTile& tile, int window, int low, int high,
                     Body&& body) {
    const int queries = tile.count();
    int all_begin = low;
    int all_end = high;
    for (int i = 0; i < queries; i += tile.group) {
        const SeenRows seen = visible(run, window, tile.position_of(i), low, high);
        all_begin = std::max(all_begin, seen.begin);
        all_end = std::min(all_end, seen.end);
    }
    if (all_begin >= all_end) all_begin = all_end = high;  // nothing in common: all one by one
    for (int i = 0; i < queries; ++i) {
        const SeenRows seen = visible(run, window, tile.position_of(i), low, high);
        body(seen.begin, std::min(seen.end, all_begin), i, 1);
    }
    body(all_begin, all_end, 0, queries);
    for (int i = 0; i < queries; ++i) {
        const SeenRows seen = visible(run, window, tile.position_of(i), low, high);
        body(std::max(seen.begin, all_end), seen.end, i, 1);
    }
}

/// Whether any query of the tile sees a row of [low, low + 256).
[[gnu::noinline]] inline bool touches(const RunList& keys, const QueryTile& tile, int window,
                                      int low) noexcept {
    for (const Run& run : keys) {
        if (run.begin >= low + segment_rows || run.end <= low) continue;
        for (int i = 0; i < tile.count(); i += tile.group)
            if (!visible(run, window, tile.position_of(i), low, low + segment_rows).empty())
                return true;
    }
    return false;
}

/// The products of rows [low, low + 256) with every query of the scratch, at scores[i *
/// segment_rows].
inline void multiply_segment(const RunList& keys, const QueryTile& tile, const HeadLayout& layout,
                             int window, int low, const TileScratch& scratch) {
    const int high = low + segment_rows;
    const int dims = layout.key_dim;
    for (const Run& run : keys) {
        if (run.begin >= high || run.end <= low) continue;
        const float* standing = run.displaced() ? scratch.displaced : scratch.q;
        const QueryBlock* bytes = run.codec->quantise_query == nullptr ? nullptr
                                  : run.displaced()                    ? scratch.displaced_blocks
                                                                       : scratch.blocks;
        const bool rounds = scratch.room.fast && run.codec->rounds;
        const float* rounded = run.displaced() ? scratch.displaced_rounded : scratch.rounded;
        const auto score = [&](int begin, int end, int query, int count) {
            for_each_block(run, begin, end, [&](Rows rows, int row) {
                float* to = scratch.scores + query * segment_rows + (row - low);
                if (rounds) {
                    run.codec->rounded_scores(rows, dims, rounded + query * dims, dims, count, to,
                                              segment_rows);
                } else if (bytes == nullptr) {
                    run.codec->scores(rows, dims, standing + query * dims, dims, count, to,
                                      segment_rows, scratch.for_codec());
                } else {
                    rows.ahead = nullptr;  // see name_keys
                    run.codec->quantised_scores(rows, dims, bytes + query * query_blocks(dims),
                                                count, to, segment_rows);
                }
            });
        };
        if (run.ages()) {
            for_each_common(run, tile, window, low, high, score);
            continue;
        }
        // All rows that any query sees: its first one sees furthest back, its last furthest ahead.
        const int queries = tile.count();
        const int begin = visible(run, window, tile.position_of(0), low, high).begin;
        const int end = visible(run, window, tile.position_of(queries - 1), low, high).end;
        score(begin, end, 0, queries);
    }
}

/// Scores of rows [low, low + 256) for every query of the scratch, at scores[i * segment_rows]:
/// biased, capped, -inf in the gaps between the rows a query sees. Returns each query's outermost
/// rows in `seen_rows`.
inline void score_segment(const RunList& keys, const QueryTile& tile, const HeadLayout& layout,
                          const AttentionParameters& parameters, int low,
                          const TileScratch& scratch, SeenRows* seen_rows) {
    const kernels::Table& kernel = kernels::active();
    const int high = low + segment_rows;
    const int queries = tile.count();
    const int window = parameters.mask.window();
    multiply_segment(keys, tile, layout, window, low, scratch);
    for (int i = 0; i < queries; ++i) {
        const int position = tile.position_of(i);
        float* s = scratch.scores + i * segment_rows;
        int begin = high;
        int end = low;
        for (const Run& run : keys) {
            const SeenRows seen = visible(run, window, position, low, high);
            if (seen.empty()) continue;
            if (parameters.soft_cap > 0.0F)
                kernel.soft_cap(s, seen.begin - low, seen.end - low, parameters.soft_cap);
            if (!parameters.alibi.empty()) {
                const float slope =
                    parameters.alibi[static_cast<std::size_t>(tile.head + i % tile.group)];
                const int place = run.place_of(position);
                for (int j = seen.begin; j < seen.end; ++j) {
                    const int at = run.positions != nullptr ? run.positions[j] : j + run.offset;
                    const auto distance = static_cast<float>(at - place);
                    kernel.axpy(slope, &distance, 1, s + (j - low));
                }
            }
            for (int j = end; begin < end && j < seen.begin; ++j)
                s[j - low] = -std::numeric_limits<float>::infinity();
            begin = std::min(begin, seen.begin);
            end = std::max(end, seen.end);
        }
        seen_rows[i] = {begin, end};
    }
}

// Cold, for g++ takes the one codec that rounds for the likely one of a virtual call and compiles
// its kernels into every program.
[[gnu::cold, gnu::noinline]] inline void weigh_rounded(const Codec& codec, const Rows& rows,
                                                       int dims, const float* p, int queries,
                                                       float* to) {
    codec.rounded_weigh(rows, dims, p, segment_rows, queries, to, dims);
}

/// Fills scratch.max, sum and out for the rows [low, low + 256) that the tile's queries see; the
/// rows are in memory, and keys and values.
[[gnu::noinline]] inline void attend_rows(const RunList& keys, const RunList& values,
                                          const QueryTile& tile, const HeadLayout& layout,
                                          const AttentionParameters& parameters, int low,
                                          const TileScratch& scratch) {
    const int high = low + segment_rows;
    const int queries = tile.count();
    const int window = parameters.mask.window();
    const int dims = layout.value_dim;
    SeenRows seen[tile_queries];
    score_segment(keys, tile, layout, parameters, low, scratch, seen);
    for (int i = 0; i < queries; ++i) {
        scratch.max[i] = -std::numeric_limits<float>::infinity();
        scratch.sum[i] = 0.0F;
        if (!seen[i].empty())
            kernels::active().softmax(scratch.scores + i * segment_rows, seen[i].begin - low,
                                      seen[i].end - low, &scratch.max[i], &scratch.sum[i]);
    }

    // Values, rows ascending for every query. Unseen rows are never touched: they may hold
    // anything.
    std::fill_n(scratch.out, queries * dims, 0.0F);
    for (const Run& run : values) {
        if (run.begin >= high || run.end <= low) continue;
        for_each_common(
            run, tile, window, low, high, [&](int begin, int end, int query, int count) {
                for_each_block(run, begin, end, [&](Rows rows, int row) {
                    if (scratch.blocks != nullptr) name_keys(keys, row, rows);
                    const float* p = scratch.scores + query * segment_rows + (row - low);
                    float* to = scratch.out + query * dims;
                    if (scratch.room.fast && run.codec->rounds)
                        weigh_rounded(*run.codec, rows, dims, p, count, to);
                    else
                        run.codec->weigh(rows, run.dims != 0 ? run.dims : dims, dims, p,
                                         segment_rows, count, to, dims, scratch.for_codec());
                });
            });
    }
}

}}}  // namespace cairn::internal
