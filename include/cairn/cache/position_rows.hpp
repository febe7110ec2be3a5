// The bookkeeping of a cache whose rows are numbered by position: committed and staged rows, a
// window, a pinned front, rows dropped behind it. Compiled once for all stores and codecs.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "cairn/cache/archive.hpp"
#include "cairn/cache/concepts.hpp"
#include "cairn/cache/keep/position.hpp"
#include "cairn/cache/stream.hpp"
#include "cairn/kernels/dispatch.hpp"

namespace cairn::inline CAIRN_ABI {

namespace detail {

// What every cache asks of rows from outside before it touches anything.
inline void check_staged(const TokenRows& k, const TokenRows& v, int length, int capacity,
                         int max_rows) {
    require(k.rows == v.rows, ErrorCode::shape_mismatch, "stage: ", k.rows, " key rows and ",
            v.rows, " value rows");
    require(k.rows >= 0 && (k.rows == 0 || (k.data != nullptr && v.data != nullptr)),
            ErrorCode::invalid_argument, "stage: ", k.rows, " rows at a null pointer");
    require(k.rows <= capacity - length, ErrorCode::capacity, "cache full: ", k.rows,
            " more rows do not fit, ", length, " of ", capacity, " are used");
    require(k.rows <= max_rows, ErrorCode::capacity, "stage: ", k.rows, " rows at once, but only ",
            max_rows, " more fit before a commit");
}
inline void check_finite_rows(const Stream& stream, const TokenRows& rows, const char* what) {
    if (!stream.finite_only()) return;
    for (int r = 0; r < rows.rows; ++r)
        require(kernels::active().all_finite(rows.data + r * rows.stride,
                                             std::ptrdiff_t{stream.heads()} * stream.dims()),
                ErrorCode::non_finite, "stage: NaN or infinity in ", what, " row ", r, " of ",
                rows.rows, "; ", stream.format().coldest().codec->name, " cannot hold it");
}

class PositionRows {
  public:
    /// Rows that a stage may bring where old ones are forgotten or change form.
    static constexpr int chunk = 128;

    template <class MakePair>
    PositionRows(const HeadLayout& layout, int capacity, const PositionKeep& keep,
                 const MakePair& make)
        : layout_(layout),
          capacity_(capacity),
          keep_(keep),
          streams_(make(checked(keep).extent(capacity, chunk))) {
        for (const Stream* stream : {&streams_.keys(), &streams_.values()})
            limited_ |= stream->format().ages() || stream->chunked();
        limited_ |= keep.window > 0;
    }

    void stage(const TokenRows& k, const TokenRows& v) {
        check_staged(k, v, length_, capacity_, max_rows());
        if (k.rows == 0) return;
        check_finite_rows(streams_.keys(), k, "key");
        check_finite_rows(streams_.values(), v, "value");
        try {
            streams_.keys().reserve(length_, length_ + k.rows);
            streams_.values().reserve(length_, length_ + k.rows);
        } catch (...) {
            cut(length_);
            throw;
        }
        streams_.keys().write(length_, k.rows, k.data, k.stride);
        streams_.values().write(length_, v.rows, v.data, v.stride);
        length_ += k.rows;
    }
    void commit(int rows) noexcept {
        committed_ += std::clamp(rows, 0, length_ - committed_);
        if (length_ != committed_) {
            length_ = committed_;
            cut(length_);
        }
        if (keep_.window > 0 || dropped_ > 0) {
            streams_.keys().release(front(), oldest_needed(committed_));
            streams_.values().release(front(), oldest_needed(committed_));
        }
    }
    bool can_truncate(int rows) const noexcept {
        if (rows < 0 || rows > committed_) return false;
        if (rows == 0) return true;
        if (dropped_ > 0 && rows < front() + dropped_) return false;
        const int oldest = oldest_needed(rows);
        return streams_.keys().intact(oldest, rows) && streams_.values().intact(oldest, rows);
    }
    void truncate(int rows) noexcept {
        committed_ = length_ = rows;
        if (rows == 0) {
            capacity_ -= std::exchange(closed_, 0);
            dropped_ = hole_ = 0;
        }
        cut(rows);
    }
    // Forgets rows [begin, end). One hole is possible: the rows of a second one must adjoin it.
    bool can_drop(int begin, int end) const noexcept {
        return streams_.keys().unbounded() && streams_.values().unbounded() && keep_.window == 0 &&
               length_ == committed_ && begin >= 0 && begin < end && end <= committed_ &&
               (dropped_ == 0 || (begin >= hole_ && begin <= hole_ + dropped_));
    }
    void drop(int begin, int end) noexcept {
        if (dropped_ == 0) hole_ = begin;
        dropped_ = std::max(dropped_, end - hole_);
        streams_.keys().release(hole_, hole_ + dropped_);
        streams_.values().release(hole_, hole_ + dropped_);
    }
    // Later queries stand `rows` nearer to what is before the hole, and as many more rows fit.
    bool can_close(int rows) const noexcept {
        return rows > 0 && length_ == committed_ && rows <= dropped_ - closed_ &&
               rows <= row_limit - capacity_;
    }
    void close(int rows) noexcept {
        closed_ += rows;
        capacity_ += rows;
    }
    int hole() const noexcept { return hole_; }
    int dropped() const noexcept { return dropped_; }

    void runs(int kv_head, RunList& keys, RunList& values) const noexcept {
        keys.clear();
        values.clear();
        const int front_rows = std::min(front(), length_);
        Run like;
        if (front_rows > 0) {
            like.shift = closed_;
            if (keep_.window > 0) like.max_query = keep_.reach() - 1;
            add(kv_head, 0, front_rows, like, keys, values);
        }
        like = Run{};
        if (keep_.window > 0) like.window = keep_.window;
        add(kv_head, std::max(front() + dropped_, oldest_needed(committed_)), length_, like, keys,
            values);
    }

    int committed() const noexcept { return committed_; }
    int length() const noexcept { return length_; }
    int capacity() const noexcept { return capacity_; }
    int max_rows() const noexcept {
        return limited_ ? chunk - (length_ - committed_) : capacity_ - length_;
    }
    /// Distances that a query may stand from a row, at most; a model's context must reach so far.
    int span() const noexcept { return keep_.window > 0 ? keep_.reach() : capacity_ - closed_; }
    bool streaming() const noexcept { return keep_.window > 0; }
    int held(int rows) const noexcept {
        if (keep_.window > 0) return std::min(rows, keep_.reach());
        return std::max(rows - dropped_, std::min(rows, front()));
    }
    std::size_t payload_bytes(int rows) const {
        return streams_.keys().payload_bytes(rows, held(rows)) +
               streams_.values().payload_bytes(rows, held(rows));
    }
    std::size_t bytes() const noexcept {
        return streams_.keys().bytes() + streams_.values().bytes();
    }
    const HeadLayout& layout() const noexcept { return layout_; }
    const StreamPair& streams() const noexcept { return streams_; }
    StreamPair& streams() noexcept { return streams_; }
    const PositionKeep& keep() const noexcept { return keep_; }

    PositionRows fork() const { return PositionRows(*this, streams_.share()); }
    PositionRows copy() const { return PositionRows(*this, streams_.copy()); }

    /// Writes the committed rows, or reads them into an empty cache. What fails leaves it as it
    /// was.
    void archive(CacheArchive& a) {
        require(length_ == (a.loading() ? 0 : committed_), ErrorCode::bad_state,
                "archive: rows are staged, or the cache to load into holds some");
        try {
            write_or_read(a);
        } catch (...) {
            if (a.loading()) {
                truncate(0);
                streams_.keys().trim(0);
                streams_.values().trim(0);
            }
            throw;
        }
    }

  private:
    void write_or_read(CacheArchive& a) {
        int committed = committed_;
        int dropped = dropped_;
        int front_rows = hole_;
        a.label("keep",
                "window=" + std::to_string(keep_.window) + ",sinks=" + std::to_string(keep_.sinks));
        a.label("keys of", streams_.keys().format());
        a.label("values of", streams_.values().format());
        int closed = closed_;
        a.number("dropped rows", dropped, 0, row_limit);
        a.number("closed rows", closed, 0, dropped);
        a.number("front rows", front_rows, 0, row_limit);
        a.number("committed rows", committed, 0, row_limit);
        require(dropped <= committed && front_rows <= committed - dropped &&
                    (dropped == 0 || (keep_.window == 0 && streams_.keys().unbounded())),
                ErrorCode::bad_file, "archive: ", dropped, " rows dropped behind ", front_rows,
                " of ", committed, " do not suit this cache");
        require(committed - closed <= capacity_ - closed_, ErrorCode::capacity,
                "archive: ", committed - closed, " rows for a capacity of ", capacity_ - closed_);
        if (a.loading()) {
            capacity_ += closed;
            closed_ = closed;
            dropped_ = dropped;
            hole_ = front_rows;
        }
        const int oldest = oldest_needed(committed);
        for (Stream* stream : {&streams_.keys(), &streams_.values()}) {
            const StreamFormat& format = stream->format();
            // Of an older form at least what these rows made old; one more where rows behind them
            // were taken back.
            std::array<int, StreamFormat::max_forms> written{committed};
            for (int f = 1; f < format.count; ++f) {
                int& end = written[static_cast<std::size_t>(f)];
                end = stream->written(f);
                a.number("rows of an older form", end, Stream::written_after(format, f, committed),
                         stream->boundary(f - 1, committed));
            }
            for (int f = 0; f < format.count; ++f) {
                const int end = written[static_cast<std::size_t>(f)];
                // Rows that the colder form was not yet written from must come along.
                const int low = f + 1 < format.count
                                    ? std::min(stream->boundary(f, committed),
                                               written[static_cast<std::size_t>(f) + 1])
                                    : 0;
                const auto part = [&](int begin, int stop) {
                    begin = std::max(begin, low);
                    if (begin >= stop) return;
                    const Codec& codec = *format.forms[static_cast<std::size_t>(f)].codec;
                    if (codec.whole_units)
                        begin = begin / codec.rows_per_unit * codec.rows_per_unit;
                    a.rows(*stream, f, begin, stop, [](int, int) { return true; });
                };
                if (f + 1 < format.count) {
                    part(low, end);  // units to come share scales with all of them
                } else {
                    part(0, std::min(front(), end));
                    part(oldest, end);
                }
                if (a.loading())
                    stream->set_written(f, f + 1 < format.count ? low : std::max(low, oldest), end);
            }
        }
        if (a.loading()) {
            committed_ = length_ = committed;
            streams_.keys().release(front(), oldest);
            streams_.values().release(front(), oldest);
        }
    }
    PositionRows(const PositionRows& other, StreamPair streams)
        : layout_(other.layout_),
          capacity_(other.capacity_),
          keep_(other.keep_),
          streams_(std::move(streams)),
          committed_(other.committed_),
          length_(other.committed_),
          dropped_(other.dropped_),
          closed_(other.closed_),
          hole_(other.hole_),
          limited_(other.limited_) {
        if (other.length_ != other.committed_) {
            streams_.keys().settle(committed_);
            streams_.values().settle(committed_);
        }
    }
    static const PositionKeep& checked(const PositionKeep& keep) {
        require(keep.window >= 0 && keep.window <= row_limit && keep.sinks >= 0 &&
                    keep.sinks <= row_limit,
                ErrorCode::invalid_argument, "a window of ", keep.window, " rows behind ",
                keep.sinks, " sinks; both are 0 to ", row_limit);
        return keep;
    }
    int front() const noexcept {
        return keep_.window > 0 ? keep_.sinks : (dropped_ > 0 ? hole_ : 0);
    }
    // The first row behind the front that a query at `position` or later sees.
    int oldest_needed(int position) const noexcept {
        const int first = front() + dropped_;
        return keep_.window > 0 ? std::max(first, position - keep_.window + 1) : first;
    }
    void cut(int length) noexcept {
        streams_.keys().cut(length);
        streams_.values().cut(length);
    }
    void add(int head, int begin, int end, const Run& like, RunList& keys,
             RunList& values) const noexcept {
        streams_.keys().runs(head, begin, end, committed_, like, keys);
        streams_.values().runs(head, begin, end, committed_, like, values);
    }

    HeadLayout layout_;
    int capacity_;
    PositionKeep keep_;
    StreamPair streams_;
    int committed_ = 0;
    int length_ = 0;
    int dropped_ = 0;  // rows forgotten behind the first hole_
    int closed_ = 0;   // ... and for as many of them later queries stand nearer to these
    int hole_ = 0;
    bool limited_ = false;
};

}  // namespace detail

}  // namespace cairn::inline CAIRN_ABI
