// A layer's cache around its bookkeeping: one thread at a time, errors before anything changes.
// There are two of it, whatever policies exist: rows numbered by position, and rows in slots.
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include "cairn/cache/busy.hpp"
#include "cairn/cache/internal/position_book.hpp"
#include "cairn/cache/internal/slot_book.hpp"
#include "cairn/core/fp_environment.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

template <class Book>
class HostCache {
  public:
    static constexpr bool scored = std::is_same_v<Book, SlotBook>;

    [[gnu::cold]] explicit HostCache(Book book) : book_(std::move(book)) {}

    void stage(TokenRows k, TokenRows v) {
        const FpEnvironment environment;
        const BusyFlag::Hold hold(busy_, in_use);
        alive();
        book_.stage(k, v);
    }
    void commit(int rows) noexcept {
        const FpEnvironment environment;  // keeps that choose by score compare here
        const BusyFlag::Turn turn(busy_);
        if (valid()) book_.commit(rows);
    }
    void commit_all() noexcept { commit(row_limit); }
    void rollback() noexcept { commit(0); }
    static constexpr bool commits_part() noexcept { return !scored; }
    void append(TokenRows k, TokenRows v) {
        const FpEnvironment environment;
        const BusyFlag::Hold hold(busy_, in_use);
        alive();
        book_.stage(k, v);
        book_.commit(book_.length() - book_.committed());
    }

    [[gnu::cold]] bool can_truncate(int rows) const noexcept {
        const BusyFlag::Share share(busy_);
        return share && valid() && book_.can_truncate(rows);
    }
    [[gnu::cold]] void truncate(int rows) {
        const BusyFlag::Hold hold(busy_, in_use);
        alive();
        require(book_.can_truncate(rows), ErrorCode::bad_state, "truncate to ", rows,
                " rows: the cache has ", committed(), " and cannot go back so far");
        book_.truncate(rows);
    }
    void clear() { truncate(0); }

    [[gnu::cold]] bool can_drop(int begin, int end) const noexcept {
        const BusyFlag::Share share(busy_);
        return share && may_drop(begin, end);
    }
    [[gnu::cold]] void drop(int begin, int end) {
        const BusyFlag::Hold hold(busy_, in_use);
        alive();
        require(may_drop(begin, end), ErrorCode::bad_state, "drop rows ", begin, " to ", end,
                ": the cache has ", committed(), "; it needs a store of blocks and all rows kept");
        if constexpr (!scored) book_.drop(begin, end);
    }
    [[gnu::cold]] bool can_close(int rows) const noexcept {
        const BusyFlag::Share share(busy_);
        return share && may_close(rows);
    }
    [[gnu::cold]] void close(int rows) {
        const BusyFlag::Hold hold(busy_, in_use);
        alive();
        require(may_close(rows), ErrorCode::bad_state, "close ", rows,
                " rows of a hole: so many were not dropped");
        if constexpr (!scored) book_.close(rows);
    }
    [[gnu::cold]] bool can_shift(int keep, int rows) const noexcept {
        const BusyFlag::Share share(busy_);
        return share && may_shift(keep, rows);
    }
    [[gnu::cold]] void shift(int keep, int rows) {
        const BusyFlag::Hold hold(busy_, in_use);
        alive();
        require(may_shift(keep, rows), ErrorCode::bad_state, "shift by ", rows, " rows behind ",
                keep, ": the cache has ", committed(),
                "; it needs a store of blocks and all rows kept");
        if constexpr (!scored) {
            const int begin = keep + book_.dropped();
            book_.drop(begin, begin + rows);
            book_.close(rows);
        }
    }

    [[gnu::cold]] void expect_prompt(int end) {
        const BusyFlag::Hold hold(busy_, in_use);
        alive();
        if constexpr (scored) book_.expect_prompt(end);
        (void)end;
    }
    [[gnu::cold]] void pin(int begin, int end) {
        const BusyFlag::Hold hold(busy_, in_use);
        alive();
        if constexpr (scored)
            book_.pin(begin, end);
        else
            fail(ErrorCode::unsupported, "pin rows ", begin, " to ", end,
                 ": this cache's rows go by position");
    }

    [[gnu::cold]] HostCache fork() const {
        const BusyFlag::Share share(busy_, in_use);
        alive();
        return HostCache(book_.fork());
    }
    [[gnu::cold]] HostCache copy() const {
        const BusyFlag::Share share(busy_, in_use);
        alive();
        return HostCache(book_.copy());
    }

    // For rows that are written and read with those of the layer before.
    [[gnu::cold]] void bind(const HostCache& before) noexcept
    requires(!scored)
    {
        if (valid() && before.valid()) book_.bind(before.book_);
    }

    void runs(int kv_head, RunList& keys, RunList& values) const noexcept {
        keys.clear();
        values.clear();
        if (valid()) book_.runs(kv_head, keys, values);
    }
    int most_runs() const noexcept { return book_.most_runs(); }
    const RowsRead* rows_read() const noexcept {
        if constexpr (!scored)
            if (valid()) return book_.rows_read();
        return nullptr;
    }
    RowsWanted rows_wanted() const noexcept {
        return valid() ? book_.streams().rows_wanted() : RowsWanted{};
    }
    bool wants_scores(int query) const
    requires scored
    {
        return book_.wants_scores(query);
    }
    bool wants_queries() const noexcept
    requires scored
    {
        return book_.wants_queries();
    }
    void on_queries(int kv_head, const float* q, int count, int position)
    requires scored
    {
        const FpEnvironment environment;
        book_.on_queries(kv_head, q, count, position);
    }
    void on_scores(int kv_head, const float* p, int begin, int end) noexcept
    requires scored
    {
        const FpEnvironment environment;
        book_.on_scores(kv_head, p, begin, end);
    }

    bool wants_notes(int query) const
    requires scored
    {
        return book_.wants_notes(query);
    }
    void on_notes(int kv_head, const NotedQueries& queries)
    requires scored
    {
        const FpEnvironment environment;
        book_.on_notes(kv_head, queries);
    }

    int committed() const noexcept { return book_.committed(); }
    int length() const noexcept { return book_.length(); }
    int capacity() const noexcept { return book_.capacity(); }
    int max_rows() const noexcept { return book_.max_rows(); }
    int span() const noexcept { return book_.span(); }
    bool streaming() const noexcept { return book_.streaming(); }
    int held() const noexcept { return book_.held(book_.committed()); }
    // Rows chosen by score do not say which of them a model's window leaves out.
    bool serves_window(int window) const noexcept { return !scored || window >= capacity(); }
    const HeadLayout& layout() const noexcept { return book_.layout(); }
    [[gnu::cold]] std::size_t payload_bytes(int rows) const {
        require(rows >= 0 && rows <= row_limit, ErrorCode::invalid_argument, "payload of ", rows,
                " rows; 0 to ", row_limit, " are possible");
        return book_.payload_bytes(rows);
    }
    std::size_t bytes() const noexcept { return book_.bytes(); }
    [[gnu::cold]] void archive(CacheArchive& archive) {
        const BusyFlag::Hold hold(busy_, in_use);
        alive();
        book_.archive(archive);
    }
    PoolUse pool_use() const noexcept {
        if (!valid()) return {};
        const AgedRows& keys = book_.streams().keys();
        return keys.rows(keys.plan().count() - 1).pool_use();
    }
    bool valid() const noexcept { return book_.streams().valid(); }

  private:
    static constexpr const char* in_use = "the cache";
    [[gnu::cold]] bool may_drop(int begin, int end) const noexcept {
        if constexpr (scored)
            return false;
        else
            return valid() && book_.can_drop(begin, end);
    }
    [[gnu::cold]] bool may_close(int rows) const noexcept {
        if constexpr (scored)
            return false;
        else
            return valid() && book_.can_close(rows);
    }
    [[gnu::cold]] bool may_shift(int keep, int rows) const noexcept {
        if constexpr (scored) {
            return false;
        } else {
            if (!valid()) return false;
            const int gone = book_.dropped();
            return rows > 0 && rows <= committed() && (gone == 0 || keep == book_.hole()) &&
                   keep >= 0 && keep <= committed() - gone && rows <= committed() - gone - keep &&
                   book_.can_drop(keep + gone, keep + gone + rows);
        }
    }
    void alive() const { require(valid(), ErrorCode::bad_state, "the cache was moved from"); }
    Book book_;
    mutable BusyFlag busy_;
};

}}}  // namespace cairn::internal
