// Which rows of a head stay where a keep chooses by score: the pinned ones, and of the others what
// the scorer chooses. Nothing here allocates once room was made.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cairn/cache/seam/archive.hpp"
#include "cairn/cache/seam/run.hpp"
#include "cairn/cache/seam/scorer.hpp"
#include "cairn/cache/internal/slots.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Ranges of positions that are never evicted.
using Pins = std::vector<std::pair<int, int>>;

/// Adds [begin, end) to pins. Error{invalid_argument, limit}; then nothing has changed.
inline void add_pin(Pins& pins, int begin, int end) {
    require(begin >= 0 && begin < end && end <= row_limit, ErrorCode::invalid_argument,
            "pin: rows ", begin, " to ", end, "; positions are 0 to ", row_limit);
    constexpr std::size_t most = std::size_t{1} << 16;
    require(pins.size() < most, ErrorCode::limit, "pin: ", most, " ranges of rows are pinned");
    pins.emplace_back(begin, end);
}
inline void archive_pins(CacheArchive& a, Pins& pins) {
    int count = static_cast<int>(pins.size());
    a.number("pins", count, 0, 1 << 16);
    pins.resize(static_cast<std::size_t>(count));
    for (auto& [begin, end] : pins) {
        a.number("pin", begin, 0, row_limit);
        a.number("pin", end, begin, row_limit);
    }
}

/// A scorer and the scratch of its choices.
class RowChoice {
  public:
    RowChoice(std::shared_ptr<const Scorer> scorer, int layer)
        : scorer_(std::move(scorer)), layer_(layer) {
        require(scorer_ != nullptr, ErrorCode::invalid_argument, "a keep without a scorer");
    }
    /// Scratch stays behind: whoever stages rows makes room for it.
    RowChoice(const RowChoice& other) : scorer_(other.scorer_), layer_(other.layer_) {}
    RowChoice(RowChoice&&) noexcept = default;
    RowChoice& operator=(const RowChoice&) = delete;
    RowChoice& operator=(RowChoice&&) noexcept = default;
    ~RowChoice() = default;

    const Scorer& scorer() const noexcept { return *scorer_; }
    /// Room for so many heads of `slots` slots, so that a choice allocates nothing.
    void reserve(std::size_t heads, std::size_t slots) {
        if (scorer_->spreads()) {
            held_.reserve(heads);
            budgets_.resize(heads);
            if (ranks_.size() < heads * slots) ranks_.resize(2 * heads * slots);
        }
        keep_.reserve(slots);
        choosable_.reserve(slots);
        distances_.reserve(slots);
        if (order_.size() < slots) order_.resize(2 * slots);
    }
    /// Rows of a head that may stay.
    int budget(int kv_head, int prompt_end) const {
        return scorer_->budget_of(kv_head, layer_, prompt_end);
    }
    int layer() const noexcept { return layer_; }
    /// Says how many rows each head may keep now, where they share a layer's budget. Scores are
    /// known.
    void share_out(const std::vector<Slots>& heads, int prompt_end, int length) noexcept {
        if (!scorer_->spreads()) return;
        held_.clear();
        std::size_t rows = 0;
        for (std::size_t h = 0; h < heads.size(); ++h) {
            const int of_head = static_cast<int>(h);
            budgets_[h] = budget(of_head, prompt_end);
            held_.push_back({of_head, layer_, prompt_end, length, budgets_[h],
                             std::span(heads[h].positions).first(heads[h].size()),
                             std::span(heads[h].scores).first(heads[h].size())});
            rows += heads[h].size();
        }
        scorer_->spread(held_, budgets_, std::span(ranks_).first(rows));
    }
    /// Frees the slots of a head's rows that are not chosen by score; returns whether more than one
    /// slot is free then. `length`: tokens fed.
    bool evict(Slots& head, int kv_head, const Pins& pins, int prompt_end, int length) noexcept {
        const int budget = scorer_->spreads() ? budgets_[static_cast<std::size_t>(kv_head)]
                                              : this->budget(kv_head, prompt_end);
        if (head.held <= budget) return false;
        choose(head, kv_head, pins, prompt_end, length, std::span(head.scores).first(head.size()),
               budget);
        return head.evict(keep_);
    }
    /// Frees the slot of the row whose signature is farthest from the `count` codes code_of(i),
    /// until the staged rows are committed.
    template <class CodeOf>
    void evict_farthest(Slots& head, int kv_head, const Pins& pins, int prompt_end, int length,
                        int count, const CodeOf& code_of) {
        if (length <= prompt_end || head.held <= budget(kv_head, prompt_end) || head.evicted >= 0)
            return;
        distances_.assign(head.size(), 0.0F);
        for (int i = 0; i < count; ++i) {
            const std::uint32_t code = code_of(i);
            for (std::size_t s = 0; s < head.size(); ++s)
                distances_[s] += static_cast<float>(std::popcount(code ^ head.signatures[s]));
        }
        choose(head, kv_head, pins, prompt_end, length, distances_, budget(kv_head, prompt_end));
        head.evict_one(keep_);
    }

  private:
    static bool pinned(const Pins& pins, int position) noexcept {
        return std::any_of(pins.begin(), pins.end(), [&](const auto& pin) {
            return position >= pin.first && position < pin.second;
        });
    }
    // keep_[] of a head's rows: the pinned ones, and of the others what the scorer chooses.
    void choose(const Slots& head, int kv_head, const Pins& pins, int prompt_end, int length,
                std::span<const float> scores, int budget) noexcept {
        keep_.assign(head.size(), 0);
        choosable_.assign(head.positions.begin(), head.positions.begin() + head.used);
        for (std::size_t s = 0; s < choosable_.size(); ++s)
            if (choosable_[s] >= 0 && pinned(pins, choosable_[s])) {
                keep_[s] = 1;
                choosable_[s] = -1;
                --budget;
            }
        if (budget > 0)
            scorer_->choose({kv_head, layer_, prompt_end, length, budget, choosable_, scores},
                            keep_, order_);
    }

    std::shared_ptr<const Scorer> scorer_;
    int layer_;
    std::vector<std::uint8_t> keep_;  // as large as the slots, all of them
    std::vector<int> choosable_;
    std::vector<int> order_;
    std::vector<float> distances_;
    std::vector<HeldRows> held_;  // of heads that share a budget
    std::vector<int> budgets_;
    std::vector<RankedRow> ranks_;
};

}}}  // namespace cairn::internal
