// NACL (Chen et al. 2024, arXiv 2408.03675): once, when the prompt is complete, the first and last
// rows stay, the rows that a few proxy queries at its end looked at most, and a random draw of the
// others, each head by itself: what the proxies miss has a chance.
#pragma once

#include <cstdint>

#include "cairn/cache/seam/keep_policy.hpp"
#include "cairn/numeric/elementary.hpp"
#include "cairn/numeric/random.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Of `budget` rows up to 4 first and a tenth last ones stay; of what is left 63 % by the sum of
/// the proxies' probabilities and 37 % by chance, without replacement, with probability
/// softmax(that sum) (the ratio of the published code's defaults). Proxies: the last 1 % of the
/// prompt, at least 4.
class ProxyRows final : public Scorer {
  public:
    explicit ProxyRows(Budget budget, std::uint64_t seed = 0)
        : budget_(std::move(budget)), seed_(seed) {}
    int budget(int kv_head) const override { return budget_.of(kv_head); }
    Evicts when() const override { return Evicts::at_prompt_end; }
    bool listens(int query, int prompt_end) const override {
        return query < prompt_end && query >= prompt_end - std::max(4, prompt_end / 100);
    }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        const auto position = [&](int i) { return rows.positions[static_cast<std::size_t>(i)]; };
        const auto all = [](int) { return true; };
        const int first = std::min(4, rows.budget / 8);
        const int last = std::max(1, rows.budget / 10);
        keep_best(rows, first, [&](int i) { return position(i) < first; }, position, keep, order);
        keep_best(rows, last, all, position, keep, order);
        const int rest = rows.budget - first - last;
        const int top = rest * 63 / 100;
        keep_best(
            rows, top, all, [&](int i) { return rows.scores[static_cast<std::size_t>(i)]; }, keep,
            order);
        // The largest of score + Gumbel noise are a draw without replacement from softmax(score).
        keep_best(
            rows, rest - top, all,
            [&](int i) {
                return rows.scores[static_cast<std::size_t>(i)] +
                       noise(rows.layer, rows.kv_head, position(i));
            },
            keep, order);
    }
    std::string name() const override { return "nacl=" + std::to_string(budget_.of(0)); }

  private:
    // The noise of a row: a function of seed, layer, head and position.
    double noise(int layer, int head, int position) const {
        Random random(seed_ * 0x9E3779B97F4A7C15U + static_cast<std::uint64_t>(layer) * 1000003U +
                      static_cast<std::uint64_t>(head) * 8191U +
                      (static_cast<std::uint64_t>(position) << 32));
        random.uniform();
        const double u = std::max(random.uniform(), 1e-300);
        return -elementary::log(-elementary::log(u) + 1e-300);
    }
    Budget budget_;
    std::uint64_t seed_;
};

/// NACL as the second argument of KvCache. The template's numbers are the settings' defaults.
template <int rows, std::uint64_t first_seed = 0>
struct Nacl {
    static_assert(rows > 0, "Nacl<budget>: at least one row stays.");
    int budget = rows;
    std::uint64_t seed = first_seed;

    static constexpr std::string_view word = "nacl";
    static constexpr std::string_view help =
        "once, at the prompt's end: by a few proxy queries, and a part by chance";
    static constexpr KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the rows that stay", 1, Given::always}, self.budget);
        visit(Option{"seed", "of the draw", 0, Given::unless_zero}, self.seed);
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout&) const {
        return std::make_shared<ProxyRows>(budget, seed);
    }
};

}}  // namespace cairn
