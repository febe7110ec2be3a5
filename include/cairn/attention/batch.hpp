// Attention of one new row each of many sequences: one hand-off to the threads for all of them, and
// rows that several sequences share (forks, prefixes) are read once for all their queries. Each
// segment of 256 rows is reduced alone and merged in order as in `attend`, so the bits are the
// same.
//
//   sequence 0: [ shared ][ shared ][ own ]        one task a shared segment and KV head: a tile of
//   sequence 1: [ shared ][ shared ][ own ][ own ]  up to 16 queries of all who share it
//   sequence 2: [ own    ][ own    ]
#pragma once

#include <span>

#include "cairn/attention/engine.hpp"

namespace cairn::inline CAIRN_ABI {

/// The last row of one sequence: its heads side by side at `q`, not rotated; the result at `out`.
struct BatchQuery {
    CacheRef cache;
    const float* q = nullptr;
    int position = 0;
    float* out = nullptr;
};

namespace detail {

// Whether rows [low, low + 256) of two lists are the same bytes, seen whole by queries at `first`
// and `second`.
inline bool same_rows(const RunList& a, const RunList& b, int low, int window, int first,
                      int second) noexcept {
    const int high = low + segment_rows;
    const auto covering = [&](const RunList& list, int position) -> const Run* {
        for (const Run& run : list) {
            if (run.begin > low || run.end < high) continue;
            const SeenRows seen = visible(run, window, position, low, high);
            const bool plain = !run.ages() && !run.displaced() && run.positions == nullptr &&
                               run.from == 0 && run.source == nullptr;
            return plain && seen.begin == low && seen.end == high ? &run : nullptr;
        }
        return nullptr;
    };
    const Run* x = covering(a, first);
    const Run* y = covering(b, second);
    if (x == nullptr || y == nullptr || x->data != y->data || x->codec != y->codec ||
        x->offset != y->offset || x->block_size != y->block_size ||
        (x->block_table == nullptr) != (y->block_table == nullptr))
        return false;
    if (x->block_table == nullptr) return true;
    for (int block = low / x->block_size; block * x->block_size < high; ++block)
        if (x->block_table[block] != y->block_table[block]) return false;
    return true;
}

// For every sequence and segment the first sequence with the same rows there, as far from the front
// as anything is shared. Returns how many segments that is; leaders[segment * sequences +
// sequence].
inline int find_shared(std::span<const BatchQuery> batch, const HeadLayout& layout, int window,
                       int segments, int* leaders) {
    const auto n = static_cast<int>(batch.size());
    const auto same = [&](int a, int b, int segment) {
        const BatchQuery& x = batch[static_cast<std::size_t>(a)];
        const BatchQuery& y = batch[static_cast<std::size_t>(b)];
        if (std::max(x.cache.most_runs(), y.cache.most_runs()) > RunList::inside) return false;
        for (int h = 0; h < layout.kv_heads; ++h) {
            RunList lists[4];
            x.cache.runs(h, lists[0], lists[1]);
            y.cache.runs(h, lists[2], lists[3]);
            for (int s = 0; s < 2; ++s)
                if (!same_rows(lists[s], lists[s + 2], segment * segment_rows, window, x.position,
                               y.position))
                    return false;
        }
        return true;
    };
    for (int segment = 0; segment < segments; ++segment) {
        int* leader = leaders + segment * n;
        const int* before = leader - n;
        bool any = false;
        for (int b = 0; b < n; ++b) {
            leader[b] = b;
            // Who parted earlier does not meet again.
            for (int a = 0; a < b && leader[b] == b; ++a)
                if (leader[a] == a && (segment == 0 || before[a] == before[b]) &&
                    same(a, b, segment)) {
                    leader[b] = a;
                    any = true;
                }
        }
        if (!any) return segment;
    }
    return segments;
}

}  // namespace detail

/// attend() of one row for every sequence of the batch; the caches have one layout and are all
/// different. Bit for bit what attend() gives for each. Throws as attend does; caches that look at
/// queries or listen to scores belong there.
inline void attend_batch(std::span<const BatchQuery> batch, const AttentionParameters& parameters,
                         int heads, Context& context) {
    using namespace detail;
    if (batch.empty()) return;
    const auto n = static_cast<int>(batch.size());
    const int window = parameters.mask.window();
    Workspace::Frame frame(context.workspace());
    const auto queries_of = [](const BatchQuery& b) { return Queries{b.q, 0, 1, b.position}; };

    auto** wanted = frame.array<int*>(batch.size());
    auto* segments = frame.array<int>(batch.size());
    int most = 0;
    std::atomic<int> failed = 0;
    SegmentRoom fetched;
    fetched.failed = &failed;
    HeadLayout layout;
    for (std::size_t b = 0; b < batch.size(); ++b) {
        const Queries queries = queries_of(batch[b]);
        const HeadLayout mine = check_attend(batch[b].cache, queries, parameters, heads);
        require(b == 0 || mine == layout, ErrorCode::shape_mismatch, "attend_batch: sequence ", b,
                " has another layout than the first");
        layout = mine;
        wanted[b] = frame.array<int>(segments_of(batch[b].cache.length()) + 1);
        segments[b] =
            wanted_segments(batch[b].cache, queries, layout, window, wanted[b], fetched, frame);
        most = std::max(most, segments[b]);
    }
    const FpEnvironment environment;
    auto* leaders = frame.array<int>(static_cast<std::size_t>(n) * static_cast<std::size_t>(most));
    const int shared = n > 1 ? find_shared(batch, layout, window, most, leaders) : 0;

    const int group = layout.group();
    const int heads_in_tile = std::min(group, tile_queries);
    const int head_parts = (group + heads_in_tile - 1) / heads_in_tile;
    const int tiles = layout.kv_heads * head_parts;
    const int rows_in_tile = tile_queries / heads_in_tile;
    const auto tile_at = [&](int t, int position) {
        const int first = t % head_parts * heads_in_tile;
        return QueryTile{0, 1, std::min(heads_in_tile, group - first),
                         t / head_parts * group + first, position};
    };
    constexpr int round_segments = 16;
    const std::size_t part_floats = TileState::floats(layout.value_dim, heads_in_tile);
    const std::size_t scratch_floats = TileScratch::floats(layout, fetched);
    Executor& executor = context.executor();
    float* scratch = frame.floats(static_cast<std::size_t>(executor.workers()) * scratch_floats);
    const auto states_count = static_cast<std::size_t>(n) * static_cast<std::size_t>(tiles);
    float* states = frame.floats(states_count * part_floats);
    const auto rounds = static_cast<std::size_t>(std::min(round_segments, std::max(most, 1)));
    float* parts = frame.floats(states_count * rounds * part_floats);
    const auto state_of = [&](int b, int t) {
        return TileState(states + static_cast<std::size_t>(b * tiles + t) * part_floats,
                         heads_in_tile);
    };
    const auto part_of = [&](int b, int t, int k) {
        return TileState(parts + (static_cast<std::size_t>(b * tiles + t) * rounds +
                                  static_cast<std::size_t>(k)) *
                                     part_floats,
                         heads_in_tile);
    };
    for (int b = 0; b < n; ++b)
        for (int t = 0; t < tiles; ++t) state_of(b, t).clear(heads_in_tile);

    for (int first = 0; first < most; first += round_segments) {
        const int count = std::min(round_segments, most - first);
        auto compute = [&](int i, int worker) {
            const int t = i % tiles;
            const int b = i / tiles % n;
            const int k = i / tiles / n;
            const int index = first + k;
            if (index >= segments[b]) return;
            const int* leader = index < shared ? leaders + index * n : nullptr;
            if (leader != nullptr && leader[b] != b) return;
            const TileScratch space(scratch + static_cast<std::size_t>(worker) * scratch_floats,
                                    layout, fetched);
            RunList keys(space.list(0));
            RunList values(space.list(1));
            batch[static_cast<std::size_t>(b)].cache.runs(t / head_parts, keys, values);
            QueryTile tile = tile_at(t, batch[static_cast<std::size_t>(b)].position);
            const int low = wanted[b][index] * segment_rows;
            for (int next = b; next < n;) {
                int members[tile_queries];
                int positions[tile_queries];
                tile.rows = 0;
                for (; next < n && tile.rows < rows_in_tile; ++next) {
                    if (leader == nullptr ? next != b : leader[next] != b) continue;
                    const BatchQuery& member = batch[static_cast<std::size_t>(next)];
                    TileScratch at = space;
                    at.q += tile.count() * layout.key_dim;
                    at.displaced += tile.count() * layout.key_dim;
                    load_queries(queries_of(member), tile_at(t, member.position), layout,
                                 parameters, keys, at);
                    members[tile.rows] = next;
                    positions[tile.rows++] = member.position;
                }
                if (tile.rows == 0) break;
                tile.positions = positions;
                attend_segment(keys, values, tile, layout, parameters, low, space);
                for (int r = 0; r < tile.rows; ++r) {
                    const TileState part = part_of(members[r], t, k);
                    const int q = r * tile.group;
                    std::copy_n(space.max + q, tile.group, part.max);
                    std::copy_n(space.sum + q, tile.group, part.sum);
                    std::copy_n(space.out + q * layout.value_dim, tile.group * layout.value_dim,
                                part.out);
                }
                if (leader == nullptr) break;
            }
        };
        executor.run(count * n * tiles, compute);
        auto merge = [&](int i, int) {
            const int b = i / tiles;
            const int t = i % tiles;
            const TileState state = state_of(b, t);
            const int heads_here = tile_at(t, 0).group;
            for (int k = 0; k < count && first + k < segments[b]; ++k) {
                const TileState part = part_of(b, t, k);
                state.add(heads_here, layout.value_dim, part.max, part.sum, part.out);
            }
        };
        executor.run(n * tiles, merge);
    }
    check_fetched(failed);
    for (int b = 0; b < n; ++b) {
        const BatchQuery& query = batch[static_cast<std::size_t>(b)];
        const bool rotated = rotated_values(query.cache);
        for (int t = 0; t < tiles; ++t)
            state_of(b, t).finish(tile_at(t, query.position), layout.value_dim, rotated, query.out,
                                  0);
        const Queries queries = queries_of(query);
        query.cache.on_attended({&queries, &parameters, heads, query.out, 0, &context});
    }
}

}  // namespace cairn::inline CAIRN_ABI
