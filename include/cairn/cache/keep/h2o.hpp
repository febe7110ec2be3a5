// H2O (Zhang et al. 2023, arXiv 2306.14048): the most recent rows and the heavy hitters, those that
// received most attention from all queries so far. An evicted row never returns.
#pragma once

#include "cairn/cache/keep/scorer.hpp"

namespace cairn::inline CAIRN_ABI {

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
        const auto position = [&](int i) { return rows.positions[static_cast<std::size_t>(i)]; };
        const auto score = [&](int i) { return rows.scores[static_cast<std::size_t>(i)]; };
        const auto all = [](int) { return true; };
        const int recent = std::min(recent_, rows.budget);
        keep_best(rows, recent, all, position, keep, order);
        keep_best(rows, rows.budget - recent, all, score, keep, order);
    }
    std::string name() const override {
        return "h2o=" + std::to_string(budget_.of(0)) + ",recent=" + std::to_string(recent_);
    }

  private:
    Budget budget_;
    int recent_;
};

/// H2O as the second argument of KvCache.
template <int budget, int recent = budget / 2>
struct H2O {
    static_assert(budget > 0 && recent >= 0 && recent <= budget,
                  "H2O<budget, recent>: the recent rows are part of the budget.");
    static std::shared_ptr<const Scorer> scorer(const HeadLayout&) {
        return std::make_shared<HeavyHitters>(budget, recent);
    }
};

}  // namespace cairn::inline CAIRN_ABI
