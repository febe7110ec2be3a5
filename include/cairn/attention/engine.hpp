// Attention over a cache: the one function of the float path, whatever the cache is made of.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "cairn/attention/segment.hpp"
#include "cairn/cache/cache_ref.hpp"
#include "cairn/core/context.hpp"
#include "cairn/core/fp_environment.hpp"

namespace cairn::inline CAIRN_ABI {

/// Rows of queries, not rotated: row r stands at position + r and holds its heads side by side.
struct Queries {
    const float* q = nullptr;
    std::ptrdiff_t stride = 0;  ///< floats from row to row
    int rows = 0;
    int position = 0;
};

namespace detail {

// Queries in the order of the tile, rotated once and scaled.
inline void load_queries(const Queries& queries, const QueryTile& tile, const HeadLayout& layout,
                         const AttentionParameters& parameters, float* to) {
    const kernels::Table& kernel = kernels::active();
    for (int i = 0; i < tile.count(); ++i, to += layout.key_dim) {
        const int row = tile.first_row + i / tile.group;
        const int head = tile.head + i % tile.group;
        std::memcpy(to, queries.q + row * queries.stride + head * layout.key_dim,
                    static_cast<std::size_t>(layout.key_dim) * sizeof(float));
        if (parameters.rotation != nullptr) parameters.rotation->rotate(to, queries.position + row);
        if (parameters.scale != 1.0F) kernel.scale(parameters.scale, layout.key_dim, to);
    }
}

// The running result of a tile: segments are merged in ascending order.
struct TileState {
    float* max;  // [tile_queries]
    float* sum;
    float* out;  // [tile_queries][value_dim]
    void clear() const noexcept {
        std::fill_n(max, tile_queries, -std::numeric_limits<float>::infinity());
        std::fill_n(sum, tile_queries, 0.0F);
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
    void finish(const QueryTile& tile, int dims, float* to, std::ptrdiff_t stride) const {
        for (int i = 0; i < tile.count(); ++i) {
            float* row = to + (tile.first_row + i / tile.group) * stride +
                         std::ptrdiff_t{tile.head + i % tile.group} * dims;
            if (max[i] == -std::numeric_limits<float>::infinity()) {
                std::fill_n(row, dims, 0.0F);
                continue;
            }
            std::memcpy(row, out + i * dims, static_cast<std::size_t>(dims) * sizeof(float));
            kernels::active().scale(1.0F / sum[i], dims, row);
        }
    }
    static std::size_t floats(int value_dim) noexcept {
        return tile_queries * (round_up(static_cast<std::size_t>(value_dim), 16) + 2);
    }
    TileState(float* at, int value_dim) noexcept
        : max(at), sum(at + tile_queries), out(at + 2 * tile_queries) {
        (void)value_dim;
    }
};

}  // namespace detail

/// out[row][head * value_dim ...] = attention of the queries over the committed and staged rows of
/// `cache`. Extra memory is a constant number of tiles. Throws Error{shape_mismatch,
/// invalid_argument, bad_state} before anything is computed; the cache is never changed.
inline void attend(CacheRef cache, const Queries& queries, const AttentionParameters& parameters,
                   int heads, float* out, std::ptrdiff_t out_stride, Context& context) {
    using namespace detail;
    HeadLayout layout = cache.layout();
    require(heads > 0 && heads % layout.kv_heads == 0, ErrorCode::shape_mismatch, "attend: ", heads,
            " query heads over ", layout.kv_heads, " KV heads");
    layout.heads = heads;
    require(queries.rows >= 0 && queries.position >= 0, ErrorCode::invalid_argument,
            "attend: ", queries.rows, " rows at position ", queries.position);
    require(queries.position + queries.rows <= cache.length(), ErrorCode::bad_state,
            "attend: queries up to position ", queries.position + queries.rows - 1, ", but only ",
            cache.length(), " rows were staged");
    require(parameters.alibi.empty() || parameters.alibi.size() == static_cast<std::size_t>(heads),
            ErrorCode::shape_mismatch, "attend: ", parameters.alibi.size(), " ALiBi slopes for ",
            heads, " heads");
    require(parameters.rotation == nullptr ||
                queries.position + queries.rows <= parameters.rotation->positions(),
            ErrorCode::invalid_argument, "attend: position ", queries.position + queries.rows - 1,
            " is past the ", parameters.rotation ? parameters.rotation->positions() : 0,
            " rotary positions");
    if (queries.rows == 0) return;
    const FpEnvironment environment;

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
    const auto segments_of = [&](const QueryTile& tile) {
        const int first = window > tile.position ? 0 : (tile.position - window + 1);
        return Interval{first / segment_rows, (tile.position + tile.rows - 1) / segment_rows + 1};
    };

    Executor& executor = context.executor();
    const int workers = executor.workers();
    Workspace::Frame frame(context.workspace());
    const std::size_t scratch_floats =
        round_up(TileScratch::floats(layout.key_dim, layout.value_dim), 16);
    const std::size_t state_floats = round_up(TileState::floats(layout.value_dim), 16);
    float* scratch =
        frame.floats(static_cast<std::size_t>(workers) * (scratch_floats + state_floats));

    const Interval last_segments = segments_of(tile_at(0));
    const int segments = last_segments.end - last_segments.begin;
    if (workers == 1 || tiles >= 4 * workers || segments < 2 || row_tiles > 1) {
        auto task = [&](int i, int worker) {
            const TileScratch space(
                scratch + static_cast<std::size_t>(worker) * (scratch_floats + state_floats),
                layout.key_dim, layout.value_dim);
            const TileState state(
                scratch + static_cast<std::size_t>(worker) * (scratch_floats + state_floats) +
                    scratch_floats,
                layout.value_dim);
            const QueryTile tile = tile_at(i);
            RunList keys;
            RunList values;
            cache.runs(tile.head / group, keys, values);
            load_queries(queries, tile, layout, parameters, space.q);
            state.clear();
            const Interval range = segments_of(tile);
            for (int s = range.begin; s < range.end; ++s) {
                attend_segment(keys, values, tile, layout, parameters, s * segment_rows, space);
                state.add(tile.count(), layout.value_dim, space.max, space.sum, space.out);
            }
            state.finish(tile, layout.value_dim, out, out_stride);
        };
        executor.run(tiles, task);
        return;
    }

    // Few heads, many positions (decode): the segments are shared out, then merged in order, in
    // rounds of a fixed size so that memory does not grow with the context.
    constexpr int round_segments = 32;
    const std::size_t part_floats = state_floats;
    float* states = frame.floats(static_cast<std::size_t>(tiles) * state_floats);
    float* parts = frame.floats(static_cast<std::size_t>(tiles) * round_segments * part_floats);
    for (int t = 0; t < tiles; ++t)
        TileState(states + static_cast<std::size_t>(t) * state_floats, layout.value_dim).clear();
    for (int first = last_segments.begin; first < last_segments.end; first += round_segments) {
        const int count = std::min(round_segments, last_segments.end - first);
        auto task = [&](int i, int worker) {
            const TileScratch space(
                scratch + static_cast<std::size_t>(worker) * (scratch_floats + state_floats),
                layout.key_dim, layout.value_dim);
            const QueryTile tile = tile_at(i / count);
            RunList keys;
            RunList values;
            cache.runs(tile.head / group, keys, values);
            load_queries(queries, tile, layout, parameters, space.q);
            const TileState part(parts + static_cast<std::size_t>(i) * part_floats,
                                 layout.value_dim);
            TileScratch direct = space;
            direct.max = part.max;
            direct.sum = part.sum;
            direct.out = part.out;
            attend_segment(keys, values, tile, layout, parameters,
                           (first + i % count) * segment_rows, direct);
        };
        executor.run(tiles * count, task);
        for (int t = 0; t < tiles; ++t) {
            const TileState state(states + static_cast<std::size_t>(t) * state_floats,
                                  layout.value_dim);
            for (int s = 0; s < count; ++s) {
                const TileState part(parts + static_cast<std::size_t>(t * count + s) * part_floats,
                                     layout.value_dim);
                state.add(tile_at(t).count(), layout.value_dim, part.max, part.sum, part.out);
            }
        }
    }
    for (int t = 0; t < tiles; ++t)
        TileState(states + static_cast<std::size_t>(t) * state_floats, layout.value_dim)
            .finish(tile_at(t), layout.value_dim, out, out_stride);
}

}  // namespace cairn::inline CAIRN_ABI
