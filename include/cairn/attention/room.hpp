// The room that a worker needs to read rows: for long lists of runs, for codecs, for rows that are
// not in memory, and for rows that are not yet keys and values.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "cairn/attention/parameters.hpp"
#include "cairn/cache/seam/row_source.hpp"
#include "cairn/core/checked.hpp"
#include "cairn/core/types.hpp"
#include "cairn/kernels/cached/query.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Row numbers that are reduced together before merging. Part of the numerics.
inline constexpr int segment_rows = 256;
/// Queries (rows x heads of a group) that share one pass over keys and values.
inline constexpr int tile_queries = 16;
static_assert(segment_rows == fetch_rows, "what is fetched at once is attended at once");

/// Whether a run of a list of keys, or of values, is made of its rows before it is multiplied.
/// Values are never rotated: those that are the leading numbers of bare keys stand as they are.
inline bool is_made(const Run& run, Made part) noexcept {
    return run.kind == RowKind::input || (run.kind == RowKind::bare_key && part == Made::keys);
}

/// Where the rows of a segment are made: row r of it in place r of a room, runs that overlap (rows
/// of a chunk in two forms, by age) in different rooms. Runs come in the order of their rows.
class RowRooms {
  public:
    static constexpr int most = 8;
    /// The room for rows [begin, end); `most` where none is left.
    int take(int begin, int end) noexcept {
        int room = 0;
        while (room < most && ends_[room] > begin) ++room;
        if (room < most) ends_[room] = end;
        return room;
    }
    /// Rooms that the runs of a list need. Error{unsupported}.
    static int of(const RunList& runs, Made part) {
        RowRooms rooms;
        int count = 0;
        for (const Run& run : runs)
            if (is_made(run, part)) count = std::max(count, rooms.take(run.begin, run.end) + 1);
        require(count <= most, ErrorCode::unsupported, "attend: rows in more than ", most,
                " forms at once that become keys when they are read");
        return count;
    }

  private:
    int ends_[most] = {};
};

/// What workers need besides their tile; and where they say that rows could not be read.
struct SegmentRoom {
    std::size_t keys = 0;  ///< bytes of a fetch; 0 for both: all rows are in memory
    std::size_t values = 0;
    int made_keys = 0;  ///< rooms for rows that are made; 0 for both: all rows are ready
    int made_values = 0;
    bool unpacks = false;   ///< encoded rows are wanted as floats: many queries read each
    int unpacked_keys = 0;  ///< rooms for those; 0 for both: there are none
    int unpacked_values = 0;
    std::size_t codec = 0;              ///< floats of codecs' scratch
    std::size_t input = 0;              ///< floats of the rows that are made at once
    bool fast = false;                  ///< scores in integers are wanted where codecs have them
    QuantiseQuery* quantise = nullptr;  ///< they are, and one has
    bool rounds = false;  ///< scores with rounded queries are wanted, and one has them
    int runs = 0;         ///< of a list; 0: the lists' own room is enough
    std::atomic<int>* failed = nullptr;  ///< an errno
    /// Rows that are made at once.
    static constexpr int piece = 32;

    /// Whether a segment's rows must be brought or made before they are multiplied.
    bool opens() const noexcept {
        return keys + values > 0 || made_keys + made_values + unpacked_keys + unpacked_values > 0;
    }
    /// Whether a run is unpacked before it is multiplied.
    bool unpacks_run(const Run& run) const noexcept {
        return unpacks && run.kind == RowKind::ready && run.dims == 0 &&
               run.codec->unpacked != nullptr && !(fast && run.codec->quantise_query != nullptr);
    }
    /// Room for what a cache of these runs needs.
    [[gnu::noinline]] void add(const RunList& key_runs, const RunList& value_runs,
                               const HeadLayout& layout) {
        const auto need = [&](const Run& run, std::size_t& fetched, int dims) {
            require(run.kind == RowKind::ready || run.made != nullptr, ErrorCode::bad_state,
                    "attend: rows that become keys or values when they are read, and a cache "
                    "that does not say how they lie then");
            fetched = std::max(fetched, round_up(fetch_bytes(run), 64));
            if (run.kind == RowKind::input)
                input = std::max(
                    input, static_cast<std::size_t>(piece) * static_cast<std::size_t>(run.dims));
            codec = std::max(codec, run.codec->scratch_floats(std::max(run.dims, dims)));
        };
        for (const Run& run : key_runs) {
            need(run, keys, layout.key_dim);
            if (fast && run.codec->quantise_query != nullptr) quantise = run.codec->quantise_query;
            rounds |= fast && run.codec->rounds;
        }
        for (const Run& run : value_runs) need(run, values, layout.value_dim);
        made_keys = std::max(made_keys, RowRooms::of(key_runs, Made::keys));
        made_values = std::max(made_values, RowRooms::of(value_runs, Made::values));
        const auto unpacked = [&](const RunList& of) {
            return int{std::any_of(of.begin(), of.end(),
                                   [&](const Run& run) { return unpacks_run(run); })};
        };
        unpacked_keys = std::max(unpacked_keys, unpacked(key_runs));
        unpacked_values = std::max(unpacked_values, unpacked(value_runs));
    }
    std::size_t list_floats() const noexcept {
        return round_up(static_cast<std::size_t>(runs) * sizeof(Run), 64) / sizeof(float);
    }
    std::size_t codec_floats() const noexcept { return round_up(codec, 16); }
    /// Of the blocks of a tile's queries, as they stand and where displaced rows want them.
    std::size_t block_floats(const HeadLayout& layout) const noexcept {
        if (quantise == nullptr) return 0;
        const auto blocks = static_cast<std::size_t>(kernels::cached::query_blocks(layout.key_dim));
        return round_up(tile_queries * blocks * sizeof(kernels::cached::QueryBlock) / 4, 16);
    }
    /// Of a tile's rounded queries, likewise.
    std::size_t rounded_floats(const HeadLayout& layout) const noexcept {
        return rounds ? round_up(tile_queries * static_cast<std::size_t>(layout.key_dim), 16) : 0;
    }
    std::size_t input_floats() const noexcept { return round_up(input, 16); }
    std::size_t fetched_floats() const noexcept { return (keys + values) / sizeof(float); }
    /// Of one room of rows.
    static std::size_t made_floats(int dims) noexcept {
        return segment_rows * round_up(static_cast<std::size_t>(dims), 16);
    }
    std::size_t floats(const HeadLayout& layout) const noexcept {
        return 4 * list_floats() + 2 * block_floats(layout) + 2 * rounded_floats(layout) +
               codec_floats() + input_floats() + fetched_floats() +
               static_cast<std::size_t>(made_keys + unpacked_keys) * made_floats(layout.key_dim) +
               static_cast<std::size_t>(made_values + unpacked_values) *
                   made_floats(layout.value_dim);
    }
};

}}}  // namespace cairn::internal
