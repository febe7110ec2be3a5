// Which rows are read, as a value. All rows stay; a page of rows is known by a summary of its keys,
// and a query chooses by summaries which pages it reads.
//
//   rows      [ page 0 ][ page 1 ][ page 2 ][ page 3 ][ pa        a query at the last row
//   summaries [s0]      [s1]      [s2]      [s3]                  of complete pages
//   read      [ page 0 ]          [ page 2 ]          [ pa        chosen, and the one it stands in
//
// A summary depends on the rows of its page alone, and a choice on the query and the complete pages
// before it: so the cut of a prompt, a batch, a fork or a saved session change no bit.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "cairn/cache/seam/facts.hpp"
#include "cairn/cache/seam/options.hpp"
#include "cairn/cache/seam/row_store.hpp"
#include "cairn/cache/seam/rows_read.hpp"
#include "cairn/core/types.hpp"
#include "cairn/kernels/dispatch.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A query that chooses: the pages are [first, pages), each with its summary.
struct PageQuery {
    const GroupQuery& query;
    int dims;                        ///< of a key
    int first;                       ///< pages before it lie behind the model's window
    int pages;                       ///< complete pages before the one the query stands in
    int page_rows;                   ///< rows of a page
    int width;                       ///< numbers of a summary
    const RowStore& summaries;       ///< row p: page p
    std::span<float> probe;          ///< scratch: `width` numbers
    std::span<float> worth;          ///< scratch: a number a page
    std::span<std::uint64_t> order;  ///< scratch: a number a page

    /// worth[p] = probe . summary of page p for all pages from `first` on; where the model has
    /// ALiBi, with the bias of the page's last row, summed over the heads.
    void weigh_pages() const {
        summaries.each(query.kv_head, first, pages,
                       [&](const Codec& codec, const Rows& rows, int page) {
                           codec.scores(rows, width, probe.data(), width, 1, &worth[index(page)],
                                        static_cast<std::ptrdiff_t>(worth.size()));
                       });
        float slope = 0.0F;
        for (const float s : query.alibi) slope += s;
        if (slope == 0.0F) return;
        for (int page = first; page < pages; ++page) {
            const auto distance = static_cast<float>((page + 1) * page_rows - 1 - query.position);
            kernels::active().axpy(slope, &distance, 1, &worth[index(page)]);
        }
    }
    /// Adds the `count` pages of most worth that are not in the set; of equals the first.
    void add_best(int count, PageSet& to) const {
        std::size_t n = 0;
        for (int page = first; page < pages; ++page)
            if (!to.has(page)) order[n++] = rank(worth[index(page)], page);
        if (count <= 0) return;
        const auto end = order.begin() + static_cast<std::ptrdiff_t>(n);
        if (static_cast<std::size_t>(count) < n)
            std::nth_element(order.begin(), order.begin() + count, end, std::greater<>());
        for (std::size_t i = 0; i < std::min(n, static_cast<std::size_t>(count)); ++i)
            to.add(static_cast<int>(~static_cast<std::uint32_t>(order[i])));
    }

  private:
    static std::size_t index(int page) noexcept { return static_cast<std::size_t>(page); }
    // A number that is larger for more worth, and for an earlier page among equals: any floats have
    // an order so, NaN too.
    static std::uint64_t rank(float worth, int page) noexcept {
        const auto bits = std::bit_cast<std::uint32_t>(worth + 0.0F);  // -0 is 0
        const std::uint32_t sign = std::uint32_t{1} << 31;
        const std::uint32_t key = (bits & sign) != 0 ? ~bits : bits | sign;
        return std::uint64_t{key} << 32 | ~static_cast<std::uint32_t>(page);
    }
};

/// How one layer's pages are known, and chosen. Immutable, shared by caches, forks and threads.
class PageReader {
  public:
    virtual ~PageReader() = default;
    virtual int page_rows() const = 0;
    /// Numbers that stand for a page of keys of `dims` numbers.
    virtual int summary_width(int dims) const = 0;
    /// Writes them: keys [page_rows][dims] are those of one KV head, as attention reads them.
    virtual void summarise(const float* keys, int dims, float* to) const = 0;
    /// Adds the pages to read, of [query.first, query.pages). Must depend on nothing but the query
    /// and must not allocate; threads call it side by side.
    virtual void choose(const PageQuery& query, PageSet& to) const = 0;
};

/// Which rows are read: `reader(layout, layer)`, null for a layer whose rows are all read.
/// Optional: `facts` (static ReadFacts), `word`, `options`, `wrong()`.
template <class R>
concept ReadPolicy = std::copyable<R> && requires(const R& read, const HeadLayout& layout) {
    { read.reader(layout, 0) } -> std::convertible_to<std::shared_ptr<const PageReader>>;
};

/// The static facts of a read.
template <class R>
constexpr ReadFacts read_facts() {
    if constexpr (requires { R::facts; })
        return R::facts;
    else
        return {.few = true};
}

namespace internal {

/// What a cache keeps for a reader of the policy R. cache/internal/page_book.hpp has it, and with
/// it every header of a cache: who hands a policy to `AnyRead` includes one of these.
template <class R>
[[gnu::cold]] std::unique_ptr<PageSummaries> page_summaries(
    std::shared_ptr<const PageReader> reader, const HeadLayout& layout, int capacity);

/// A read of any type.
class ReadObject {
  public:
    virtual ~ReadObject() = default;
    virtual ReadFacts facts() const = 0;
    virtual std::string word() const = 0;
    virtual std::shared_ptr<const PageReader> reader(const HeadLayout& layout, int layer) const = 0;
    virtual std::unique_ptr<PageSummaries> pages(const HeadLayout& layout, int capacity,
                                                 int layer) const = 0;
};

template <class R>
class ReadHolder final : public ReadObject {
  public:
    explicit ReadHolder(R policy) : policy_(std::move(policy)) {
        if constexpr (requires { policy_.wrong(); })
            require(policy_.wrong().empty(), ErrorCode::invalid_argument, R::word, ": ",
                    policy_.wrong());
    }
    ReadFacts facts() const override { return read_facts<R>(); }
    std::string word() const override {
        if constexpr (requires { R::word; })
            return spec_of(policy_);
        else
            return "own";
    }
    std::shared_ptr<const PageReader> reader(const HeadLayout& layout, int layer) const override {
        return policy_.reader(layout, layer);
    }
    std::unique_ptr<PageSummaries> pages(const HeadLayout& layout, int capacity,
                                         int layer) const override {
        auto reader = policy_.reader(layout, layer);
        return reader != nullptr ? page_summaries<R>(std::move(reader), layout, capacity) : nullptr;
    }

  private:
    R policy_;
};

}  // namespace internal

/// Any read, chosen at run time. Where none was chosen, all rows are read.
class AnyRead {
  public:
    AnyRead() = default;
    template <class R>
    requires(!std::is_same_v<R, AnyRead> && ReadPolicy<R>)
    AnyRead(R policy)  // NOLINT(google-explicit-constructor)
        : object_(static_cast<const internal::ReadObject*>(
              new internal::ReadHolder<R>(std::move(policy)))) {}

    ReadFacts facts_now() const { return object_ != nullptr ? object_->facts() : ReadFacts{}; }
    /// The word and numbers of a SPEC; empty where none was chosen.
    std::string spec() const { return object_ != nullptr ? object_->word() : std::string(); }
    std::shared_ptr<const PageReader> reader(const HeadLayout& layout, int layer) const {
        return object_ != nullptr ? object_->reader(layout, layer) : nullptr;
    }
    /// What a layer's cache keeps for it; null where all rows are read. Throws what the reader
    /// throws, Error{invalid_argument} for pages or summaries of nothing, Error{out_of_memory}.
    std::unique_ptr<internal::PageSummaries> pages(const HeadLayout& layout, int capacity,
                                                   int layer) const {
        return object_ != nullptr ? object_->pages(layout, capacity, layer) : nullptr;
    }
    explicit operator bool() const noexcept { return object_ != nullptr; }

  private:
    std::shared_ptr<const internal::ReadObject> object_;
};

}}  // namespace cairn
