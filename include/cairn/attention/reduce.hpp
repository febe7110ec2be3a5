// The one way through attention: the queries of one or many sequences over their caches. Segments
// of 256 rows are reduced alone and merged in ascending order, whoever computes them; so the bits
// do not depend on threads, on the cut of a prompt, or on what else is in the batch.
//
//   walk    one task a tile of queries: it merges its segments as it goes (a prompt, many heads)
//   share   few tiles, many rows (decoding): one task a segment and tile, in rounds of a fixed
//           size, so that memory does not grow with the context
//
// Rows that several sequences hold in common (forks, prefixes) are read once for all their queries:
//
//   sequence 0: [ shared ][ shared ][ own ]        one task a shared segment and strip: a tile of
//   sequence 1: [ shared ][ shared ][ own ][ own ]  up to 16 queries of all who share it
//   sequence 2: [ own    ][ own    ]
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <span>

#include "cairn/attention/members.hpp"
#include "cairn/attention/open.hpp"
#include "cairn/core/fixed_vector.hpp"
#include "cairn/core/parallel_for.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Attention of all members' queries. One call, one object.
class Reducer {
  public:
    /// Members have the same layout, queries of their own, and what they ask was checked.
    Reducer(std::span<Member> members, const HeadLayout& layout,
            const AttentionParameters& parameters, Context& context)
        : members_(members),
          layout_(layout),
          parameters_(parameters),
          executor_(context.executor()),
          frame_(context.workspace()),
          tiling_(layout, members[0].queries.rows) {
        room_.failed = &failed_;
        room_.fast = context.attention == Compute::fast;
        room_.unpacks = tiling_.strands() > 1 && tiles() >= 8 * executor_.workers();
        const int window = parameters.mask.window();
        for (Member& member : members_) {
            find_wanted(member, layout, window, room_, frame_);
            most_ = std::max(most_, member.segments);
        }
        scratch_floats_ = TileScratch::floats(layout, room_);
        if (room_.input > 0) prepare_makers(context);
        if (count() == 1) return;
        leaders_ = frame_.array<int>(members_.size() * static_cast<std::size_t>(most_));
        shared_ = find_shared(members_, layout, window, most_, leaders_);
    }

    /// Throws Error{io} where rows on disk could not be read.
    void run() {
        const int workers = executor_.workers();
        const bool enough = workers == 1 || tiles() >= 4 * workers || most_ < 2;
        if (tiling_.strands() > 1 || (shared_ == 0 && enough))
            walk();
        else
            share();
        require(failed_ == 0, ErrorCode::io,
                "attend: rows of the cache on disk: ", std::strerror(failed_.load()));
    }

  private:
    // A segment of a member; where it is shared, of the members that follow it, too.
    struct Item {
        int member;
        int index;  // in the member's wanted segments
    };
    // The queries of an item: rows of one member, or one row of each of several.
    struct ItemTile {
        QueryTile tile;
        int count = 0;
        int members[tile_queries];
        int positions[tile_queries];
    };
    static constexpr int round_segments = 32;
    static constexpr int most_block = 64;  // a quarter where rows need not be projected

    int count() const noexcept { return static_cast<int>(members_.size()); }
    int tiles() const noexcept { return count() * tiling_.strips() * tiling_.strands(); }
    const Member& member(int m) const noexcept { return members_[static_cast<std::size_t>(m)]; }
    Context* context_of(int worker) const noexcept {
        return own_.empty() ? nullptr : &own_[static_cast<std::size_t>(worker)];
    }
    // Rows are made by every worker for itself.
    void prepare_makers(const Context& context) {
        const RowMaker* maker = parameters_.maker;
        require(maker != nullptr, ErrorCode::invalid_argument,
                "attend: a cache of layer inputs, and no projections to make keys and values with");
        const std::size_t width = room_.input / SegmentRoom::piece;
        require(static_cast<std::size_t>(maker->width()) == width, ErrorCode::shape_mismatch,
                "attend: projections of ", maker->width(), " numbers over inputs of ", width);
        own_ = FixedVector<Context>(static_cast<std::size_t>(executor_.workers()));
        for (int i = 0; i < executor_.workers(); ++i) own_.emplace_back().compute = context.compute;
    }

    void walk() {
        // A segment that must be opened serves many tiles, as far as every worker has enough of
        // them.
        const int strands = tiling_.strands();
        const int block = room_.opens() ? std::clamp(tiles() / (2 * executor_.workers()), 1,
                                                     room_.input > 0 ? most_block : most_block / 4)
                                        : 1;
        const int blocks = (strands + block - 1) / block;
        state_floats_ = TileState::floats(layout_.value_dim);
        query_floats_ =
            block > 1 ? tile_queries * round_up(static_cast<std::size_t>(layout_.key_dim), 16) : 0;
        const std::size_t floats =
            scratch_floats_ + static_cast<std::size_t>(block) * (state_floats_ + query_floats_);
        float* scratch = frame_.floats(static_cast<std::size_t>(executor_.workers()) * floats);
        auto task = [&](int i, int worker) {
            float* at = scratch + static_cast<std::size_t>(worker) * floats;
            // Later rows see more: handing them out first balances the threads.
            const int b = count() * blocks - 1 - i / tiling_.strips();
            const int first = b % blocks * block;
            walk_tiles(member(b / blocks), i % tiling_.strips(), first,
                       std::min(first + block, strands), worker, at);
        };
        executor_.run(count() * blocks * tiling_.strips(), task);
    }
    // The tiles of strands [begin, end) of a strip, segment by segment; `at`: the worker's scratch.
    void walk_tiles(const Member& m, int strip, int begin, int end, int worker, float* at) const {
        TileScratch space(at, layout_, room_);
        // Of every tile its state and, where one form of them is all, its queries.
        const auto place = [&](int t) {
            return at + scratch_floats_ +
                   static_cast<std::size_t>(t) * (state_floats_ + query_floats_);
        };
        const auto state = [&](int t) { return TileState(place(t)); };
        const int window = parameters_.mask.window();
        RunList keys(space.list(0));
        RunList values(space.list(1));
        m.runs(tiling_.kv_head(strip), keys, values);
        OpenSegment segment(layout_, parameters_, space, context_of(worker));
        QueryTile tiles[most_block];
        const int n = end - begin;
        for (int t = 0; t < n; ++t) {
            tiles[t] = tiling_.tile(strip, begin + t, m.queries.position);
            state(t).clear(tile_queries);
        }
        const bool kept =
            n > 1 && room_.quantise == nullptr && !room_.rounds &&
            std::none_of(keys.begin(), keys.end(), [](const Run& run) { return run.displaced(); });
        bool ready[most_block] = {};  // whether a tile's queries are in the scratch
        for (int s = 0; s < m.segments; ++s) {
            const int low = m.wanted[s] * segment_rows;
            bool open = false;
            for (int t = 0; t < n; ++t) {
                if (!touches(keys, tiles[t], window, low)) continue;
                open = open || segment.open(keys, values, tiles[0], tiles[n - 1],
                                            tiling_.kv_head(strip), low);
                if (!open) return;
                if (kept) space.q = place(t) + state_floats_;
                if (!ready[t]) {
                    load_queries(m.queries, tiles[t], layout_, parameters_, keys, space);
                    if (!kept) std::fill_n(ready, n, false);
                    ready[t] = true;
                }
                attend_rows(segment.keys(), segment.values(), tiles[t], layout_, parameters_, low,
                            space);
                state(t).add(tiles[t].count(), layout_.value_dim, space.max, space.sum, space.out);
            }
        }
        for (int t = 0; t < n; ++t)
            state(t).finish(tiles[t], layout_.value_dim, parameters_.sinks, m.rotated, m.out,
                            m.out_stride);
    }

    void share() {
        const std::span<const Item> items = list_items();
        const int strips = tiling_.strips();
        const int own = tiling_.heads() * (count() == 1 ? member(0).queries.rows : 1);
        state_queries_ = std::min(own, tile_queries);
        part_queries_ = shared_ > 0 ? tile_queries : state_queries_;
        state_floats_ = TileState::floats(layout_.value_dim, state_queries_);
        part_floats_ = TileState::floats(layout_.value_dim, part_queries_);
        const int most =
            std::clamp(static_cast<int>(items.size()), round_segments, round_segments * count());
        states_ = frame_.floats(static_cast<std::size_t>(count() * strips) * state_floats_);
        parts_ = frame_.floats(static_cast<std::size_t>(strips * most) * part_floats_);
        float* scratch =
            frame_.floats(static_cast<std::size_t>(executor_.workers()) * scratch_floats_);
        for (int m = 0; m < count(); ++m)
            for (int strip = 0; strip < strips; ++strip) state(m, strip).clear(state_queries_);
        for (std::size_t first = 0; first < items.size(); first += static_cast<std::size_t>(most)) {
            const auto round = items.subspan(
                first, std::min(static_cast<std::size_t>(most), items.size() - first));
            const auto size = static_cast<int>(round.size());
            // A worker walks neighbours: what it asks for ahead of a segment is what it reads next.
            parallel_for(executor_, strips * size, 1,
                         [&](std::ptrdiff_t begin, std::ptrdiff_t end, int worker) {
                             compute(round, static_cast<int>(begin), static_cast<int>(end), worker,
                                     scratch + static_cast<std::size_t>(worker) * scratch_floats_);
                         });
            auto merge_strip = [&](int strip, int) { merge(round, strip); };
            if (size > round_segments)
                executor_.run(strips, merge_strip);
            else
                for (int strip = 0; strip < strips; ++strip) merge_strip(strip, 0);
        }
        for (int m = 0; m < count(); ++m)
            for (int strip = 0; strip < strips; ++strip)
                state(m, strip).finish(tile_of(m, strip), layout_.value_dim, parameters_.sinks,
                                       member(m).rotated, member(m).out, member(m).out_stride);
    }
    // Shared segments come before what their members see behind them, and both in the order of
    // their rows: so are results merged.
    std::span<const Item> list_items() {
        std::size_t all = 0;
        for (const Member& m : members_) all += static_cast<std::size_t>(m.segments);
        auto* items = frame_.array<Item>(all);
        std::size_t n = 0;
        for (int index = 0; index < shared_; ++index)
            for (int m = 0; m < count(); ++m)
                if (index < member(m).segments && leads(m, index)) items[n++] = {m, index};
        for (int m = 0; m < count(); ++m)
            for (int index = shared_; index < member(m).segments; ++index) items[n++] = {m, index};
        return {items, n};
    }
    // Whether a member's segment is computed with it first: the leader of those who share it, and
    // behind him every one with whom a new tile begins.
    bool leads(int m, int index) const noexcept {
        const int* leader = leaders_ + index * count();
        return std::count(leader + leader[m], leader + m, leader[m]) % tiling_.tile_rows() == 0;
    }
    QueryTile tile_of(int m, int strip) const noexcept {
        return tiling_.tile(strip, 0, member(m).queries.position);
    }
    void tile_of(const Item& item, int strip, ItemTile& to) const noexcept {
        to.tile = tile_of(item.member, strip);
        to.count = 1;
        to.members[0] = item.member;
        if (item.index >= shared_) return;
        const int* leader = leaders_ + item.index * count();
        to.count = 0;
        for (int m = item.member; m < count() && to.count < tiling_.tile_rows(); ++m) {
            if (leader[m] != leader[item.member]) continue;
            to.positions[to.count] = member(m).queries.position;
            to.members[to.count++] = m;
        }
        to.tile.rows = to.count;
        to.tile.positions = to.positions;
    }
    TileState state(int m, int strip) const noexcept {
        const auto at = static_cast<std::size_t>(m * tiling_.strips() + strip);
        return TileState(states_ + at * state_floats_, state_queries_);
    }
    TileState part(int i) const noexcept {
        return TileState(parts_ + static_cast<std::size_t>(i) * part_floats_, part_queries_);
    }

    // The parts [begin, end) of a round: strip after strip its items.
    void compute(std::span<const Item> round, int begin, int end, int worker,
                 float* scratch) const {
        const TileScratch space(scratch, layout_, room_);
        const auto size = static_cast<int>(round.size());
        OpenSegment segment(layout_, parameters_, space, context_of(worker));
        RunList keys(space.list(0));
        RunList values(space.list(1));
        ItemTile at;
        int loaded = -1;
        for (int i = begin; i < end; ++i) {
            const int strip = i / size;
            const Item& item = round[static_cast<std::size_t>(i % size)];
            if (i % size == 0) loaded = -1;
            if (loaded != item.member || item.index < shared_) {
                tile_of(item, strip, at);
                member(item.member).runs(tiling_.kv_head(strip), keys, values);
                for (int r = 0; r < at.count; ++r) {
                    const TileScratch row = space.from_query(r * at.tile.group, layout_.key_dim);
                    load_queries(member(at.members[r]).queries, tile_of(at.members[r], strip),
                                 layout_, parameters_, keys, row);
                }
                loaded = item.index < shared_ ? -1 : item.member;
            }
            const TileState result = part(i);
            TileScratch direct = space;
            direct.max = result.max;
            direct.sum = result.sum;
            direct.out = result.out;
            const int low = member(item.member).wanted[item.index] * segment_rows;
            if (!segment.open(keys, values, at.tile, at.tile, tiling_.kv_head(strip), low)) {
                std::fill_n(direct.max, at.tile.count(), -std::numeric_limits<float>::infinity());
                continue;
            }
            attend_rows(segment.keys(), segment.values(), at.tile, layout_, parameters_, low,
                        direct);
        }
    }
    void merge(std::span<const Item> round, int strip) const {
        const auto size = static_cast<int>(round.size());
        ItemTile at;
        for (int i = 0; i < size; ++i) {
            tile_of(round[static_cast<std::size_t>(i)], strip, at);
            const TileState from = part(strip * size + i);
            const int queries = at.tile.count() / at.count;
            for (int r = 0; r < at.count; ++r)
                state(at.members[r], strip)
                    .add(queries, layout_.value_dim, from.max + r * queries, from.sum + r * queries,
                         from.out + r * queries * layout_.value_dim);
        }
    }

    std::span<Member> members_;
    HeadLayout layout_;
    const AttentionParameters& parameters_;
    Executor& executor_;
    Workspace::Frame frame_;
    Tiling tiling_;
    std::atomic<int> failed_ = 0;
    SegmentRoom room_;
    mutable FixedVector<Context> own_;  // of workers, where rows are projections
    std::size_t scratch_floats_ = 0;
    int most_ = 0;            // segments of a member
    int shared_ = 0;          // segments from the front of which any is shared
    int* leaders_ = nullptr;  // see find_shared
    int state_queries_ = 0;
    int part_queries_ = 0;
    std::size_t state_floats_ = 0;
    std::size_t query_floats_ = 0;
    std::size_t part_floats_ = 0;
    float* states_ = nullptr;  // [members][strips]
    float* parts_ = nullptr;   // of a round: [strips][items]
};

}}}  // namespace cairn::internal
