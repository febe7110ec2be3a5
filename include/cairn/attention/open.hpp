// A segment's rows as attention multiplies them: cut to the segment, brought into memory, made into
// keys and values where they are something else, all in the worker's scratch. Once for all tiles
// that read the segment: per query and head, making costs many times what multiplying does.
#pragma once

#include <algorithm>
#include <optional>

#include "cairn/attention/segment.hpp"
#include "cairn/core/context.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Makes the runs of a segment runs in memory; returns 0 or an errno.
inline int fetch_segment(RunList& runs, int low, std::byte* room) noexcept {
    int failed = 0;
    for (int i = 0; i < runs.size(); ++i) {
        Run& run = runs[i];
        if (run.source == nullptr || run.begin >= low + segment_rows || run.end <= low) continue;
        const int now = fetch(run, low, room);
        if (failed == 0) failed = now;
    }
    return failed;
}

/// Says that the rows of these runs in [low, low + 256) will be read soon.
inline void prefetch_segment(const RunList& runs, int low) noexcept {
    for (const Run& run : runs)
        if (run.source != nullptr && run.begin < low + segment_rows && run.end > low)
            run.source->prefetch(run.head, std::max(run.begin, low),
                                 std::min(run.end, low + segment_rows));
}

/// The rows of one segment for tiles of one KV head.
class OpenSegment {
  public:
    OpenSegment(const HeadLayout& layout, const AttentionParameters& parameters,
                const TileScratch& scratch, Context* context)
        : layout_(layout), parameters_(parameters), scratch_(scratch), context_(context) {}

    /// Opens rows [low, low + 256) for queries from the first of `first` to the last of `last`.
    /// Rows that could not be read are told to the scratch's room; then it is false.
    bool open(const RunList& keys, const RunList& values, const QueryTile& first,
              const QueryTile& last, int kv_head, int low) {
        // Long lists are cut to the segment once, not at every query.
        const bool all_here = keys.size() <= RunList::inside && values.size() <= RunList::inside;
        keys_ = &keys;
        values_ = &values;
        if (all_here && !scratch_.room.opens()) return true;
        keys_ = cut(keys_here_, keys, 2, low);
        values_ = cut(values_here_, values, 3, low);
        prefetch_segment(keys, low + segment_rows);
        prefetch_segment(values, low + segment_rows);
        int failed = fetch_segment(*keys_here_, low, scratch_.keys);
        if (failed == 0) failed = fetch_segment(*values_here_, low, scratch_.values);
        if (failed != 0) {
            *scratch_.room.failed = failed;
            return false;
        }
        const int window = parameters_.mask.window();
        const auto seen = [&](const Run& run) -> SeenRows {
            const int high = low + segment_rows;
            return {visible(run, window, first.position_of(0), low, high).begin,
                    visible(run, window, last.position_of(last.count() - 1), low, high).end};
        };
        if (scratch_.room.made_keys > 0)
            make(*keys_here_, Made::keys, kv_head, low, layout_.key_dim, scratch_.made_keys, seen);
        if (scratch_.room.made_values > 0)
            make(*values_here_, Made::values, kv_head, low, layout_.value_dim, scratch_.made_values,
                 seen);
        if (scratch_.room.unpacked_keys > 0)
            unpack(*keys_here_, low, layout_.key_dim, scratch_.unpacked_keys, seen);
        if (scratch_.room.unpacked_values > 0)
            unpack(*values_here_, low, layout_.value_dim, scratch_.unpacked_values, seen);
        return true;
    }
    const RunList& keys() const noexcept { return *keys_; }
    const RunList& values() const noexcept { return *values_; }

  private:
    const RunList* cut(std::optional<RunList>& to, const RunList& from, int list, int low) {
        to.emplace(scratch_.list(list));
        to->assign(from, low, low + segment_rows);
        return &*to;
    }
    // Makes the runs of a list runs of f32 rows in the scratch: those that any query sees.
    template <class Seen>
    void make(RunList& runs, Made part, int kv_head, int low, int dims, float* rooms,
              const Seen& seen) const {
        RowRooms taken;
        for (int i = 0; i < runs.size(); ++i) {
            Run& run = runs[i];
            if (!is_made(run, part)) continue;
            const int room =
                taken.take(std::max(run.begin, low), std::min(run.end, low + segment_rows));
            float* to = rooms + static_cast<std::size_t>(room) * SegmentRoom::made_floats(dims);
            const SeenRows rows = seen(run);
            run.begin = rows.begin;
            run.end = std::max(rows.begin, rows.end);
            for (int row = run.begin; row < run.end; row += SegmentRoom::piece)
                make_piece(run, row, std::min(row + SegmentRoom::piece, run.end), part, kv_head,
                           dims, to + std::ptrdiff_t{row - low} * dims);
            run.kind = RowKind::ready;
            run.rotated = false;
            run.dims = 0;
            lay(run, *run.made, dims, to);
        }
    }
    // Makes encoded runs of a list runs of floats in the scratch: those that any query sees. Runs
    // that share a unit with one before (rows of a chunk in two forms, by age) stay as they are.
    template <class Seen>
    void unpack(RunList& runs, int low, int dims, float* to, const Seen& seen) const {
        int taken = low;
        for (int i = 0; i < runs.size(); ++i) {
            Run& run = runs[i];
            const int unit = run.codec->rows_per_unit;
            if (!scratch_.room.unpacks_run(run)) continue;
            const SeenRows rows = seen(run);
            if (rows.empty() || rows.begin / unit * unit < taken) continue;
            taken = (rows.end + unit - 1) / unit * unit;
            const Codec& codec = *run.codec->unpacked;
            const auto floats = static_cast<std::ptrdiff_t>(codec.unit_bytes(dims) / sizeof(float));
            for_each_block(run, rows.begin, rows.end, [&](const Rows& from, int row) {
                run.codec->unpack(from, dims,
                                  to + (row - from.lane - low) / codec.rows_per_unit * floats);
            });
            run.begin = rows.begin;
            run.end = rows.end;
            lay(run, codec, dims, to);
        }
    }
    // The rows of a segment side by side in the scratch.
    static void lay(Run& run, const Codec& codec, int dims, float* at) {
        run.codec = &codec;
        run.data = reinterpret_cast<std::byte*>(at);
        run.block_table = nullptr;
        run.block_size = segment_rows;
        run.block_bytes = 0;
        run.stride = static_cast<std::ptrdiff_t>(codec.unit_bytes(dims));
    }
    void make_piece(const Run& run, int begin, int end, Made part, int kv_head, int dims,
                    float* to) const {
        const bool input = run.kind == RowKind::input;
        const int width = input ? run.dims : dims;
        float* read = input ? scratch_.input : to;
        for_each_block(run, begin, end, [&](const Rows& rows, int row) {
            run.codec->decode(rows, width, read + std::ptrdiff_t{row - begin} * width, width,
                              scratch_.for_codec());
        });
        for (int r = 0; run.rotated && r < end - begin; ++r)
            kernels::hadamard(read + std::ptrdiff_t{r} * width, width);
        if (input) parameters_.maker->make(part, kv_head, read, end - begin, to, *context_);
        if (part == Made::values || parameters_.rotation == nullptr) return;
        for (int row = begin; row < end; ++row)
            parameters_.rotation->rotate(to + std::ptrdiff_t{row - begin} * dims,
                                         run.position_of(row));
    }

    const HeadLayout& layout_;
    const AttentionParameters& parameters_;
    const TileScratch& scratch_;
    Context* context_;
    const RunList* keys_ = nullptr;
    const RunList* values_ = nullptr;
    std::optional<RunList> keys_here_;
    std::optional<RunList> values_here_;
};

}}}  // namespace cairn::internal
