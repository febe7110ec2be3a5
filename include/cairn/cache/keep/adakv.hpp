// AdaKV (Feng et al. 2024, arXiv 2407.11550): the heads of a layer share its budget. Every head
// keeps a share of what it would have alone, its best rows; the rest goes to the best rows of all
// heads together, so heads that look at many rows keep more than heads that look at few.
#pragma once

#include <algorithm>
#include <limits>

#include "cairn/cache/keep/expected_attention.hpp"
#include "cairn/cache/keep/scorer_over.hpp"
#include "cairn/cache/keep/snapkv.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Any scorer that chooses at a prompt's end, its budgets spread over the heads of a layer. Rows of
/// different heads are compared by its `worth`.
class SpreadHeads final : public ScorerOver {
  public:
    /// `safeguard`: percent of a head's own budget that it keeps in any case.
    /// Error{invalid_argument} beyond 0 to 100, or for a scorer that chooses at another time.
    SpreadHeads(std::shared_ptr<const Scorer> inner, int safeguard)
        : ScorerOver(std::move(inner)), safeguard_(safeguard) {
        require(safeguard >= 0 && safeguard <= 100 && when() == Evicts::at_prompt_end,
                ErrorCode::invalid_argument, "adakv: a safeguard of ", safeguard, " percent over ",
                over().name());
    }
    bool spreads() const override { return true; }
    void spread(std::span<const HeldRows> heads, std::span<int> budgets,
                std::span<RankedRow> room) const override {
        std::size_t end = 0;
        std::int64_t total = 0;
        for (std::size_t h = 0; h < heads.size(); ++h) {
            const std::size_t begin = end;
            for (std::size_t i = 0; i < heads[h].positions.size(); ++i)
                if (heads[h].positions[i] >= 0)
                    room[end++] = {over().worth(heads[h], static_cast<int>(i)), static_cast<int>(h),
                                   heads[h].positions[i]};
            const std::int64_t safe =
                safeguard_ > 0
                    ? std::max<std::int64_t>(1, std::int64_t{budgets[h]} * safeguard_ / 100)
                    : 0;
            const auto own = room.subspan(begin, end - begin);
            const std::size_t n = best(own, safe);
            for (RankedRow& row : own.first(n)) row.worth = std::numeric_limits<double>::infinity();
            total += budgets[h];
            budgets[h] = 0;
        }
        const auto all = room.first(end);
        for (const RankedRow& row : all.first(best(all, total)))
            ++budgets[static_cast<std::size_t>(row.head)];
    }
    std::string name() const override {
        return "adakv of " + over().name() + ",safeguard=" + std::to_string(safeguard_);
    }

  private:
    // Puts the `count` best rows to the front; returns how many there are.
    static std::size_t best(std::span<RankedRow> rows, std::int64_t count) noexcept {
        const std::size_t n = std::min(static_cast<std::size_t>(count), rows.size());
        std::nth_element(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(n), rows.end(),
                         [](const RankedRow& a, const RankedRow& b) {
                             if (a.worth != b.worth) return a.worth > b.worth;
                             return a.position != b.position ? a.position > b.position
                                                             : a.head < b.head;
                         });
        return n;
    }
    int safeguard_;
};

/// AdaKV as the second argument of KvCache: over SnapKV's scores, or over expected attention.
template <int rows>
struct AdaKv {
    static_assert(rows > 0, "AdaKv<budget>: at least one row stays.");
    int budget = rows;   ///< of a head, on average
    int safeguard = 20;  ///< percent of it that every head keeps
    int law = 0;         ///< 1: by what queries of the prompt's law are expected to attend

    static constexpr std::string_view word = "adakv";
    static constexpr std::string_view help =
        "once, at the prompt's end: the best rows of all heads of a layer together";
    static constexpr KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the rows of a head that stay, on average", 1, Given::always},
              self.budget);
        visit(Option{"safeguard", "percent of them that every head keeps"}, self.safeguard);
        visit(Option{"law", "1: by expected attention, not by the last queries'", 0,
                     Given::unless_zero},
              self.law);
    }
    std::string_view wrong() const noexcept {
        return safeguard >= 0 && safeguard <= 100 ? "" : "a safeguard is 0 to 100 percent";
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout&) const {
        std::shared_ptr<const Scorer> inner = std::make_shared<ObservedRows>(budget);
        if (law != 0) inner = std::make_shared<ExpectedRows>(budget);
        return std::make_shared<SpreadHeads>(std::move(inner), safeguard);
    }
};

}}  // namespace cairn
