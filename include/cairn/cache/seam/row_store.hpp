// Where encoded rows live: the interface that every store implements for one form of one stream of
// one layer. Rows are numbered; which numbers stay is not the store's business.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>

#include "cairn/cache/seam/run.hpp"
#include "cairn/core/checked.hpp"
#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// How many rows a store has to hold at once.
struct Extent {
    int capacity = 0;  ///< row numbers are below this
    int pinned = 0;    ///< the first rows, which stay
    int recent = 0;    ///< of the others only so many last ones are read; 0: all
    int chunk = 0;     ///< where rows are forgotten: the most rows staged before a commit

    /// Rows of the ring that the others live in: recent - 1 + chunk, whole units; 0: no ring.
    int ring(int rows_per_unit) const noexcept {
        if (recent == 0 || recent - 1 >= capacity - chunk) return 0;
        return (recent - 1 + chunk + rows_per_unit - 1) / rows_per_unit * rows_per_unit;
    }
    /// Rows of the pinned front in whole units.
    int front(int rows_per_unit) const noexcept {
        return (pinned + rows_per_unit - 1) / rows_per_unit * rows_per_unit;
    }
};

/// How full the pool is that rows of several caches come from; zero where there is none.
struct PoolUse {
    int used = 0;    ///< blocks that somebody holds
    int blocks = 0;  ///< blocks that there are
};

/// Bytes of one form of one stream (keys or values) of one layer, for all KV heads.
class RowStore {
  public:
    virtual ~RowStore() = default;
    /// Makes rows [begin, end) writable; rows that others share are copied first. May throw
    /// Error{out_of_memory, capacity}; then nothing has changed.
    virtual void reserve(int begin, int end) = 0;
    /// Makes rows [begin, end) writable among rows that stay, before and behind them.
    virtual void rewrite(int begin, int end) { reserve(begin, end); }
    /// Rows [front, oldest) will not be read again.
    virtual void release(int front, int oldest) noexcept = 0;
    /// Rows from `end` on will not be read again.
    virtual void cut(int end) noexcept = 0;
    /// As cut, and the memory is given back to the system where it would otherwise wait for new
    /// rows.
    virtual void trim(int end) noexcept { cut(end); }
    /// The first row behind the pinned front that is still there.
    virtual int oldest() const noexcept = 0;
    /// Rows below this lie in the pinned front, which runs do not straddle.
    virtual int front() const noexcept = 0;
    /// Fills the store's and the codec's fields of a run that starts at `row`.
    virtual void locate(int head, int row, Run& run) const noexcept = 0;
    /// Whether no more than the extent's chunk of rows may be staged before a commit.
    virtual bool chunked() const noexcept { return false; }
    /// Whether rows may be numbered beyond the extent's capacity.
    virtual bool unbounded() const noexcept { return false; }
    /// Whether rows [begin, end) may be read: asked where another layer's rows come from a file.
    virtual bool holds(int begin, int end) const noexcept { return (void)begin, (void)end, true; }
    /// The same rows, shared until somebody writes.
    virtual std::unique_ptr<RowStore> share() const = 0;
    /// The rows below `end` in memory of their own.
    virtual std::unique_ptr<RowStore> copy(int end) const = 0;
    /// Bytes of memory in use, rounding to units, pages and blocks included.
    virtual std::size_t bytes() const noexcept = 0;
    /// The pool that blocks of these rows come from.
    virtual PoolUse pool_use() const noexcept { return {}; }

    /// Encodes rows from `begin` on; x is [count][stride], head after head inside a row.
    void write(int begin, int count, const float* x, std::ptrdiff_t stride, int heads, int dims,
               Scratch scratch) {
        for (int h = 0; h < heads; ++h)
            each(h, begin, begin + count, [&](const Codec& codec, const Rows& rows, int row) {
                codec.encode(x + (row - begin) * stride + h * dims, stride, dims, rows, scratch);
            });
    }
    /// Calls body(codec, rows, first row) for the stretches of one head's rows [begin, end), which
    /// are in memory.
    template <class Body>
    void each(int head, int begin, int end, Body&& body) const {
        for (int row = begin; row < end;) {
            Run run;
            locate(head, row, run);
            run.base = base_;
            const Rows rows = run.rows(row, row < front() ? std::min(end, front()) : end);
            body(*run.codec, rows, row);
            row += rows.count;
        }
    }
    /// The rows of the layer before in the same form, which outlive these.
    const RowStore* base() const noexcept { return base_; }
    void set_base(const RowStore* base) noexcept { base_ = base; }

  private:
    const RowStore* base_ = nullptr;
};

}}  // namespace cairn
