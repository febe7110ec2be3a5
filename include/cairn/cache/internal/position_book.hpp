// The bookkeeping of a cache whose rows are numbered by position: committed and staged rows, the
// intervals that its keep shows, rows dropped behind a front. Compiled once for all policies.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "cairn/cache/internal/check_staged.hpp"
#include "cairn/cache/internal/row_archive.hpp"
#include "cairn/cache/internal/streams.hpp"
#include "cairn/cache/seam/rows_read.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

class PositionBook {
  public:
    /// Rows that a stage may bring where old ones are forgotten or change form.
    static constexpr int chunk = 128;

    /// Throws what the store throws, Error{invalid_argument} for what cannot work together.
    [[gnu::cold]] PositionBook(const HeadLayout& layout, int capacity, const AnyStore& store,
                               AnyKeep keep, std::unique_ptr<PageSummaries> pages,
                               FixedVector<StreamSpec> specs)
        : layout_(layout),
          capacity_(capacity),
          keep_(std::move(keep)),
          facts_(keep_.facts_now()),
          extent_(checked(keep_.extent(capacity, chunk))),
          streams_(store, std::move(specs), extent_),
          pages_(std::move(pages)) {
        for (const AgedRows& stream : streams_)
            limited_ |= stream.plan().ages() || stream.chunked();
        limited_ |= extent_.recent > 0;
    }

    void stage(const TokenRows& k, const TokenRows& v) {
        check_staged(k, streams_.from_keys() ? k : v, length_, capacity_, max_rows());
        if (k.rows == 0) return;
        require_seen();
        streams_.check_finite(k, v);
        const int end = length_ + k.rows;
        ask_keep(end);
        try {
            for (AgedRows& stream : streams_) stream.reserve(length_, end);
            if (pages_ != nullptr) pages_->reserve(streams_.keys(), length_, end);
            streams_.keys().write(length_, k.rows, k.data, k.stride);
            if (!streams_.from_keys()) streams_.values().write(length_, v.rows, v.data, v.stride);
            if (pages_ != nullptr) pages_->update(streams_.keys(), length_, end);
        } catch (...) {
            cut(length_);
            throw;
        }
        length_ = end;
        see();
        if (!seen_) {
            length_ = end - k.rows;
            cut(length_);
            see();
            refuse_unseen();
        }
    }
    void commit(int rows) noexcept {
        committed_ += std::clamp(rows, 0, length_ - committed_);
        if (length_ != committed_) {
            length_ = committed_;
            cut(length_);
        }
        if (extent_.recent > 0 || dropped_ > 0) release(front(), oldest_needed(committed_));
        see();
    }
    [[gnu::cold]] bool can_truncate(int rows) const noexcept {
        if (rows < 0 || rows > committed_) return false;
        if (rows == 0) return true;
        if (dropped_ > 0 && rows < front() + dropped_) return false;
        const int oldest = oldest_needed(rows);
        return std::all_of(streams_.begin(), streams_.end(),
                           [&](const AgedRows& stream) { return stream.intact(oldest, rows); });
    }
    [[gnu::cold]] void truncate(int rows) noexcept {
        committed_ = length_ = rows;
        if (rows == 0) {
            capacity_ -= std::exchange(closed_, 0);
            dropped_ = hole_ = 0;
        }
        cut(rows);
        see();
    }
    // Forgets rows [begin, end). One hole is possible: the rows of a second one must adjoin it.
    [[gnu::cold]] bool can_drop(int begin, int end) const noexcept {
        return unbounded() && pages_ == nullptr && !facts_.forgets && !facts_.hides &&
               length_ == committed_ && begin >= 0 && begin < end && end <= committed_ &&
               (dropped_ == 0 || (begin >= hole_ && begin <= hole_ + dropped_));
    }
    [[gnu::cold]] void drop(int begin, int end) noexcept {
        if (dropped_ == 0) hole_ = begin;
        dropped_ = std::max(dropped_, end - hole_);
        release(hole_, hole_ + dropped_);
        see();
    }
    // Later queries stand `rows` nearer to what is before the hole, and as many more rows fit.
    bool can_close(int rows) const noexcept {
        return rows > 0 && length_ == committed_ && rows <= dropped_ - closed_ &&
               rows <= row_limit - capacity_;
    }
    [[gnu::cold]] void close(int rows) noexcept {
        closed_ += rows;
        capacity_ += rows;
        see();
    }
    int hole() const noexcept { return hole_; }
    int dropped() const noexcept { return dropped_; }

    void runs(int kv_head, RunList& keys, RunList& values) const noexcept {
        keys.clear();
        values.clear();
        for (const Interval& rows : intervals_) {
            Run like;
            like.from = rows.from;
            like.window = rows.window;
            like.shift = rows.shift;
            like.max_query = rows.max_query;
            streams_.keys().runs(kv_head, rows.begin, rows.end, committed_, like, keys);
            streams_.as_values(like);
            streams_.values().runs(kv_head, rows.begin, rows.end, committed_, like, values);
        }
    }
    int most_runs() const noexcept {
        return static_cast<int>(intervals_.size()) * streams_.runs_of_interval();
    }

    int committed() const noexcept { return committed_; }
    int length() const noexcept { return length_; }
    int capacity() const noexcept { return capacity_; }
    int max_rows() const noexcept {
        return limited_ ? chunk - (length_ - committed_) : capacity_ - length_;
    }
    /// Distances that a query may stand from a row, at most; a model's context must reach so far.
    int span() const noexcept { return extent_.recent > 0 ? window() : capacity_ - closed_; }
    bool streaming() const noexcept { return extent_.recent > 0; }
    [[gnu::cold]] int held(int rows) const noexcept {
        if (extent_.recent > 0) return std::min(rows, window());
        return std::max(rows - dropped_, std::min(rows, front()));
    }
    [[gnu::cold]] std::size_t payload_bytes(int rows) const {
        return streams_.payload_bytes(rows, held(rows));
    }
    std::size_t bytes() const noexcept {
        return streams_.bytes() + (pages_ != nullptr ? pages_->bytes() : 0);
    }
    const RowsRead* rows_read() const noexcept { return pages_.get(); }
    const HeadLayout& layout() const noexcept { return layout_; }
    const Streams& streams() const noexcept { return streams_; }
    void bind(const PositionBook& before) noexcept { streams_.bind(before.streams_); }
    const AnyKeep& keep() const noexcept { return keep_; }

    [[gnu::cold]] PositionBook fork() const {
        return PositionBook(*this, streams_.share(), pages_ != nullptr ? pages_->share() : nullptr);
    }
    [[gnu::cold]] PositionBook copy() const {
        return PositionBook(*this, streams_.copy(),
                            pages_ != nullptr ? pages_->copy(committed_) : nullptr);
    }

    /// Writes the committed rows, or reads them into an empty cache. What fails leaves it as it
    /// was.
    [[gnu::cold]] void archive(CacheArchive& a) {
        require(length_ == (a.loading() ? 0 : committed_), ErrorCode::bad_state,
                "archive: rows are staged, or the cache to load into holds some");
        try {
            write_or_read(a);
        } catch (...) {
            if (a.loading()) {
                truncate(0);
                for (AgedRows& stream : streams_) stream.trim(0);
                if (pages_ != nullptr) pages_->trim();
            }
            throw;
        }
    }

  private:
    [[gnu::cold]] void write_or_read(CacheArchive& a) {
        int committed = committed_;
        int dropped = dropped_;
        int front_rows = hole_;
        a.label("keep", keep_.label());
        RowArchive rows(a);
        rows.label(streams_);
        int closed = closed_;
        a.number("dropped rows", dropped, 0, row_limit);
        a.number("closed rows", closed, 0, dropped);
        a.number("front rows", front_rows, 0, row_limit);
        a.number("committed rows", committed, 0, row_limit);
        require(dropped <= committed && front_rows <= committed - dropped &&
                    (dropped == 0 ||
                     (!facts_.forgets && !facts_.hides && pages_ == nullptr && unbounded())),
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
        for (AgedRows& stream : streams_) archive_stream(a, rows, stream, committed, oldest);
        if (a.loading()) {
            // Summaries are no part of a file: they follow from the rows.
            if (pages_ != nullptr) {
                pages_->reserve(streams_.keys(), 0, committed);
                pages_->update(streams_.keys(), 0, committed);
            }
            committed_ = length_ = committed;
            release(front(), oldest);
            ask_keep(committed);
            see();
        }
    }

    [[gnu::cold]] PositionBook(const PositionBook& other, Streams streams,
                               std::unique_ptr<PageSummaries> pages)
        : layout_(other.layout_),
          capacity_(other.capacity_),
          keep_(other.keep_),
          facts_(other.facts_),
          extent_(other.extent_),
          streams_(std::move(streams)),
          pages_(std::move(pages)),
          committed_(other.committed_),
          length_(other.committed_),
          dropped_(other.dropped_),
          closed_(other.closed_),
          hole_(other.hole_),
          limited_(other.limited_) {
        if (other.length_ != other.committed_)
            for (AgedRows& stream : streams_) stream.settle(committed_);
        ask_keep(committed_);
        see();
    }
    // Asks which rows will be seen with `length` rows, and sets memory aside for every answer until
    // more are staged. Throws; then nothing has changed.
    void ask_keep(int length) {
        asked_.clear();
        keep_.intervals(length, length, asked_);
        std::size_t most = std::max<std::size_t>(asked_.size(), 2);
        asked_.clear();
        keep_.intervals(committed_, length, asked_);
        most = std::max(most, asked_.size());
        const Interval* displaced = nullptr;
        for (const Interval& rows : asked_) {
            require(rows.begin >= 0 && rows.begin <= rows.end && rows.end <= length &&
                        (extent_.recent == 0 || rows.end <= extent_.pinned ||
                         rows.begin >= oldest_needed(committed_)),
                    ErrorCode::invalid_argument, "keep ", keep_.spec(), " shows rows ", rows.begin,
                    " to ", rows.end, " of ", length, ", which its extent does not hold");
            if (rows.shift == 0 && rows.max_query == Interval::forever) continue;
            if (displaced == nullptr) displaced = &rows;
            require(rows.shift == displaced->shift && rows.max_query == displaced->max_query,
                    ErrorCode::unsupported, "keep ", keep_.spec(),
                    " displaces rows in two ways at once");
        }
        if (intervals_.capacity() < most) intervals_.reserve(2 * most);
    }
    // What runs() says, from the numbers as they are now.
    void see() noexcept {
        intervals_.clear();
        if (dropped_ == 0) {
            // A keep from outside may throw, as it must not, where nothing else can: nothing is
            // shown then, and whoever stages next is told.
            try {
                keep_.intervals(committed_, length_, intervals_);
                seen_ = true;
            } catch (...) {
                intervals_.clear();
                seen_ = false;
            }
            return;
        }
        seen_ = true;
        if (hole_ > 0) intervals_.push_back({.begin = 0, .end = hole_, .shift = closed_});
        if (hole_ + dropped_ < length_)
            intervals_.push_back({.begin = hole_ + dropped_, .end = length_});
    }
    void require_seen() const {
        if (!seen_) refuse_unseen();
    }
    [[noreturn]] void refuse_unseen() const {
        fail(ErrorCode::bad_state, "keep ", keep_.spec(), " threw instead of saying which of ",
             length_, " rows are seen");
    }
    // One stream's rows, written or read: of every form what the next queries need.
    [[gnu::cold]] static void archive_rows(RowArchive& rows, AgedRows& stream, int form, int begin,
                                           int end) {
        if (begin >= end) return;
        const Codec& codec = stream.plan().codec(form);
        if (codec.whole_units) begin = begin / codec.rows_per_unit * codec.rows_per_unit;
        rows.rows(stream, form, begin, end, [](int, int) { return true; });
    }
    [[gnu::cold]] static void archive_pinned(RowArchive& rows, AgedRows& stream, int committed) {
        const StreamPlan& plan = stream.plan();
        if (const int end = std::min(plan.pinned, committed); end > 0)
            archive_rows(rows, stream, plan.count(), 0, end);
    }
    [[gnu::cold]] void archive_stream(CacheArchive& a, RowArchive& rows, AgedRows& stream,
                                      int committed, int oldest) {
        const StreamPlan& plan = stream.plan();
        archive_pinned(rows, stream, committed);
        // Of an older form at least what these rows made old; one more where rows behind them were
        // taken back.
        std::vector<int> written(plan.forms.size(), committed);
        for (int f = 1; f < plan.count(); ++f) {
            int& end = written[static_cast<std::size_t>(f)];
            end = stream.written(f);
            a.number("rows of an older form", end, AgedRows::written_after(plan, f, committed),
                     stream.boundary(f - 1, committed));
        }
        for (int f = 0; f < plan.count(); ++f) {
            const int end = written[static_cast<std::size_t>(f)];
            const bool last = f + 1 == plan.count();
            // Rows that the colder form was not yet written from must come along.
            const int low = last ? 0
                                 : std::min(stream.boundary(f, committed),
                                            written[static_cast<std::size_t>(f) + 1]);
            if (last) {
                archive_rows(rows, stream, f, 0, std::min(front(), end));
                archive_rows(rows, stream, f, oldest, end);
            } else {
                archive_rows(rows, stream, f, low, end);  // units to come share scales with them
            }
            if (a.loading()) stream.set_written(f, last ? oldest : low, end);
        }
    }
    [[gnu::cold]] static Extent checked(const Extent& extent) {
        require(extent.recent >= 0 && extent.recent <= row_limit && extent.pinned >= 0 &&
                    extent.pinned <= row_limit,
                ErrorCode::invalid_argument, "a window of ", extent.recent, " rows behind ",
                extent.pinned, " sinks; both are 0 to ", row_limit);
        return extent;
    }
    bool unbounded() const noexcept {
        return std::all_of(streams_.begin(), streams_.end(),
                           [](const AgedRows& stream) { return stream.unbounded(); });
    }
    int window() const noexcept {
        const std::int64_t rows = std::int64_t{extent_.pinned} + extent_.recent;
        return static_cast<int>(std::min<std::int64_t>(rows, std::numeric_limits<int>::max()));
    }
    int front() const noexcept {
        return extent_.recent > 0 ? extent_.pinned : (dropped_ > 0 ? hole_ : 0);
    }
    // The first row behind the front that a query at `position` or later sees.
    int oldest_needed(int position) const noexcept {
        const int first = front() + dropped_;
        return extent_.recent > 0 ? std::max(first, position - extent_.recent + 1) : first;
    }
    void cut(int length) noexcept {
        for (AgedRows& stream : streams_) stream.cut(length);
        if (pages_ != nullptr) pages_->cut(length);
    }
    void release(int first, int oldest) noexcept {
        for (AgedRows& stream : streams_) stream.release(first, oldest);
    }

    HeadLayout layout_;
    int capacity_;
    AnyKeep keep_;
    KeepFacts facts_;
    Extent extent_;
    Streams streams_;
    std::unique_ptr<PageSummaries> pages_;  // null: queries read all rows
    Intervals intervals_;                   // what queries see now
    Intervals asked_;                       // what they would see: memory that asking reuses
    int committed_ = 0;
    int length_ = 0;
    int dropped_ = 0;  // rows forgotten behind the first hole_
    int closed_ = 0;   // ... and for as many of them later queries stand nearer to these
    int hole_ = 0;
    bool limited_ = false;
    bool seen_ = true;  // whether the keep said what it shows
};

}}}  // namespace cairn::internal
