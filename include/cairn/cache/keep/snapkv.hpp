// SnapKV (Li et al. 2024, arXiv 2404.14469): once, when the prompt is complete, the rows that its
// last queries looked at stay, with their neighbours; later rows all stay. Heads that share keys
// are summed, so grouped heads keep their saving.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cairn/cache/seam/keep_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// How SnapKV pools what neighbouring rows received.
enum class Pooled : std::uint8_t { maximum, mean };

/// Of `budget` rows the last `window` of the prompt stay, the others by the attention that these
/// queries paid, pooled over `pool` neighbours: by the maximum, as the paper's runs do, or by the
/// mean, as its published code does unless told otherwise (5 neighbours there).
class ObservedRows final : public Scorer {
  public:
    /// Error{invalid_argument} for a window below 1 or an even pool.
    explicit ObservedRows(Budget budget, int window = 32, int pool = 7, Pooled by = Pooled::maximum)
        : budget_(std::move(budget)), window_(window), pool_(pool), by_(by) {
        require(window > 0 && pool > 0 && pool % 2 == 1, ErrorCode::invalid_argument,
                "snapkv: a window of ", window, " queries, a pool of ", pool);
    }
    int budget(int kv_head) const override { return budget_.of(kv_head); }
    Evicts when() const override { return Evicts::at_prompt_end; }
    bool listens(int query, int prompt_end) const override {
        return query < prompt_end && query >= prompt_end - window_;
    }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        const auto position = [&](int i) { return rows.positions[static_cast<std::size_t>(i)]; };
        const auto observed = [&](int i) { return is_observed(rows, i); };
        const auto pooled = [&](int i) { return pooled_score(rows, i); };
        const int recent = std::min(rows.budget, window_);
        keep_best(rows, recent, [](int) { return true; }, position, keep, order);
        keep_best(rows, rows.budget - recent, observed, pooled, keep, order);
    }
    double worth(const HeldRows& rows, int i) const override {
        return is_observed(rows, i) ? static_cast<double>(pooled_score(rows, i))
                                    : std::numeric_limits<double>::infinity();
    }
    std::string name() const override {
        return "snapkv=" + std::to_string(budget_.of(0)) + (by_ == Pooled::mean ? ",mean=1" : "");
    }

  private:
    // Rows before the observing ones.
    bool is_observed(const HeldRows& rows, int i) const noexcept {
        const int position = rows.positions[static_cast<std::size_t>(i)];
        return position >= 0 && position < rows.prompt_end - window_;
    }
    float pooled_score(const HeldRows& rows, int i) const noexcept {
        const int n = static_cast<int>(rows.positions.size());
        float sum = 0.0F;
        for (int j = std::max(0, i - pool_ / 2); j <= std::min(n - 1, i + pool_ / 2); ++j) {
            if (!is_observed(rows, j)) continue;
            const float score = rows.scores[static_cast<std::size_t>(j)];
            sum = by_ == Pooled::mean ? sum + score : std::max(sum, score);
        }
        return sum;
    }
    Budget budget_;
    int window_;
    int pool_;
    Pooled by_;
};

/// SnapKV as the second argument of KvCache. The template's numbers are the settings' defaults.
template <int rows, int observing = 32>
struct SnapKv {
    static_assert(rows > 0 && observing > 0, "SnapKv<budget, window>: at least one row stays.");
    int budget = rows;
    int window = observing;
    int mean = 0;  ///< 1: pooled by the mean of 5 neighbours, not by the maximum of 7

    static constexpr std::string_view word = "snapkv";
    static constexpr std::string_view help =
        "once, at the prompt's end: what its last queries looked at";
    static constexpr KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the rows that stay", 1, Given::always}, self.budget);
        visit(Option{"mean", "1: pool neighbours by their mean", 0, Given::unless_zero}, self.mean);
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout&) const {
        return std::make_shared<ObservedRows>(budget, window, mean != 0 ? 5 : 7,
                                              mean != 0 ? Pooled::mean : Pooled::maximum);
    }
};

}}  // namespace cairn
