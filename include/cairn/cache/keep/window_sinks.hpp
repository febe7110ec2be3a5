// A window of recent rows behind a pinned front: StreamingLLM (Xiao et al. 2023, arXiv 2309.17453).
// Keys stay rotated at their positions; for the first rows the query stands where it would if
// nothing lay between them and the window.
#pragma once

#include <algorithm>

#include "cairn/cache/seam/keep_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {
constexpr bool window_fits(int window, int sinks) noexcept { return window > 0 && sinks >= 0; }
}  // namespace internal

/// The last `window` rows stay (a query sees itself and window - 1 before it) and the first `sinks`
/// ones. The template's numbers are the settings' defaults.
template <int recent, int first = 4>
struct WindowSinks {
    static_assert(internal::window_fits(recent, first),
                  "WindowSinks<recent, first>: at least one recent row must stay.");
    int window = recent;
    int sinks = first;

    static constexpr std::string_view word = "window";
    static constexpr std::string_view help = "the first S rows and the last W";
    static constexpr KeepFacts facts{.by_score = false, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the recent rows that stay", 1, Given::always}, self.window);
        visit(Option{"sinks", "the first rows that stay"}, self.sinks);
    }
    // In a SPEC no rows are pinned unless it says so.
    void settle() noexcept { sinks = 0; }

    Extent extent(int capacity, int chunk) const noexcept {
        return {capacity, sinks, window, chunk};
    }
    void intervals(int committed, int length, Intervals& to) const {
        const int front = std::min(sinks, length);
        if (front > 0) to.push_back({.begin = 0, .end = front, .max_query = sinks + (window - 1)});
        const int oldest = std::max(sinks, committed - window + 1);
        if (oldest < length) to.push_back({.begin = oldest, .end = length, .window = window});
    }
    std::string_view wrong() const noexcept {
        return internal::window_fits(window, sinks) ? "" : "at least one recent row must stay";
    }
    std::string label() const { return spec_of(*this); }
};

}}  // namespace cairn
