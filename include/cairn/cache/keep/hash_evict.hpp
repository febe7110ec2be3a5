// HashEvict (Liu et al. 2024, arXiv 2412.16187): before a new row is attended the row whose hash is
// farthest from the query's goes: 16 signs of Gaussian projections a key, compared bit by bit. The
// paper hashes the query, the published code the new key: both are here.
#pragma once

#include <cstdint>
#include <vector>

#include "cairn/cache/seam/keep_policy.hpp"
#include "cairn/numeric/random.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What the keys are compared with.
enum class HashOf : std::uint8_t { query, key };

/// Holds `budget` rows; the first and the last ones are never chosen to go.
class FarthestHash final : public Scorer {
  public:
    static constexpr int bits = 16;
    static constexpr int first_rows = 4;  ///< that always stay
    static constexpr int last_rows = 10;  ///< that always stay
    static constexpr bool enough(int budget) noexcept { return budget > first_rows + last_rows; }
    FarthestHash(Budget budget, int dims, HashOf of = HashOf::query, std::uint64_t seed = 0)
        : budget_(std::move(budget)), of_(of) {
        Random random(seed + 77);
        directions_.resize(static_cast<std::size_t>(dims) * bits);
        for (float& x : directions_) x = static_cast<float>(random.normal());
    }
    int budget(int kv_head) const override { return budget_.of(kv_head); }
    Evicts when() const override { return Evicts::before_attending; }
    bool listens(int, int) const override { return false; }
    bool key_is_query() const override { return of_ == HashOf::key; }
    std::uint32_t signature(const float* row, int dims) const override {
        std::uint32_t code = 0;
        for (int b = 0; b < bits; ++b) {
            const float* direction = directions_.data() + static_cast<std::size_t>(b * dims);
            double sum = 0.0;  // products of floats are exact in double: no order of fma shows
            for (int d = 0; d < dims; ++d)
                sum += static_cast<double>(row[d]) * static_cast<double>(direction[d]);
            if (sum >= 0.0) code |= 1U << b;
        }
        return code;
    }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        const auto position = [&](int i) { return rows.positions[static_cast<std::size_t>(i)]; };
        const auto safe = [&](int i) {
            return position(i) < first_rows || position(i) >= rows.length - last_rows;
        };
        keep_best(rows, rows.budget, safe, position, keep, order);
        int kept = 0;
        for (const std::uint8_t k : keep) kept += k;
        int pinned = 0;  // marked before, outside this budget
        for (std::size_t i = 0; i < keep.size(); ++i)
            pinned += keep[i] != 0 && rows.positions[i] < 0 ? 1 : 0;
        keep_best(
            rows, rows.budget - (kept - pinned), [](int) { return true; },
            [&](int i) { return -rows.scores[static_cast<std::size_t>(i)]; }, keep, order);
    }
    std::string name() const override {
        return "hashevict=" + std::to_string(budget_.of(0)) + (of_ == HashOf::key ? ",key=1" : "");
    }

  private:
    Budget budget_;
    HashOf of_;
    std::vector<float> directions_;  // [bits][dims]
};

/// HashEvict as the second argument of KvCache. The template's numbers are the settings' defaults.
template <int rows, HashOf compared = HashOf::query>
struct HashEvict {
    static_assert(FarthestHash::enough(rows),
                  "HashEvict<budget>: the first 4 and the last 10 rows always stay; give more.");
    int budget = rows;
    int key = compared == HashOf::key ? 1 : 0;  ///< 1: the new key is compared, not the query

    static constexpr std::string_view word = "hashevict";
    static constexpr std::string_view help =
        "as each row comes, the one whose hash is farthest from the query's goes";
    static constexpr KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the rows that stay", 1, Given::always}, self.budget);
        visit(Option{"key", "1: compare with the new key instead of the query", 0,
                     Given::unless_zero},
              self.key);
    }
    std::string_view wrong() const noexcept {
        return FarthestHash::enough(budget)
                   ? ""
                   : "the first 4 and the last 10 rows always stay; give more than 14";
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout& layout) const {
        return std::make_shared<FarthestHash>(budget, layout.key_dim,
                                              key != 0 ? HashOf::key : HashOf::query);
    }
};

}}  // namespace cairn
