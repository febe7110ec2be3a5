// DuoAttention (Xiao et al. 2024, arXiv 2410.10819): some heads look far back, most do not. The
// first keep every row, the others only the first rows and the last ones. Which heads are which is
// measured once a model (calibrate_heads in cairn/models/calibrate_heads.hpp, or the authors'
// full_attention_heads.tsv) and stands in a small file.
#pragma once

#include <algorithm>
#include <vector>

#include "cairn/cache/seam/head_scores.hpp"
#include "cairn/cache/seam/keep_policy.hpp"
#include "cairn/core/fingerprint.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Full heads keep all rows, the others the first `sinks` and the last `recent` ones.
class SplitHeads final : public Scorer {
  public:
    /// `full` is [layers][kv_heads]; a layer beyond has no full head. No layers: no head
    /// is full. Error{invalid_argument}.
    SplitHeads(std::vector<bool> full, int kv_heads, int sinks, int recent)
        : full_(std::move(full)), kv_heads_(kv_heads), sinks_(sinks), recent_(recent) {
        require(kv_heads > 0 && sinks >= 0 && recent > 0 &&
                    full_.size() % static_cast<std::size_t>(kv_heads) == 0,
                ErrorCode::invalid_argument, "duo: ", full_.size(), " heads of layers of ",
                kv_heads, ", ", sinks, " sinks, ", recent, " recent rows");
    }
    int budget(int) const override { return sinks_ + recent_; }
    int budget_of(int kv_head, int layer, int) const override {
        const auto at = static_cast<std::size_t>(layer) * static_cast<std::size_t>(kv_heads_) +
                        static_cast<std::size_t>(kv_head);
        return at < full_.size() && full_[at] ? row_limit : sinks_ + recent_;
    }
    Evicts when() const override { return Evicts::at_every_step; }
    bool listens(int, int) const override { return false; }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        const auto position = [&](int i) { return rows.positions[static_cast<std::size_t>(i)]; };
        const int first = std::min(sinks_, rows.budget);
        keep_best(rows, first, [&](int i) { return position(i) < sinks_; }, position, keep, order);
        keep_best(rows, rows.budget - first, [](int) { return true; }, position, keep, order);
    }
    std::string name() const override {
        std::string text = "duo=" + std::to_string(recent_) + ",sinks=" + std::to_string(sinks_);
        // A label of a file is short, and heads are many.
        Fingerprint heads;
        for (const bool full : full_) heads.add(full ? 1U : 0U);
        return text.append(",of=").append(std::to_string(heads.value()));
    }

  private:
    std::vector<bool> full_;
    int kv_heads_;
    int sinks_;
    int recent_;
};

/// DuoAttention as the second argument of KvCache. The template's number is the setting's default.
template <int last>
struct DuoAttention {
    static_assert(last > 0, "DuoAttention<recent>: at least one recent row must stay.");
    int recent = last;   ///< rows that a head keeps that is not full
    int sinks = 4;       ///< and first ones
    int full = 50;       ///< percent of the model's KV heads that keep all
    HeadScores heads{};  ///< by which these are chosen

    static constexpr bool by_layer = true;  ///< layers have budgets of their own
    static constexpr std::string_view word = "duo";
    static constexpr std::string_view help =
        "every row in heads that need them, the first and last ones in the others";
    static constexpr KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the recent rows of heads that do not keep all", 1, Given::always},
              self.recent);
        visit(Option{"sinks", "their first rows that stay"}, self.sinks);
        visit(Option{"full", "percent of heads that keep all"}, self.full);
        visit(Option{"heads", "file of scores of heads"}, self.heads);
    }
    std::string_view wrong() const noexcept {
        if (full < 0 || full > 100) return "0 to 100 percent of heads keep all rows";
        return heads.layers > 0 || full == 0 ? "" : "heads=FILE says which heads keep all rows";
    }
    /// Error{shape_mismatch} for scores of another model.
    std::shared_ptr<const Scorer> scorer(const HeadLayout& layout) const {
        require(heads.layers == 0 ||
                    (heads.scores.size() == static_cast<std::size_t>(heads.layers) *
                                                static_cast<std::size_t>(layout.kv_heads) &&
                     (layout.layers == 0 || layout.layers == heads.layers)),
                ErrorCode::shape_mismatch, "duo: ", heads.file, " scores ", heads.layers,
                " layers and ", heads.scores.size(), " heads; the model has ", layout.layers,
                " layers of ", layout.kv_heads);
        return std::make_shared<SplitHeads>(heads.best(full), layout.kv_heads, sinks, recent);
    }
};

}}  // namespace cairn
