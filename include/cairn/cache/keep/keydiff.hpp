// KeyDiff (Park et al. 2025, arXiv 2504.15364): keys that point where most keys point go first,
// those that stand out stay. With k^ = k / |k| and a the mean of k^ over the rows that are there, a
// row's score is -cos(k, a). It asks neither queries nor probabilities, so attention pays nothing
// for it.
#pragma once

#include <algorithm>
#include <cmath>

#include "cairn/cache/seam/keep_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Of `budget` rows the last `recent` stay by age, the others by how little they resemble the mean
/// key.
class DistinctKeys final : public Scorer {
  public:
    /// Error{invalid_argument} unless 0 <= recent <= budget.
    explicit DistinctKeys(Budget budget, int recent = 0)
        : budget_(std::move(budget)), recent_(recent) {
        require(recent >= 0 && recent <= budget_.of(0), ErrorCode::invalid_argument,
                "keydiff: ", recent, " recent rows of a budget of ", budget_.of(0));
    }
    int budget(int kv_head) const override { return budget_.of(kv_head); }
    Evicts when() const override { return Evicts::at_every_step; }
    bool listens(int, int) const override { return false; }
    bool reads_rows() const override { return true; }
    std::size_t room(const HeadLayout& layout, std::size_t slots) const override {
        return slots + static_cast<std::size_t>(layout.key_dim);
    }
    void score(HeadRows& rows, std::span<float> scores) const override {
        const int dims = rows.layout.key_dim;
        double* const mean = rows.room.data();
        double* const norms = mean + dims;
        std::fill_n(mean, dims, 0.0);
        int held = 0;
        for (std::size_t i = 0; i < rows.positions.size(); ++i) {
            if (rows.positions[i] < 0) continue;
            const float* key = rows.keys[static_cast<int>(i)];
            norms[i] = std::max(std::sqrt(internal::exact_dot(key, key, dims)), 1e-12);
            internal::exact_add(static_cast<float>(1.0 / norms[i]), key, dims, mean);
            ++held;
        }
        double square = 0.0;  // of the mean's length; the mean as floats from here on
        for (int d = 0; d < dims; ++d) {
            const auto rounded = static_cast<float>(mean[d] / held);
            mean[d] = static_cast<double>(rounded);
            square += mean[d] * mean[d];
        }
        const double length = std::max(std::sqrt(square), 1e-12);
        for (std::size_t i = 0; i < rows.positions.size(); ++i) {
            if (rows.positions[i] < 0) continue;
            const float* key = rows.keys[static_cast<int>(i)];
            const double cosine = internal::exact_dot(key, mean, dims) / norms[i] / length;
            scores[i] = static_cast<float>(-cosine);
        }
    }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        keep_recent_and_best(rows, std::min(recent_, rows.budget), keep, order);
    }
    std::string name() const override {
        std::string text = "keydiff=" + std::to_string(budget_.of(0));
        if (recent_ != 0) text.append(",recent=").append(std::to_string(recent_));
        return text;
    }

  private:
    Budget budget_;
    int recent_;
};

/// KeyDiff as the second argument of KvCache. The template's numbers are the settings' defaults.
template <int rows, int last = 0>
struct KeyDiff {
    static_assert(internal::recent_in_budget(rows, last),
                  "KeyDiff<budget, recent>: the recent rows are part of the budget.");
    int budget = rows;
    int recent = last;

    static constexpr std::string_view word = "keydiff";
    static constexpr std::string_view help = "rows whose keys resemble the mean key least";
    static constexpr KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the rows that stay", 1, Given::always}, self.budget);
        visit(Option{"recent", "of these the last ones by age", 0, Given::unless_zero},
              self.recent);
    }
    std::string_view wrong() const noexcept {
        return internal::recent_in_budget(budget, recent)
                   ? ""
                   : "the recent rows are part of the budget";
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout&) const {
        return std::make_shared<DistinctKeys>(budget, recent);
    }
};

}}  // namespace cairn
