// PyramidKV (Cai et al. 2024, arXiv 2406.02069): SnapKV whose budget falls from layer to layer,
// since low layers spread their attention over many rows and high ones do not. With a budget of B
// rows on average, layer l of L keeps most - l (most - least) / (L - 1) of them, least = B / beta
// and most = 2 B - least; where the prompt has no more than `most` rows before its last queries,
// most is their number, and where least would be fewer than these queries all layers keep B.
#pragma once

#include <cmath>

#include "cairn/cache/keep/scorer_over.hpp"
#include "cairn/cache/keep/snapkv.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a pyramid is made of.
struct PyramidShape {
    int layers = 1;
    int beta = 20;    ///< how many times fewer rows the last layer keeps than the average
    int window = 32;  ///< the prompt's last queries, which no layer does without
};

/// Any scorer that chooses at a prompt's end, its budget falling by layer.
class FallingBudgets final : public ScorerOver {
  public:
    /// Error{invalid_argument} for a shape that cannot be.
    FallingBudgets(std::shared_ptr<const Scorer> inner, PyramidShape shape)
        : ScorerOver(std::move(inner)), shape_(shape) {
        require(shape.layers > 0 && shape.beta > 0 && shape.window >= 0,
                ErrorCode::invalid_argument, "pyramidkv: ", shape.layers, " layers, beta ",
                shape.beta, ", a window of ", shape.window);
    }
    int budget_of(int kv_head, int layer, int prompt_end) const override {
        const int average = over().budget_of(kv_head, layer, prompt_end);
        const double before = prompt_end - shape_.window;
        double least = static_cast<double>(average) / shape_.beta;
        double most = 2.0 * average - least;
        if (most >= before) {
            most = before;
            least = 2.0 * average - most;
        }
        if (!(prompt_end >= most && most >= least && least >= shape_.window)) return average;
        const double steps = shape_.layers > 1 ? (most - least) / (shape_.layers - 1) : 0.0;
        const double fallen = steps * layer;  // no product is added to anything
        return static_cast<int>(std::nearbyint(rounded_away(most, fallen)));
    }
    std::string name() const override {
        return "pyramidkv of " + over().name() + ",beta=" + std::to_string(shape_.beta) +
               ",layers=" + std::to_string(shape_.layers);
    }

  private:
    // Not inlined: a compiler might multiply and subtract in one.
    [[gnu::noinline]] static double rounded_away(double most, double fallen) noexcept {
        return most - fallen;
    }
    PyramidShape shape_;
};

/// PyramidKV as the second argument of KvCache. A cache that was not told its model's layers keeps
/// the average.
template <int rows>
struct PyramidKv {
    static_assert(rows > 0, "PyramidKv<budget>: at least one row stays.");
    int budget = rows;  ///< of a layer, on average
    int beta = 20;

    static constexpr bool by_layer = true;  ///< layers have budgets of their own
    static constexpr std::string_view word = "pyramidkv";
    static constexpr std::string_view help =
        "once, at the prompt's end: what its last queries looked at, fewer rows in higher layers";
    static constexpr KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the rows that stay, on average over layers", 1, Given::always},
              self.budget);
        visit(Option{"beta", "how many times fewer the last layer keeps", 1}, self.beta);
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout& layout) const {
        std::shared_ptr<const Scorer> inner = std::make_shared<ObservedRows>(budget);
        if (layout.layers < 2) return inner;
        return std::make_shared<FallingBudgets>(
            std::move(inner), PyramidShape{.layers = layout.layers, .beta = beta});
    }
};

}}  // namespace cairn
