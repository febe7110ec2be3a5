// Which pages of a KV head's rows a query reads: a bit a page.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A set of pages over memory of somebody else, words(pages) of it. Copies are the same set.
class PageSet {
  public:
    PageSet(std::uint64_t* words, int pages) noexcept : words_(words), pages_(pages) {}
    static constexpr std::size_t words(int pages) noexcept {
        return (static_cast<std::size_t>(pages) + 63) / 64;
    }

    /// The pages there are; those from here on cannot be added.
    int pages() const noexcept { return pages_; }
    void clear() noexcept { std::fill_n(words_, words(pages_), std::uint64_t{0}); }
    void add(int page) noexcept {
        if (page >= 0 && page < pages_) words_[page / 64] |= std::uint64_t{1} << page % 64;
    }
    /// Adds pages [begin, end).
    void add(int begin, int end) noexcept {
        for (int page = std::max(begin, 0); page < std::min(end, pages_); ++page) add(page);
    }
    bool has(int page) const noexcept { return (words_[page / 64] >> page % 64 & 1) != 0; }
    /// Pages in it, of those in [begin, end).
    int count(int begin, int end) const noexcept {
        int sum = 0;
        for (int page = next(begin, end); page < end; page = next(page + 1, end)) ++sum;
        return sum;
    }
    /// Calls body(begin, end) for every stretch of neighbours in it, ascending.
    template <class Body>
    void each_stretch(Body&& body) const {
        for (int begin = next(0, pages_); begin < pages_;) {
            int end = begin + 1;
            while (end < pages_ && has(end)) ++end;
            body(begin, end);
            begin = next(end, pages_);
        }
    }

  private:
    // The first page of the set in [from, end); `end` if there is none.
    int next(int from, int end) const noexcept {
        while (from < end) {
            const std::uint64_t rest = words_[from / 64] >> from % 64;
            if (rest != 0) return std::min(end, from + std::countr_zero(rest));
            from = (from / 64 + 1) * 64;
        }
        return end;
    }
    std::uint64_t* words_;
    int pages_;
};

}}  // namespace cairn
