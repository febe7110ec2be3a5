// What keeps that choose rows by score are shown: the queries before they attend, rotated or not,
// and the final probabilities of those that the keep listens to.
#pragma once

#include <algorithm>
#include <limits>

#include "cairn/attention/segment.hpp"
#include "cairn/cache/seam/cache_ref.hpp"
#include "cairn/cache/seam/head_rows.hpp"
#include "cairn/core/context.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Shows the rotated queries of a single row to a cache that evicts before attending: the whole
/// group of a KV head at once, however many heads that is.
inline void show_queries(CacheRef cache, const Queries& queries, const HeadLayout& layout,
                         const AttentionParameters& parameters, Context& context) {
    if (queries.rows != 1 || !cache.wants_queries()) return;
    Workspace::Frame frame(context.workspace());
    const TileScratch scratch(frame.floats(TileScratch::floats(layout)), layout);
    const int group = layout.group();
    float* rotated =
        frame.floats(static_cast<std::size_t>(group) * static_cast<std::size_t>(layout.key_dim));
    const Tiling tiling(layout, 1);
    RunList keys(list_room(cache, frame));
    RunList values(list_room(cache, frame));
    for (int strip = 0; strip < tiling.strips(); ++strip) {
        const int h = tiling.kv_head(strip);
        cache.runs(h, keys, values);
        const QueryTile tile = tiling.tile(strip, 0, queries.position);
        load_queries(queries, tile, layout, parameters, keys, scratch);
        std::copy_n(scratch.q, tile.group * layout.key_dim,
                    rotated + (tile.head - h * group) * layout.key_dim);
        if (tile.head + tile.group == (h + 1) * group)
            cache.on_queries(h, rotated, group, queries.position);
    }
}

/// Shows queries before rotation to a cache whose keep sums up those of a prompt: rows ascending,
/// each KV head by one worker.
inline void show_notes(CacheRef cache, const Queries& queries, const HeadLayout& layout,
                       const AttentionParameters& parameters, Context& context) {
    int first = 0;
    while (first < queries.rows && !cache.wants_notes(queries.position + first)) ++first;
    if (first == queries.rows) return;
    NotedQueries noted{layout.group(),   layout.key_dim, nullptr, 0, 0,
                       parameters.scale, nullptr,        nullptr, 0};
    if (parameters.rotation != nullptr) {
        noted.turn = [](const void* rotation, float* row, int position) {
            static_cast<const Rotation*>(rotation)->rotate(row, position);
        };
        noted.rotation = parameters.rotation;
        noted.positions = parameters.rotation->positions();
    }
    auto task = [&](int kv_head, int) {
        const std::ptrdiff_t offset = std::ptrdiff_t{kv_head} * layout.group() * layout.key_dim;
        NotedQueries at = noted;
        for (int r = first; r < queries.rows; ++r) {
            at.position = queries.position + r;
            at.q = queries.q + r * queries.stride + offset;
            if (cache.wants_notes(at.position)) cache.on_notes(kv_head, at);
        }
    };
    context.executor().run(layout.kv_heads, task);
}

/// The probabilities of a tile's queries over rows [0, end), those of query i at scores + i *
/// width.
inline void tile_probabilities(const RunList& keys, const QueryTile& tile, const HeadLayout& layout,
                               const AttentionParameters& parameters, int end,
                               const TileScratch& scratch, float* scores, std::ptrdiff_t width) {
    for (int i = 0; i < tile.count(); ++i)
        std::fill_n(scores + i * width, width, -std::numeric_limits<float>::infinity());
    for (int low = 0; low < end; low += segment_rows) {
        if (!touches(keys, tile, parameters.mask.window(), low)) continue;
        SeenRows seen[tile_queries];
        score_segment(keys, tile, layout, parameters, low, scratch, seen);
        for (int i = 0; i < tile.count(); ++i)
            if (!seen[i].empty())
                std::copy(scratch.scores + i * segment_rows + (seen[i].begin - low),
                          scratch.scores + i * segment_rows + (seen[i].end - low),
                          scores + i * width + seen[i].begin);
    }
    for (int i = 0; i < tile.count(); ++i) {
        float* p = scores + i * width;
        float max = 0.0F;
        float sum = 0.0F;
        kernels::active().softmax(p, 0, end, &max, &sum);
        const int head = tile.head + i % tile.group;
        if (sum > 0.0F) kernels::active().scale(share_of(max, sum, parameters.sinks, head), end, p);
    }
}

/// Hands the final probabilities of the queries that the cache listens to over to it: rows and
/// heads ascending, each KV head by one worker. Costs a second pass over the keys and O(rows held)
/// memory.
inline void report_scores(CacheRef cache, const Queries& queries, const HeadLayout& layout,
                          const AttentionParameters& parameters, Context& context) {
    int first = 0;
    while (first < queries.rows && !cache.wants_scores(queries.position + first)) ++first;
    if (first == queries.rows) return;
    std::ptrdiff_t width = 0;
    SegmentRoom room;
    Workspace::Frame frame(context.workspace());
    RunList all_keys(list_room(cache, frame));
    RunList all_values(list_room(cache, frame));
    if (cache.most_runs() > RunList::inside) room.runs = cache.most_runs();
    room.fast = context.attention == Compute::fast;
    for (int h = 0; h < layout.kv_heads; ++h) {
        cache.runs(h, all_keys, all_values);
        room.add(all_keys, all_values, layout);
        for (const Run& run : all_keys) width = std::max<std::ptrdiff_t>(width, run.end);
    }
    width = static_cast<std::ptrdiff_t>(round_up(static_cast<std::size_t>(width), segment_rows));
    Executor& executor = context.executor();
    const std::size_t scratch_floats = TileScratch::floats(layout, room);
    const std::size_t floats = scratch_floats + static_cast<std::size_t>(tile_queries * width);
    float* space = frame.floats(static_cast<std::size_t>(executor.workers()) * floats);
    const Queries heard{queries.q + first * queries.stride, queries.stride, queries.rows - first,
                        queries.position + first};
    const Tiling tiling(layout, heard.rows);
    auto task = [&](int kv_head, int worker) {
        float* at = space + static_cast<std::size_t>(worker) * floats;
        const TileScratch scratch(at, layout, room);
        float* scores = at + scratch_floats;
        RunList keys(scratch.list(0));
        RunList values(scratch.list(1));
        cache.runs(kv_head, keys, values);
        int end = 0;
        for (const Run& run : keys) end = std::max(end, run.end);
        const int parts = tiling.strips() / layout.kv_heads;
        for (int i = 0; i < tiling.strands() * parts; ++i) {
            const QueryTile tile =
                tiling.tile(kv_head * parts + i % parts, i / parts, heard.position);
            load_queries(heard, tile, layout, parameters, keys, scratch);
            tile_probabilities(keys, tile, layout, parameters, end, scratch, scores, width);
            for (int q = 0; q < tile.count(); ++q)
                if (cache.wants_scores(tile.position_of(q)))
                    cache.on_scores(kv_head, scores + q * width, 0, end);
        }
    };
    executor.run(layout.kv_heads, task);
}

}}}  // namespace cairn::internal
