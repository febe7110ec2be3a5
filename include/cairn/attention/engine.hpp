// Attention over a cache: the one function of the float path, whatever the cache is made of.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "cairn/attention/segment.hpp"
#include "cairn/cache/seam/cache_ref.hpp"
#include "cairn/core/context.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/core/parallel_for.hpp"
#include "cairn/kernels/hadamard.hpp"

namespace cairn::inline CAIRN_ABI {

/// Rows of queries, not rotated: row r stands at position + r and holds its heads side by side.
struct Queries {
    const float* q = nullptr;
    std::ptrdiff_t stride = 0;  ///< floats from row to row
    int rows = 0;
    int position = 0;
};

/// One finished call of `attend`, for caches that watch.
struct Attended {
    const Queries* queries;
    const AttentionParameters* parameters;
    int heads;
    const float* out;
    std::ptrdiff_t out_stride;
    Context* context;
};

namespace detail {

// Queries in the order of the tile, rotated once and scaled; a second time where they stand among
// displaced rows.
inline void load_queries(const Queries& queries, const QueryTile& tile, const HeadLayout& layout,
                         const AttentionParameters& parameters, const RunList& keys,
                         const TileScratch& to) {
    const kernels::Table& kernel = kernels::active();
    const Run* displaced = nullptr;
    for (const Run& run : keys)
        if (run.displaced()) displaced = &run;
    const auto load = [&](float* at, auto place_of) {
        for (int i = 0; i < tile.count(); ++i, at += layout.key_dim) {
            const int row = tile.first_row + i / tile.group;
            const int head = tile.head + i % tile.group;
            std::memcpy(at, queries.q + row * queries.stride + head * layout.key_dim,
                        static_cast<std::size_t>(layout.key_dim) * sizeof(float));
            if (parameters.rotation != nullptr)
                parameters.rotation->rotate(at, place_of(queries.position + row));
            if (parameters.scale != 1.0F) kernel.scale(parameters.scale, layout.key_dim, at);
            if (keys.size() > 0 && keys[0].rotated) kernels::hadamard(at, layout.key_dim);
        }
    };
    load(to.q, [](int position) { return position; });
    if (displaced != nullptr)
        load(to.displaced, [&](int position) { return displaced->place_of(position); });
}

// The running result of a tile: segments are merged in ascending order.
struct TileState {
    float* max;  // [tile_queries]
    float* sum;
    float* out;  // [tile_queries][value_dim]
    void clear(int queries) const noexcept {
        std::fill_n(max, queries, -std::numeric_limits<float>::infinity());
        std::fill_n(sum, queries, 0.0F);
    }
    void add(int queries, int dims, const float* m, const float* l, const float* o) const {
        const float least = -std::numeric_limits<float>::infinity();
        for (int i = 0; i < queries; ++i) {
            if (m[i] == least) continue;  // saw nothing in this segment
            if (max[i] == least) {
                max[i] = m[i];
                sum[i] = l[i];
                std::memcpy(out + i * dims, o + i * dims,
                            static_cast<std::size_t>(dims) * sizeof(float));
            } else {
                kernels::active().merge(&max[i], &sum[i], out + i * dims, m[i], l[i], o + i * dims,
                                        dims);
            }
        }
    }
    void finish(const QueryTile& tile, int dims, bool rotated, float* to,
                std::ptrdiff_t stride) const {
        for (int i = 0; i < tile.count(); ++i) {
            float* row = to + (tile.first_row + i / tile.group) * stride +
                         std::ptrdiff_t{tile.head + i % tile.group} * dims;
            if (max[i] == -std::numeric_limits<float>::infinity()) {
                std::fill_n(row, dims, 0.0F);
                continue;
            }
            std::memcpy(row, out + i * dims, static_cast<std::size_t>(dims) * sizeof(float));
            kernels::active().scale(1.0F / sum[i], dims, row);
            if (rotated) kernels::hadamard(row, dims);
        }
    }
    static std::size_t floats(int value_dim, int queries = tile_queries) noexcept {
        return round_up(
            static_cast<std::size_t>(queries) * (static_cast<std::size_t>(value_dim) + 2), 16);
    }
    explicit TileState(float* at, int queries = tile_queries) noexcept
        : max(at), sum(at + queries), out(at + 2 * queries) {}
};

// What attention asks of a cache and queries before it computes anything: the layout with its query
// heads.
inline HeadLayout check_attend(CacheRef cache, const Queries& queries,
                               const AttentionParameters& parameters, int heads) {
    HeadLayout layout = cache.layout();
    require(layout.kv_heads > 0 && layout.key_dim > 0 && layout.value_dim > 0, ErrorCode::bad_state,
            "attend: a cache of ", layout.kv_heads, " KV heads of ", layout.key_dim, "/",
            layout.value_dim, "; it was moved from, or never made");
    require(heads > 0 && heads % layout.kv_heads == 0, ErrorCode::shape_mismatch, "attend: ", heads,
            " query heads over ", layout.kv_heads, " KV heads");
    layout.heads = heads;
    require(queries.rows >= 0 && queries.position >= 0, ErrorCode::invalid_argument,
            "attend: ", queries.rows, " rows at position ", queries.position);
    const std::int64_t end = std::int64_t{queries.position} + queries.rows;
    require(end <= std::min(cache.length(), row_limit), ErrorCode::bad_state,
            "attend: queries up to position ", end - 1, ", but only ", cache.length(),
            " rows were staged");
    require(parameters.alibi.empty() || parameters.alibi.size() == static_cast<std::size_t>(heads),
            ErrorCode::shape_mismatch, "attend: ", parameters.alibi.size(), " ALiBi slopes for ",
            heads, " heads");
    require(parameters.rotation == nullptr || end <= parameters.rotation->positions(),
            ErrorCode::invalid_argument, "attend: position ", end - 1, " is past the ",
            parameters.rotation ? parameters.rotation->positions() : 0, " rotary positions");
    return layout;
}

// Room for one list of a cache's runs; none where the list's own is enough.
inline std::span<Run> list_room(CacheRef cache, Workspace::Frame& frame) {
    const int runs = cache.most_runs();
    if (runs <= RunList::inside) return {};
    auto* at = frame.array<Run>(static_cast<std::size_t>(runs));
    std::uninitialized_value_construct_n(at, runs);
    return {at, static_cast<std::size_t>(runs)};
}
inline std::size_t segments_of(int length) noexcept {
    return static_cast<std::size_t>((length + segment_rows - 1) / segment_rows);
}
// Segments that any query sees rows of, of any head, ascending; returns their number. Room for
// segments_of(length). Adds to `room` what workers need to read the rows.
inline int wanted_segments(CacheRef cache, const Queries& queries, const HeadLayout& layout,
                           int window, int* wanted, SegmentRoom& room, Workspace::Frame& frame) {
    RunList keys(list_room(cache, frame));
    RunList values(list_room(cache, frame));
    if (cache.most_runs() > RunList::inside) room.runs = std::max(room.runs, cache.most_runs());
    const int last = cache.length();
    const auto all = static_cast<int>(segments_of(last));
    std::fill_n(wanted, all, 0);
    for (int h = 0; h < layout.kv_heads; ++h) {
        cache.runs(h, keys, values);
        room.add(keys, values, layout);
        for (const Run& run : keys) {
            require(run.positions == nullptr || queries.position + queries.rows <= window,
                    ErrorCode::unsupported, "attend: a window of ", window,
                    " keys over rows that were chosen by score; position ",
                    queries.position + queries.rows - 1, " does not see them all");
            const int begin = visible(run, window, queries.position, 0, last).begin;
            const int end = visible(run, window, queries.position + queries.rows - 1, 0, last).end;
            for (int s = begin / segment_rows; s * segment_rows < end; ++s) wanted[s] = 1;
        }
    }
    int segments = 0;
    for (int s = 0; s < all; ++s)
        if (wanted[s] != 0) wanted[segments++] = s;
    return segments;
}
inline void check_fetched(const std::atomic<int>& failed) {
    require(failed == 0, ErrorCode::io,
            "attend: rows of the cache on disk: ", std::strerror(failed.load()));
}
// Whether outputs must be turned back; a codec rotates all heads or none.
inline bool rotated_values(CacheRef cache) {
    RunList keys;
    RunList values;
    cache.runs(0, keys, values);
    return values.size() > 0 && values[0].rotated;
}

// Shows the rotated queries of a single row to a cache that evicts before attending: the whole
// group of a KV head at once, however many heads that is.
inline void show_queries(CacheRef cache, const Queries& queries, const HeadLayout& layout,
                         const AttentionParameters& parameters, Context& context) {
    if (queries.rows != 1) return;
    Workspace::Frame frame(context.workspace());
    const TileScratch scratch(frame.floats(TileScratch::floats(layout)), layout);
    const int group = layout.group();
    float* rotated =
        frame.floats(static_cast<std::size_t>(group) * static_cast<std::size_t>(layout.key_dim));
    for (int h = 0; h < layout.kv_heads; ++h) {
        RunList keys;
        RunList values;
        cache.runs(h, keys, values);
        for (int first = 0; first < group; first += tile_queries) {
            const int heads = std::min(tile_queries, group - first);
            load_queries(queries, {0, 1, heads, h * group + first, queries.position}, layout,
                         parameters, keys, scratch);
            std::copy_n(scratch.q, heads * layout.key_dim, rotated + first * layout.key_dim);
        }
        cache.on_queries(h, rotated, group, queries.position);
    }
}

// Hands the final probabilities of the queries that the cache listens to over to it: rows and heads
// ascending, each KV head by one worker. Costs a second pass over the keys and O(rows held) memory.
inline void report_scores(CacheRef cache, const Queries& queries, const HeadLayout& layout,
                          const AttentionParameters& parameters, Context& context) {
    int first = 0;
    while (first < queries.rows && !cache.wants_scores(queries.position + first)) ++first;
    if (first == queries.rows) return;
    const int group = layout.group();
    const int heads_in_tile = std::min(group, tile_queries);
    const int tile_rows = std::max(1, tile_queries / group);
    std::ptrdiff_t width = 0;
    SegmentRoom room;
    for (int h = 0; h < layout.kv_heads; ++h) {
        RunList keys;
        RunList values;
        cache.runs(h, keys, values);
        room.add(keys, values, layout);
        for (const Run& run : keys) width = std::max<std::ptrdiff_t>(width, run.end);
    }
    width = static_cast<std::ptrdiff_t>(round_up(static_cast<std::size_t>(width), segment_rows));
    Executor& executor = context.executor();
    Workspace::Frame frame(context.workspace());
    const std::size_t scratch_floats = TileScratch::floats(layout, room);
    const std::size_t floats = scratch_floats + static_cast<std::size_t>(tile_queries * width);
    float* space = frame.floats(static_cast<std::size_t>(executor.workers()) * floats);
    auto task = [&](int kv_head, int worker) {
        const TileScratch scratch(space + static_cast<std::size_t>(worker) * floats, layout, room);
        float* scores = space + static_cast<std::size_t>(worker) * floats + scratch_floats;
        RunList keys;
        RunList values;
        cache.runs(kv_head, keys, values);
        int end = 0;
        for (const Run& run : keys) end = std::max(end, run.end);
        for (int row = first; row < queries.rows; row += tile_rows)
            for (int part = 0; part < group; part += heads_in_tile) {
                const QueryTile tile{row, std::min(tile_rows, queries.rows - row),
                                     std::min(heads_in_tile, group - part), kv_head * group + part,
                                     queries.position + row};
                load_queries(queries, tile, layout, parameters, keys, scratch);
                const auto least = -std::numeric_limits<float>::infinity();
                for (int i = 0; i < tile.count(); ++i)
                    std::fill_n(scores + i * width, width, least);
                for (int low = 0; low < end; low += segment_rows) {
                    if (!touches(keys, tile, parameters.mask.window(), low)) continue;
                    SeenRows seen[tile_queries];
                    score_segment(keys, tile, layout, parameters, low, scratch.q, scratch.displaced,
                                  scratch.scores, segment_rows, seen, scratch.for_codec());
                    for (int i = 0; i < tile.count(); ++i)
                        if (!seen[i].empty())
                            std::copy(scratch.scores + i * segment_rows + (seen[i].begin - low),
                                      scratch.scores + i * segment_rows + (seen[i].end - low),
                                      scores + i * width + seen[i].begin);
                }
                for (int i = 0; i < tile.count(); ++i) {
                    if (!cache.wants_scores(tile.position_of(i))) continue;
                    float* p = scores + i * width;
                    float max = 0.0F;
                    float sum = 0.0F;
                    kernels::active().softmax(p, 0, end, &max, &sum);
                    if (sum > 0.0F) kernels::active().scale(1.0F / sum, end, p);
                    cache.on_scores(kv_head, p, 0, end);
                }
            }
    };
    executor.run(layout.kv_heads, task);
}

}  // namespace detail

/// out[row][head * value_dim ...] = attention of the queries over the committed and staged rows of
/// `cache`. Extra memory is a constant number of tiles. Throws Error{shape_mismatch,
/// invalid_argument, bad_state} before anything is computed, Error{io} if rows on disk cannot be
/// read; the cache is never changed.
inline void attend(CacheRef cache, const Queries& queries, const AttentionParameters& parameters,
                   int heads, float* out, std::ptrdiff_t out_stride, Context& context) {
    using namespace detail;
    const HeadLayout layout = check_attend(cache, queries, parameters, heads);
    if (queries.rows == 0) return;
    const FpEnvironment environment;
    if (cache.wants_queries()) show_queries(cache, queries, layout, parameters, context);

    const int group = layout.group();
    const int heads_in_tile = std::min(group, tile_queries);
    const int head_parts = (group + heads_in_tile - 1) / heads_in_tile;
    const int tile_rows = std::max(1, tile_queries / group);
    const int row_tiles = (queries.rows + tile_rows - 1) / tile_rows;
    const int tiles = layout.kv_heads * head_parts * row_tiles;
    const int window = parameters.mask.window();
    const auto tile_at = [&](int i) {
        // Later rows see more: handing them out first balances the threads.
        const int row = (row_tiles - 1 - i / (layout.kv_heads * head_parts)) * tile_rows;
        const int part = i % (layout.kv_heads * head_parts);
        const int first = part % head_parts * heads_in_tile;
        return QueryTile{row, std::min(tile_rows, queries.rows - row),
                         std::min(heads_in_tile, group - first), part / head_parts * group + first,
                         queries.position + row};
    };
    Executor& executor = context.executor();
    const int workers = executor.workers();
    Workspace::Frame frame(context.workspace());
    std::atomic<int> failed = 0;
    SegmentRoom fetched;
    fetched.failed = &failed;
    auto* wanted = frame.array<int>(segments_of(cache.length()));
    const int segments = wanted_segments(cache, queries, layout, window, wanted, fetched, frame);
    const std::size_t scratch_floats = TileScratch::floats(layout, fetched);
    const std::size_t state_floats = TileState::floats(layout.value_dim);
    float* scratch =
        frame.floats(static_cast<std::size_t>(workers) * (scratch_floats + state_floats));

    const bool values_rotated = rotated_values(cache);
    if (workers == 1 || tiles >= 4 * workers || segments < 2 || row_tiles > 1) {
        auto task = [&](int i, int worker) {
            const TileScratch space(
                scratch + static_cast<std::size_t>(worker) * (scratch_floats + state_floats),
                layout, fetched);
            const TileState state(
                scratch + static_cast<std::size_t>(worker) * (scratch_floats + state_floats) +
                scratch_floats);
            const QueryTile tile = tile_at(i);
            RunList keys(space.list(0));
            RunList values(space.list(1));
            cache.runs(tile.head / group, keys, values);
            load_queries(queries, tile, layout, parameters, keys, space);
            state.clear(tile_queries);
            for (int s = 0; s < segments; ++s) {
                const int low = wanted[s] * segment_rows;
                if (!touches(keys, tile, window, low)) continue;
                attend_segment(keys, values, tile, layout, parameters, low, space);
                state.add(tile.count(), layout.value_dim, space.max, space.sum, space.out);
            }
            state.finish(tile, layout.value_dim, values_rotated, out, out_stride);
        };
        executor.run(tiles, task);
        check_fetched(failed);
        report_scores(cache, queries, layout, parameters, context);
        cache.on_attended({&queries, &parameters, heads, out, out_stride, &context});
        return;
    }

    // Few heads, many positions (decode): the segments are shared out, then merged in order, in
    // rounds of a fixed size so that memory does not grow with the context.
    constexpr int round_segments = 32;
    float* states = frame.floats(static_cast<std::size_t>(tiles) * state_floats);
    float* parts = frame.floats(static_cast<std::size_t>(tiles) * round_segments * state_floats);
    for (int t = 0; t < tiles; ++t)
        TileState(states + static_cast<std::size_t>(t) * state_floats).clear(tile_queries);
    for (int first = 0; first < segments; first += round_segments) {
        const int count = std::min(round_segments, segments - first);
        // A worker walks neighbours: what it asks for ahead of a segment is what it reads next.
        parallel_for(
            executor, tiles * count, 1, [&](std::ptrdiff_t begin, std::ptrdiff_t end, int worker) {
                const TileScratch space(
                    scratch + static_cast<std::size_t>(worker) * (scratch_floats + state_floats),
                    layout, fetched);
                RunList keys(space.list(0));
                RunList values(space.list(1));
                for (auto i = static_cast<int>(begin); i < end; ++i) {
                    const QueryTile tile = tile_at(i / count);
                    if (i == begin || i % count == 0) {
                        cache.runs(tile.head / group, keys, values);
                        load_queries(queries, tile, layout, parameters, keys, space);
                    }
                    const TileState part(parts + static_cast<std::size_t>(i) * state_floats);
                    TileScratch direct = space;
                    direct.max = part.max;
                    direct.sum = part.sum;
                    direct.out = part.out;
                    attend_segment(keys, values, tile, layout, parameters,
                                   wanted[first + i % count] * segment_rows, direct);
                }
            });
        for (int t = 0; t < tiles; ++t) {
            const TileState state(states + static_cast<std::size_t>(t) * state_floats);
            for (int s = 0; s < count; ++s) {
                const TileState part(parts +
                                     static_cast<std::size_t>(t * count + s) * state_floats);
                state.add(tile_at(t).count(), layout.value_dim, part.max, part.sum, part.out);
            }
        }
    }
    check_fetched(failed);
    for (int t = 0; t < tiles; ++t)
        TileState(states + static_cast<std::size_t>(t) * state_floats)
            .finish(tile_at(t), layout.value_dim, values_rotated, out, out_stride);
    report_scores(cache, queries, layout, parameters, context);
    cache.on_attended({&queries, &parameters, heads, out, out_stride, &context});
}

}  // namespace cairn::inline CAIRN_ABI
