// H2O (Zhang et al. 2023, arXiv 2306.14048): the most recent rows and the heavy hitters, those that
// received most attention from all queries so far. An evicted row never returns.
#pragma once

#include "cairn/cache/seam/keep_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Of `budget` rows the last `recent` stay by age, the others by score.
class HeavyHitters final : public Scorer {
  public:
    /// Error{invalid_argument} unless 0 <= recent <= budget.
    HeavyHitters(Budget budget, int recent) : budget_(std::move(budget)), recent_(recent) {
        require(recent >= 0 && recent <= budget_.of(0), ErrorCode::invalid_argument,
                "h2o: ", recent, " recent rows of a budget of ", budget_.of(0));
    }
    int budget(int kv_head) const override { return budget_.of(kv_head); }
    Evicts when() const override { return Evicts::at_every_step; }
    bool listens(int, int) const override { return true; }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        keep_recent_and_best(rows, std::min(recent_, rows.budget), keep, order);
    }
    std::string name() const override {
        return "h2o=" + std::to_string(budget_.of(0)) + ",recent=" + std::to_string(recent_);
    }

  private:
    Budget budget_;
    int recent_;
};

/// H2O as the second argument of KvCache. The template's numbers are the settings' defaults.
template <int rows, int last = rows / 2>
struct H2O {
    static_assert(internal::recent_in_budget(rows, last),
                  "H2O<budget, recent>: the recent rows are part of the budget.");
    int budget = rows;
    int recent = last;

    static constexpr std::string_view word = "h2o";
    static constexpr std::string_view help = "the last R rows, and the most attended of the others";
    static constexpr KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the rows that stay", 1, Given::always}, self.budget);
        visit(Option{"recent", "of these the last ones by age"}, self.recent);
    }
    void settle() noexcept { recent = budget / 2; }
    std::string_view wrong() const noexcept {
        return internal::recent_in_budget(budget, recent)
                   ? ""
                   : "the recent rows are part of the budget";
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout&) const {
        return std::make_shared<HeavyHitters>(budget, recent);
    }
};

}}  // namespace cairn
