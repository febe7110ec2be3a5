// What guesses the next tokens of a text, so that a model can check several at once. A guess that
// is wrong costs time and changes nothing (generate/speculative.hpp).
#pragma once

#include <span>
#include <vector>

#include "cairn/core/error.hpp"
#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The guesses of one round, as a draft fills them in: tokens that it knows, or rows of logits of
/// its own, from which the sampler of the generation chooses.
class DraftRound {
  public:
    DraftRound(const DraftRound&) = delete;
    DraftRound& operator=(const DraftRound&) = delete;
    /// All tokens so far, the guesses of this round included: prompt and output, and
    /// Limits::history before them.
    Tokens text() const noexcept { return text_; }
    /// Guesses of this round.
    int guesses() const noexcept { return guesses_; }
    /// How many more may come; a draft may always stop before.
    int left() const noexcept { return most_ - guesses_; }
    /// A guess without a law. Error{invalid_argument} where none is left, token_range.
    void guess(Token token) {
        check();
        require(token >= 0 && token < vocabulary_, ErrorCode::token_range, "draft: token ", token,
                ", not in 0..", vocabulary_ - 1);
        known(token);
        add(token);
    }
    /// A guess from the draft's own logits [vocabulary], as the whole chain of the sampler takes
    /// it. Error{model_mismatch} for a row of another width, and what the sampler throws.
    Token pick(std::span<const float> logits) {
        check();
        require(logits.size() == static_cast<std::size_t>(vocabulary_), ErrorCode::model_mismatch,
                "draft: a row of ", logits.size(), " logits for a model of ", vocabulary_,
                " tokens");
        const Token token = choose(logits);
        add(token);
        return token;
    }

  protected:
    /// Guesses go behind `text`, at most `most`, and are taken away from it when the round ends.
    DraftRound(std::vector<Token>& text, int most, int vocabulary) noexcept
        : text_(text), most_(most), vocabulary_(vocabulary) {}
    ~DraftRound() { text_.resize(text_.size() - static_cast<std::size_t>(guesses_)); }
    virtual Token choose(std::span<const float> logits) = 0;
    virtual void known(Token token) = 0;

  private:
    void check() const {
        require(left() > 0, ErrorCode::invalid_argument, "draft: more than ", most_, " guesses");
    }
    void add(Token token) {
        text_.push_back(token);
        ++guesses_;
    }
    std::vector<Token>& text_;
    int most_;
    int vocabulary_;
    int guesses_ = 0;
};

/// A draft. It sees texts that only grow, until one of another prompt comes. What it throws ends
/// the generation, whose session is then as without a draft.
class Draft {
  public:
    virtual ~Draft() = default;
    /// How promising guesses behind `text` are, the greater the more: statistics are kept for each
    /// of the numbers 0 to `outlooks` - 1 apart. Below 0: there is nothing to guess. Asked before
    /// every token, so it has to be cheap.
    virtual int outlook(Tokens text) {
        (void)text;
        return 0;
    }
    static constexpr int outlooks = 8;
    /// Gets ready for guesses behind `text`: called behind the prompt, and before every round that
    /// guesses.
    virtual void follow(Tokens text) { (void)text; }
    /// Guesses; none is an answer.
    virtual void draft(DraftRound& round) = 0;
};

}}  // namespace cairn
