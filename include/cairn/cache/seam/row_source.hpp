// Rows that are not in memory: a run that has a source is read before any kernel sees it, one
// segment at a time, into room of whoever reads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "cairn/cache/seam/run.hpp"
#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Rows that one fetch brings at most, beginning at a multiple of it: a segment of attention.
inline constexpr int fetch_rows = 256;

/// Where encoded rows outside memory come from. Any thread may call it.
class RowSource {
  public:
    virtual ~RowSource() = default;
    /// Copies the units of one head's rows [begin, end), which begin with a unit, to `to`. Returns
    /// 0 or an errno; then `to` holds anything.
    virtual int fetch(int head, int begin, int end, std::byte* to) const noexcept = 0;
    /// Rows [begin, end) will be fetched soon, if they are there.
    virtual void prefetch(int head, int begin, int end) const noexcept = 0;
};

/// Bytes of room that one fetch of a run needs; 0 for a run in memory.
inline std::size_t fetch_bytes(const Run& run) noexcept {
    if (run.source == nullptr) return 0;
    return static_cast<std::size_t>(fetch_rows / run.codec->rows_per_unit) *
           static_cast<std::size_t>(run.stride);
}

/// Makes of a run its rows in [low, low + fetch_rows), read into `room`. Returns 0 or an errno.
inline int fetch(Run& run, int low, std::byte* room) noexcept {
    const int unit = run.codec->rows_per_unit;
    run.begin = std::max(run.begin, low);
    run.end = std::min(run.end, low + fetch_rows);
    const int first = run.begin / unit * unit;
    const int failed =
        run.source->fetch(run.head, first, run.end, room + (first - low) / unit * run.stride);
    run.data = room;
    run.block_table = nullptr;
    run.block_size = fetch_rows;
    run.block_bytes = 0;
    run.source = nullptr;
    return failed;
}

/// Reads rows one by one, wherever they are: for audits and session files.
class RowReader {
  public:
    /// Row `row` of a run, valid until the next call. Throws Error{io}.
    Rows at(const Run& run, int row) {
        if (run.source == nullptr) return run.rows(row, row + 1);
        const int low = row / fetch_rows * fetch_rows;
        if (run.source != from_ || run.head != here_.head || low != low_ || row >= here_.end) {
            room_.resize(fetch_bytes(run));
            from_ = nullptr;
            here_ = run;
            here_.begin = low;  // a unit may begin before the rows that were asked for
            here_.end = std::min(run.end, low + fetch_rows);
            const int failed = fetch(here_, low, room_.data());
            require(failed == 0, ErrorCode::io, "rows ", low, " to ", here_.end,
                    " of the cache on disk: ", std::strerror(failed));
            from_ = run.source;
            low_ = low;
        }
        return here_.rows(row, row + 1);
    }

  private:
    std::vector<std::byte> room_;
    const RowSource* from_ = nullptr;
    Run here_;
    int low_ = 0;
};

}}  // namespace cairn
