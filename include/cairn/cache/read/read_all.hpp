// The read of a plain cache: every row that stays is read by every query that sees it.
#pragma once

#include "cairn/cache/seam/read_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Queries read all rows.
struct ReadAll {
    static constexpr std::string_view word = "every";
    static constexpr std::string_view help = "every row";
    static constexpr ReadFacts facts{};
    std::shared_ptr<const PageReader> reader(const HeadLayout&, int) const { return nullptr; }
};

}}  // namespace cairn
