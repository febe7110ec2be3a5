// How the queries of attention are cut: tiles of up to 16 queries of one KV head that share a pass
// over its rows, where each query of a tile stands, the scratch of who works on one, and its
// running result.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <span>

#include "cairn/attention/room.hpp"
#include "cairn/kernels/dispatch.hpp"
#include "cairn/kernels/hadamard.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Queries of one KV head: rows ascending, within a row the heads of the group.
struct QueryTile {
    int first_row;  // of the tile, in the batch of query rows
    int rows;
    int group;                       // heads a row
    int head;                        // first query head
    int position;                    // token position of the first row
    const int* positions = nullptr;  // of every row, where rows are of several sequences
    int count() const noexcept { return rows * group; }
    int position_of(int query) const noexcept {
        return positions != nullptr ? positions[query / group] : position + query / group;
    }
};

/// The tiles of `rows` query rows of one sequence: strips (a KV head, or a part of it whose group
/// is wider than a tile) times strands of rows.
class Tiling {
  public:
    Tiling(const HeadLayout& layout, int rows) noexcept
        : rows_(rows),
          group_(layout.group()),
          heads_(std::min(group_, tile_queries)),
          parts_((group_ + heads_ - 1) / heads_),
          tile_rows_(std::max(1, tile_queries / group_)),
          strips_(layout.kv_heads * parts_) {}
    int strips() const noexcept { return strips_; }
    int strands() const noexcept { return (rows_ + tile_rows_ - 1) / tile_rows_; }
    /// Query heads of a strip at most, and rows of them in a tile.
    int heads() const noexcept { return heads_; }
    int tile_rows() const noexcept { return tile_rows_; }
    int kv_head(int strip) const noexcept { return strip / parts_; }
    /// The tile of a strip and a strand, where the sequence's first row stands at `position`.
    QueryTile tile(int strip, int strand, int position) const noexcept {
        const int row = strand * tile_rows_;
        const int first = strip % parts_ * heads_;
        return {row, std::min(tile_rows_, rows_ - row), std::min(heads_, group_ - first),
                kv_head(strip) * group_ + first, position + row};
    }

  private:
    int rows_;
    int group_;
    int heads_;
    int parts_;  // strips of a KV head
    int tile_rows_;
    int strips_;
};

using kernels::cached::query_blocks;
using kernels::cached::QueryBlock;

/// Scratch of one worker: queries rotated at their positions and at their places among displaced
/// rows, scores, and one segment's result; behind them what SegmentRoom asks for.
struct TileScratch {
    float* q;                                // [tile_queries][key_dim]
    float* displaced;                        // [tile_queries][key_dim]
    float* scores;                           // [tile_queries][segment_rows]
    float* out;                              // [tile_queries][value_dim]
    float* max;                              // [tile_queries]
    float* sum;                              // [tile_queries]
    QueryBlock* blocks = nullptr;            // the queries as bytes, where room.quantise
    QueryBlock* displaced_blocks = nullptr;  // and those among displaced rows
    float* rounded = nullptr;                // [tile_queries][key_dim], where room.rounds
    float* displaced_rounded = nullptr;      // and those among displaced rows
    float* lists;                            // four lists of runs
    float* codec;                            // scratch of codecs
    float* input;                            // rows that keys or values are made of
    float* made_keys;                        // rooms of rows that were made
    float* made_values;
    float* unpacked_keys;  // the room of rows that were unpacked
    float* unpacked_values;
    std::byte* keys;  // room of a fetch
    std::byte* values;
    SegmentRoom room;
    static std::size_t floats(const HeadLayout& layout, const SegmentRoom& room = {}) noexcept {
        const std::size_t own =
            tile_queries *
            (2 * round_up(static_cast<std::size_t>(layout.key_dim), 16) + segment_rows +
             round_up(static_cast<std::size_t>(layout.value_dim), 16) + 2);
        return round_up(own, 16) + room.floats(layout);
    }
    [[gnu::noinline]] TileScratch(float* at, const HeadLayout& layout,
                                  const SegmentRoom& wanted = {}) noexcept
        : TileScratch(at, layout.key_dim, layout.value_dim) {
        room = wanted;
        lists = at + floats(layout);
        float* rest = lists + 4 * room.list_floats();
        if (room.quantise != nullptr) {
            blocks = reinterpret_cast<QueryBlock*>(rest);
            displaced_blocks = reinterpret_cast<QueryBlock*>(rest + room.block_floats(layout));
        }
        rest += 2 * room.block_floats(layout);
        if (room.rounds) {
            rounded = rest;
            displaced_rounded = rest + room.rounded_floats(layout);
        }
        codec = rest + 2 * room.rounded_floats(layout);
        input = codec + room.codec_floats();
        keys = reinterpret_cast<std::byte*>(input + room.input_floats());
        values = keys + room.keys;
        made_keys = input + room.input_floats() + room.fetched_floats();
        unpacked_keys = made_keys + static_cast<std::size_t>(room.made_keys) *
                                        SegmentRoom::made_floats(layout.key_dim);
        made_values = unpacked_keys + static_cast<std::size_t>(room.unpacked_keys) *
                                          SegmentRoom::made_floats(layout.key_dim);
        unpacked_values = made_values + static_cast<std::size_t>(room.made_values) *
                                            SegmentRoom::made_floats(layout.value_dim);
    }
    /// Room of one of the lists: keys and values of a KV head, the same of a segment.
    std::span<Run> list(int which) const noexcept {
        if (room.runs == 0) return {};
        // Runs are made where they are pushed.
        float* at = lists + static_cast<std::size_t>(which) * room.list_floats();
        return {reinterpret_cast<Run*>(at), static_cast<std::size_t>(room.runs)};
    }
    Scratch for_codec() const noexcept { return {codec, room.codec}; }
    /// The same scratch with its queries from `first` on.
    TileScratch from_query(int first, int key_dim) const noexcept {
        TileScratch to = *this;
        to.q += first * key_dim;
        to.displaced += first * key_dim;
        if (blocks != nullptr) {
            to.blocks += first * query_blocks(key_dim);
            to.displaced_blocks += first * query_blocks(key_dim);
        }
        if (rounded != nullptr) {
            to.rounded += first * key_dim;
            to.displaced_rounded += first * key_dim;
        }
        return to;
    }

  private:
    TileScratch(float* at, int key_dim, int value_dim) noexcept
        : q(at),
          displaced(q + tile_queries * round_up(static_cast<std::size_t>(key_dim), 16)),
          scores(displaced + tile_queries * round_up(static_cast<std::size_t>(key_dim), 16)),
          out(scores + tile_queries * segment_rows),
          max(out + tile_queries * round_up(static_cast<std::size_t>(value_dim), 16)),
          sum(max + tile_queries) {}
};

/// Queries in the order of the tile, rotated once and scaled; a second time where they stand among
/// displaced rows.
[[gnu::noinline]] inline void load_queries(const Queries& queries, const QueryTile& tile,
                                           const HeadLayout& layout,
                                           const AttentionParameters& parameters,
                                           const RunList& keys, const TileScratch& to) {
    const kernels::Table& kernel = kernels::active();
    const Run* displaced = nullptr;
    for (const Run& run : keys)
        if (run.displaced()) displaced = &run;
    const int per_query = query_blocks(layout.key_dim);
    const auto load = [&](float* at, QueryBlock* blocks, float* rounded, auto place_of) {
        for (int i = 0; i < tile.count(); ++i, at += layout.key_dim) {
            const int row = tile.first_row + i / tile.group;
            const int head = tile.head + i % tile.group;
            std::memcpy(at, queries.q + row * queries.stride + head * layout.key_dim,
                        static_cast<std::size_t>(layout.key_dim) * sizeof(float));
            if (parameters.rotation != nullptr)
                parameters.rotation->rotate(at, place_of(queries.position + row));
            if (parameters.scale != 1.0F) kernel.scale(parameters.scale, layout.key_dim, at);
            if (keys.size() > 0 && keys[0].turned()) kernels::hadamard(at, layout.key_dim);
            if (blocks != nullptr)
                to.room.quantise(kernel, at, layout.key_dim, blocks + i * per_query);
            if (rounded != nullptr)
                kernel.pack_rounded(at, layout.key_dim, 1, layout.key_dim, 1, 0,
                                    rounded + i * layout.key_dim);
        }
    };
    load(to.q, to.blocks, to.rounded, [](int position) { return position; });
    if (displaced != nullptr)
        load(to.displaced, to.displaced_blocks, to.displaced_rounded,
             [&](int position) { return displaced->place_of(position); });
}

/// What sums are divided by once all rows are in: 1 / sum, after the sink of head `head` has taken
/// its part, if there are sinks. It joins behind the last row, wherever and by whom rows were
/// summed.
inline float share_of(float& max, float& sum, std::span<const float> sinks, int head) noexcept {
    float factor = 1.0F;
    const float nothing = 0.0F;
    if (!sinks.empty())
        kernels::active().merge(&max, &sum, &factor, sinks[static_cast<std::size_t>(head)], 1.0F,
                                &nothing, 1);
    return factor / sum;
}

/// The running result of a tile: segments are merged in ascending order.
struct TileState {
    float* max;  // [tile_queries]
    float* sum;
    float* out;  // [tile_queries][value_dim]
    void clear(int queries) const noexcept {
        std::fill_n(max, queries, -std::numeric_limits<float>::infinity());
        std::fill_n(sum, queries, 0.0F);
    }
    [[gnu::noinline]] void add(int queries, int dims, const float* m, const float* l,
                               const float* o) const {
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
    [[gnu::noinline]] void finish(const QueryTile& tile, int dims, std::span<const float> sinks,
                                  bool rotated, float* to, std::ptrdiff_t stride) const {
        for (int i = 0; i < tile.count(); ++i) {
            const int head = tile.head + i % tile.group;
            float* row =
                to + (tile.first_row + i / tile.group) * stride + std::ptrdiff_t{head} * dims;
            if (max[i] == -std::numeric_limits<float>::infinity()) {
                std::fill_n(row, dims, 0.0F);
                continue;
            }
            std::memcpy(row, out + i * dims, static_cast<std::size_t>(dims) * sizeof(float));
            kernels::active().scale(share_of(max[i], sum[i], sinks, head), dims, row);
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

}}}  // namespace cairn::internal
