// The keep of a plain cache: every row stays until it is truncated.
#pragma once

#include "cairn/cache/seam/keep_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Every row stays, and every later query sees it.
struct KeepAll {
    static constexpr std::string_view word = "all";
    static constexpr std::string_view help = "every row";
    static constexpr KeepFacts facts{.by_score = false, .forgets = false};
    Extent extent(int capacity, int chunk) const noexcept { return {capacity, 0, 0, chunk}; }
    void intervals(int, int length, Intervals& to) const {
        if (length > 0) to.push_back({0, length});
    }
    // Its name in files that were saved before keeps were open.
    static std::string label() { return "window=0,sinks=0"; }
};

}}  // namespace cairn
