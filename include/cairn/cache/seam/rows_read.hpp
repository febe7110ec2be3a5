// What attention asks of a cache whose queries do not read all rows: which pages one of them reads.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "cairn/cache/seam/page_set.hpp"
#include "cairn/cache/seam/scratch.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The queries of one KV head's group at one position.
struct GroupQuery {
    int kv_head = 0;
    int position = 0;
    int first_row = 0;         ///< rows before it lie behind the model's window
    const float* q = nullptr;  ///< [heads][dims], as products with the cache's keys want them
    int heads = 0;
    std::span<const float> alibi{};  ///< slopes of these heads; empty: none
};

/// How a cache's queries choose the pages they read. Page p is rows [p * page_rows, (p + 1) *
/// page_rows); the page that a query stands in is read whatever is chosen.
class RowsRead {
  public:
    virtual ~RowsRead() = default;
    virtual int page_rows() const noexcept = 0;
    /// Floats of scratch that choosing among so many pages needs.
    virtual std::size_t scratch_floats(int pages) const noexcept = 0;
    /// Adds the pages that the query reads, of those before its own. Depends on nothing but the
    /// query and the rows of these pages. Any thread may call it.
    virtual void choose(const GroupQuery& query, PageSet to, Scratch scratch) const = 0;
};

namespace internal {

class AgedRows;

/// The same with the summaries that a cache keeps for it. Virtual, so that caches whose queries
/// read all rows compile none.
class PageSummaries : public RowsRead {
  public:
    /// Makes room for the pages that rows [begin, end) complete. If it throws, nothing has changed.
    virtual void reserve(const AgedRows& keys, int begin, int end) = 0;
    /// Makes the summaries of these pages: their rows are written, and room was made. Throws
    /// Error{io} where rows are on disk and cannot be read.
    virtual void update(const AgedRows& keys, int begin, int end) = 0;
    /// Rows from `length` on are forgotten.
    virtual void cut(int length) noexcept = 0;
    virtual void trim() noexcept = 0;
    virtual std::size_t bytes() const noexcept = 0;
    /// The same summaries, shared until somebody writes.
    virtual std::unique_ptr<PageSummaries> share() const = 0;
    /// Those of the first `length` rows in memory of their own.
    virtual std::unique_ptr<PageSummaries> copy(int length) const = 0;
};

}  // namespace internal

}}  // namespace cairn
