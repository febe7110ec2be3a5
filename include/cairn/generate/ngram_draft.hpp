// Guesses without a model: where the last tokens stood before in the text, what followed them then
// is likely to follow them now (prompt lookup: Saxena 2023; Yang et al. 2023, arXiv 2304.04487).
#pragma once

#include <algorithm>
#include <cstdint>

#include "cairn/generate/draft.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Where each run of n tokens ended last in a text. A table of places in the text, open addressing;
// the tokens themselves are compared, so hashes may collide.
class NgramTable {
  public:
    explicit NgramTable(int length) : length_(length) {}
    int length() const noexcept { return length_; }
    void clear() noexcept {
        used_ = 0;
        std::fill(ends_.begin(), ends_.end(), 0);
    }
    /// The last known end of the run that ends at `end`; 0 if it is new.
    int find(Tokens text, int end) const noexcept {
        return end < length_ || ends_.empty() ? 0 : ends_[slot(text, end)];
    }
    /// From now on the run stands where it ends at `end`.
    void set(Tokens text, int end) {
        if (end < length_) return;
        if (2 * (used_ + 1) > ends_.size()) grow(text);
        int& at = ends_[slot(text, end)];
        if (at == 0) ++used_;
        at = end;
    }

  private:
    std::size_t slot(Tokens text, int end) const noexcept {
        const Token* run = text.data() + end - length_;
        std::uint64_t hash = 0;
        for (int i = 0; i < length_; ++i)
            hash = (hash ^ static_cast<std::uint64_t>(run[i])) * 0x9E3779B97F4A7C15ULL,
            hash ^= hash >> 29;
        const std::size_t mask = ends_.size() - 1;
        for (std::size_t at = hash & mask;; at = (at + 1) & mask)
            if (ends_[at] == 0 || std::equal(run, run + length_, text.data() + ends_[at] - length_))
                return at;
    }
    void grow(Tokens text) {
        std::vector<int> old(std::max<std::size_t>(64, 4 * ends_.size()));
        old.swap(ends_);
        for (const int end : old)
            if (end != 0) ends_[slot(text, end)] = end;
    }
    int length_;
    std::size_t used_ = 0;
    std::vector<int> ends_;  // a power of two; 0: free
};

}  // namespace internal

/// Guesses what followed the last place where the text's last `longest` tokens stood, or fewer of
/// them, down to `shortest`. The outlook grows with the length of what was found.
class NgramDraft final : public Draft {
  public:
    /// Error{invalid_argument} unless 1 <= shortest <= longest <= shortest + 7.
    explicit NgramDraft(int shortest = 2, int longest = 6) {
        require(shortest >= 1 && shortest <= longest && longest - shortest < outlooks,
                ErrorCode::invalid_argument, "n-gram draft of ", shortest, " to ", longest,
                " tokens");
        for (int n = shortest; n <= longest; ++n) tables_.emplace_back(n);
    }
    int outlook(Tokens text) override {
        learn(text);
        for (std::size_t i = tables_.size(); i-- > 0;)
            if ((found_ = tables_[i].find(text, static_cast<int>(text.size()))) > 0)
                return static_cast<int>(i);
        return -1;
    }
    void draft(DraftRound& round) override {
        if (outlook(round.text()) < 0) return;
        // Beyond the text's end the guesses go on themselves: a text that repeats goes on to.
        for (int at = found_; round.left() > 0; ++at)
            round.guess(round.text()[static_cast<std::size_t>(at)]);
    }

  private:
    // Runs that end before the text's last token are known; the last token's own are looked up.
    void learn(Tokens text) {
        if (known_.size() > text.size() ||
            !std::equal(known_.begin(), known_.end(), text.begin())) {
            known_.clear();
            learnt_ = 0;
            for (auto& table : tables_) table.clear();
        }
        known_.insert(known_.end(), text.begin() + static_cast<std::ptrdiff_t>(known_.size()),
                      text.end());
        for (; learnt_ + 1 < static_cast<int>(text.size()); ++learnt_)
            for (auto& table : tables_) table.set(text, learnt_ + 1);
    }
    std::vector<internal::NgramTable> tables_;
    std::vector<Token> known_;
    int learnt_ = 0;  // runs that end at most here are in the tables
    int found_ = 0;   // where the last look-up's run ended before
};

}}  // namespace cairn
