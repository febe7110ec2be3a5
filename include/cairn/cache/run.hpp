// A run: a stretch of rows in one form, as the attention engine sees a cache. Each axis fills one
// group of fields, so a new store, codec or keep adds nothing to the engine.
//
// Words: a row's *number* is its token position here; `length` counts committed and staged rows;
// a *unit* is what a codec writes, a *block* is what a store allocates, and the engine's *segments*
// of 256 row numbers are independent of both.
#pragma once

#include <array>
#include <cstddef>
#include <limits>

#include "cairn/cache/codec/codec.hpp"

namespace cairn::inline CAIRN_ABI {

/// Rows [begin, end) of one KV head. Address of a row's unit:
/// data + table[row / block_size] * block_bytes + (row % block_size) / rows_per_unit * stride.
struct Run {
    // Keep: which rows, and who sees them.
    int begin = 0;
    int end = 0;
    int window = std::numeric_limits<int>::max();  ///< query q sees row j iff 0 <= q - j < window
    // Codec: which form.
    const Codec* codec = nullptr;
    // Store: where.
    int head = 0;
    std::byte* data = nullptr;         ///< this KV head's units in block 0
    const int* block_table = nullptr;  ///< null: one block, used as a ring of block_size rows
    int block_size = 0;                ///< rows; a multiple of the codec's rows_per_unit
    std::ptrdiff_t block_bytes = 0;
    std::ptrdiff_t stride = 0;  ///< bytes from unit to unit

    /// The rows from `row` to `last`, as far as they lie in one block.
    Rows rows(int row, int last) const noexcept {
        const int place = row % block_size;
        const std::ptrdiff_t block = block_table != nullptr ? block_table[row / block_size] : 0;
        const int left = block_size - place;
        const int wanted = last - row;
        return {data + block * block_bytes + place / codec->rows_per_unit * stride,
                stride,
                place % codec->rows_per_unit,
                wanted < left ? wanted : left,
                head,
                row};
    }
};

/// A short list without allocation: the runs of one stream, rows ascending.
class RunList {
  public:
    static constexpr int max_runs = 8;
    void clear() noexcept { count_ = 0; }
    void push(const Run& run) noexcept { runs_[static_cast<std::size_t>(count_++)] = run; }
    int size() const noexcept { return count_; }
    const Run* begin() const noexcept { return runs_.data(); }
    const Run* end() const noexcept { return runs_.data() + count_; }
    const Run& operator[](int i) const noexcept { return runs_[static_cast<std::size_t>(i)]; }

  private:
    std::array<Run, max_runs> runs_{};
    int count_ = 0;
};

}  // namespace cairn::inline CAIRN_ABI
