// Speculative sampling (Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023, arXiv
// 2302.01318): a draft guesses some tokens, one forward of the model checks them all, and those
// that come true stay. The text is the model's own, by law or even to the token.
#pragma once

#include <cstdint>
#include <new>
#include <optional>
#include <utility>

#include "cairn/core/fp_environment.hpp"
#include "cairn/generate/draft.hpp"
#include "cairn/generate/draft_length.hpp"
#include "cairn/generate/generate.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// When a guess comes true.
enum class GuessRule : std::uint8_t {
    /// Where the sampler, drawing as it would without a draft, draws the same token. The draft's
    /// guesses are drawn by a copy of the sampler, from the same random numbers. The text is that
    /// of `generate` for the same seed, token for token, whatever the draft.
    same_text,
    /// With probability min(1, p / q) of the sampler's law p and the draft's q, both after the
    /// whole chain; a guess that fails is replaced by a draw from max(0, p - q). The text has the
    /// law of `generate`; more guesses come true, but the seed's text depends on the lengths of
    /// the rounds. Needs a LawfulSampler.
    same_law
};
/// Whether rounds are as long as pays, by measured times, or all of the same length.
enum class GuessLengths : std::uint8_t { adaptive, fixed };

/// How to speculate.
struct SpeculationSettings {
    int guesses = 16;  ///< in a round, at most
    GuessLengths lengths = GuessLengths::adaptive;
    GuessRule rule = GuessRule::same_text;
};

/// What came out, and what became of the guesses.
struct SpeculativeGeneration : Generation {
    int rounds = 0;    ///< forwards that checked guesses
    int steps = 0;     ///< forwards of one token
    int guesses = 0;   ///< that were checked
    int accepted = 0;  ///< that came true
    double draft_seconds = 0.0;

    /// Guesses that came true, of 1; 0 without guesses.
    double acceptance() const noexcept {
        return guesses > 0 ? static_cast<double>(accepted) / guesses : 0.0;
    }
    /// Tokens a forward behind the prompt; 0 without one.
    double tokens_per_forward() const noexcept {
        const int forwards = rounds + steps;
        return forwards > 0 ? static_cast<double>(forwards + accepted) / forwards : 0.0;
    }
};

namespace internal {

/// The probability of a token under a law; 0 for one that is no candidate.
inline double probability_of(const std::vector<Candidate>& law, Token token) noexcept {
    for (const Candidate& c : law)
        if (c.id == token) return c.probability;
    return 0.0;
}
/// p := max(0, p - q), normalised: what is left to draw from when a guess of law q failed. False,
/// and p is as it was, where nothing is left: p and q are the same but for rounding.
inline bool take_away(Candidates& p, const std::vector<Candidate>& q, std::vector<double>& dense) {
    const FpEnvironment environment;
    dense.resize(p.vocabulary());
    for (const Candidate& c : q) dense[static_cast<std::size_t>(c.id)] = c.probability;
    const auto left = [&](const Candidate& c) {
        return std::max(0.0, c.probability - dense[static_cast<std::size_t>(c.id)]);
    };
    double sum = 0.0;
    for (const Candidate& c : p.list) sum += left(c);
    if (sum > 0.0)
        for (Candidate& c : p.list) c.probability = left(c) / sum;
    for (const Candidate& c : q) dense[static_cast<std::size_t>(c.id)] = 0.0;
    return sum > 0.0;
}

/// The sampler's side of a round: draws guesses from a draft's logits, and tokens from the model's.
template <Sampler P>
class Verdict {
  public:
    Verdict(P& sampler, GuessRule rule) : sampler_(sampler), rule_(rule) {
        require(rule == GuessRule::same_text || LawfulSampler<P>, ErrorCode::unsupported,
                "speculate: the sampler does not show the law of its tokens; take same_text");
    }
    void begin_round() noexcept {
        used_ = 0;
        copied_ = false;
    }
    /// A guess that came without a law.
    void known(Token token) {
        if (rule_ == GuessRule::same_law) next_law().assign(1, Candidate{token, 0.0, 1.0});
    }
    /// A guess from a row of the draft's logits.
    Token guess(std::span<const float> row, Tokens text) {
        if constexpr (LawfulSampler<P>)
            if (rule_ == GuessRule::same_law) {
                Candidates& law = sampler_.law(row, text);
                next_law() = law.list;
                return sampler_.take(law);
            }
        if (!std::exchange(copied_, true)) {
            if constexpr (std::is_copy_assignable_v<P>)
                if (copy_) *copy_ = sampler_;
            if (!copy_ || !std::is_copy_assignable_v<P>) copy_.emplace(sampler_);
        }
        return (*copy_)(row, text);
    }
    /// The token behind `text` by a row of the model, whose guess was `guessed` if there was one.
    Token token(std::span<const float> row, Tokens text, std::optional<Token> guessed,
                std::size_t index) {
        if constexpr (LawfulSampler<P>)
            if (rule_ == GuessRule::same_law && guessed) {
                const FpEnvironment environment;
                Candidates& law = sampler_.law(row, text);
                const double p = probability_of(law.list, *guessed);
                const double q = probability_of(laws_[index], *guessed);
                if (sampler_.chance(p < q ? p / q : 1.0)) return *guessed;
                return take_away(law, laws_[index], dense_) ? sampler_.take(law) : *guessed;
            }
        return sampler_(row, text);
    }

  private:
    std::vector<Candidate>& next_law() {
        if (used_ == laws_.size()) laws_.emplace_back();
        return laws_[used_++];
    }
    P& sampler_;
    GuessRule rule_;
    std::vector<std::vector<Candidate>> laws_;  // of this round's guesses, the first `used_`
    std::size_t used_ = 0;
    std::optional<P> copy_;  // draws guesses from the numbers that the sampler will draw from
    bool copied_ = false;
    std::vector<double> dense_;  // [vocabulary] of 0, between calls
};

/// One generation with a draft.
template <class S, Sampler P, class OnToken>
class SpeculativeLoop {
  public:
    SpeculativeLoop(S& session, P& sampler, Draft& draft, const SpeculationSettings& settings,
                    const Limits& limits, OnToken& on_token)
        : session_(session),
          sampler_(sampler),
          draft_(draft),
          settings_(settings),
          limits_(limits),
          on_token_(on_token),
          verdict_(sampler, settings.rule),
          length_(settings.guesses, limits.max_tokens) {
        for (int layer = 0; layer < session.model().layers(); ++layer)
            require(session.cache(layer).commits_part(), ErrorCode::unsupported,
                    "speculate: the cache of layer ", layer,
                    " chooses rows by score and cannot take back guesses");
        vocabulary_ = static_cast<std::size_t>(session.model().vocabulary());
        last_.resize(vocabulary_);
    }
    SpeculativeGeneration run(Tokens prompt) {
        check_generation(session_, prompt, limits_);
        require(limits_.caching == Caching::cached, ErrorCode::invalid_argument,
                "speculate: recomputing leaves nothing to check guesses with");
        text_ = limits_.history;
        text_.insert(text_.end(), prompt.begin(), prompt.end());
        result_.prompt_tokens = prompt.size();
        const PutLogitsBack put_back{*this};
        try {
            start_ = Clock::now();
            const std::span<const float> logits = feed_prompt(session_, prompt, limits_);
            if (limits_.max_tokens > 1) draft_.follow(text_);
            followed_ = text_.size();
            result_.prefill_seconds = since(start_);
            start_ = Clock::now();
            if (limits_.max_tokens == 0)
                end_ = StopReason::length;
            else
                emit(logits, {}, 0, session_.position());
            while (!end_) advance();
            result_.reason = *end_;
        } catch (const Error& error) {
            if (error.code() != ErrorCode::cancelled) throw;
            result_.reason = StopReason::cancelled;
        }
        return std::move(result_);
    }

  private:
    using Clock = std::chrono::steady_clock;
    using Open = decltype(std::declval<S&>().propose(Tokens(), nullptr));  // a Forward
    static double since(Clock::time_point from) {
        return std::chrono::duration<double>(Clock::now() - from).count();
    }
    // After a round the session's logits are a row of the round's: it has them when all is over.
    struct PutLogitsBack {
        SpeculativeLoop& loop;
        ~PutLogitsBack() {
            if (loop.row_ < 0) return;
            try {
                std::copy_n(loop.row_of(loop.row_), loop.vocabulary_, loop.last_.begin());
                loop.session_.restore(loop.session_.position(), std::move(loop.last_));
            } catch (const Error&) {  // a callback moved the session, or closed it
            }
        }
    };
    // What the draft fills in.
    class Round final : public DraftRound {
      public:
        Round(SpeculativeLoop& loop, int most)
            : DraftRound(loop.text_, most, static_cast<int>(loop.vocabulary_)),
              verdict_(loop.verdict_) {
            verdict_.begin_round();
        }

      private:
        Token choose(std::span<const float> logits) override {
            return verdict_.guess(logits, text());
        }
        void known(Token token) override { verdict_.known(token); }
        Verdict<P>& verdict_;
    };

    // One forward: of the last token alone, or with guesses behind it.
    void advance() {
        draft_time_ = late_ = 0.0;
        tokens_.clear();
        const int outlook = std::min(draft_.outlook(text_), Draft::outlooks - 1);
        if (outlook >= 0) guess(outlook);
        if (tokens_.size() > 1 && checked(outlook)) return;
        const auto start = Clock::now();
        const std::span<const float> logits = session_.decode(text_.back());
        row_ = -1;
        length_.step(since(start), draft_time_ + late_);
        ++result_.steps;
        emit(logits, {}, 0, session_.position());
    }
    // tokens_ := the last token and guesses behind it.
    void guess(int outlook) {
        tokens_.assign(1, text_.back());
        const auto wanted = limits_.max_tokens - static_cast<int>(result_.tokens.size()) - 1;
        const int room = std::min({wanted, session_.max_rows() - 1, settings_.guesses});
        const int most = settings_.lengths == GuessLengths::fixed ? std::max(room, 0)
                                                                  : length_.next(outlook, room);
        if (most == 0) return;
        const auto start = Clock::now();
        draft_.follow(text_);
        const double read = since(start);
        const auto behind = static_cast<int>(text_.size() - std::exchange(followed_, text_.size()));
        (behind > settings_.guesses + 1 ? late_ : draft_time_) += read;
        Round round(*this, most);
        draft_.draft(round);
        const Tokens all = round.text();
        tokens_.insert(tokens_.end(), all.end() - round.guesses(), all.end());
        draft_time_ += since(start) - read;
        result_.draft_seconds += draft_time_ + late_;
    }
    // Checks guesses. False where a forward of them all fails that one of a single token may not:
    // the pool of blocks has too few, or a guess leads to no numbers.
    bool checked(int outlook) {
        const auto start = Clock::now();
        std::optional<Open> open;
        try {
            if (logits_.size() < tokens_.size() * vocabulary_)
                logits_.resize(tokens_.size() * vocabulary_);
            open.emplace(session_.propose(tokens_, logits_.data()));
        } catch (const Error& error) {
            if (error.code() == ErrorCode::cancelled) throw;
            return false;
        } catch (const std::bad_alloc&) {
            return false;
        }
        const double check = since(start);
        const int guesses = static_cast<int>(tokens_.size()) - 1;
        const int held = session_.position();
        kept_ = 0;
        try {
            while (kept_ <= guesses && next_row(held)) {
            }
        } catch (...) {
            settle(*open);
            throw;
        }
        settle(*open);
        ++result_.rounds;
        result_.guesses += guesses;
        result_.accepted += kept_ - 1;
        if (settings_.lengths == GuessLengths::adaptive)
            length_.round(outlook, guesses, kept_ - 1, draft_time_, check, late_);
        return true;
    }
    // The token behind row kept_ of a round; whether it is the guess, and the text goes on.
    bool next_row(int held) {
        const auto index = static_cast<std::size_t>(kept_++);
        std::optional<Token> guess;
        if (index + 1 < tokens_.size()) guess = tokens_[index + 1];
        emit({row_of(kept_ - 1), vocabulary_}, guess, index, held + kept_);
        return !end_ && guess == text_.back();
    }
    void settle(Open& open) {
        open.accept(kept_);
        row_ = kept_ - 1;
    }
    const float* row_of(int row) const noexcept {
        return logits_.data() + static_cast<std::size_t>(row) * vocabulary_;
    }
    // Draws the token behind a row and hands it out, when the session holds `held` tokens.
    void emit(std::span<const float> logits, std::optional<Token> guess, std::size_t index,
              int held) {
        const std::span<const float> row = choice_.allowed(session_.model(), logits);
        const Token token = verdict_.token(
            choice_.hooked(session_.model(), row, text_, limits_.on_logits), text_, guess, index);
        check_token(session_.model(), token, "generate: the sampler chose");
        if (limits_.log_probabilities)
            result_.log_probabilities.push_back(log_probability(row, token));
        result_.tokens.push_back(token);
        text_.push_back(token);
        result_.decode_seconds = since(start_);
        const bool more = hand_out(on_token_, token);
        end_ = end_of(limits_, result_.tokens, more, held >= session_.capacity());
        if (!end_ && session_.context().cancel.stop_requested()) end_ = StopReason::cancelled;
    }

    S& session_;
    P& sampler_;
    Draft& draft_;
    const SpeculationSettings& settings_;
    const Limits& limits_;
    OnToken& on_token_;
    Verdict<P> verdict_;
    DraftLength length_;
    Choice choice_;
    SpeculativeGeneration result_;
    std::optional<StopReason> end_;
    std::size_t vocabulary_;
    std::vector<Token> text_;    // all tokens so far; the last one is not fed yet
    std::vector<Token> tokens_;  // of a round: the last token and its guesses
    std::vector<float> logits_;  // [tokens_][vocabulary]
    std::vector<float> last_;    // room for the row that the session has at the end
    int row_ = -1;               // of logits_: the last token's, where the session has none
    int kept_ = 0;               // rows of the round that stay
    std::size_t followed_ = 0;   // tokens of the text that the draft was shown
    double draft_time_ = 0.0, late_ = 0.0;
    Clock::time_point start_{};
};

}  // namespace internal

/// `generate` with a draft: the same checks, callbacks, reasons to end and errors, and the session
/// is left as `generate` leaves it at the same text. While guesses are checked the session is in
/// use: callbacks may read it, as it was before the round. The sampler is copied. A round whose
/// forward fails is done anew as a step of one token, unless it was cancelled or something else
/// than Error or std::bad_alloc was thrown. Error{unsupported} for a cache that chooses rows by
/// score and for GuessRule::same_law with a sampler that shows no law; Error{invalid_argument} for
/// settings without guesses and Caching::recompute; all before any work. What the draft throws
/// ends it, but Error{cancelled}, which is StopReason::cancelled.
template <class S, Sampler P, class OnToken>
SpeculativeGeneration speculate(S& session, Tokens prompt, P& sampler, Draft& draft,
                                const SpeculationSettings& settings, const Limits& limits,
                                OnToken&& on_token) {
    return internal::SpeculativeLoop<S, P, std::remove_reference_t<OnToken>>(
               session, sampler, draft, settings, limits, on_token)
        .run(prompt);
}

/// The same without a callback.
template <class S, Sampler P>
SpeculativeGeneration speculate(S& session, Tokens prompt, P& sampler, Draft& draft,
                                const SpeculationSettings& settings, const Limits& limits) {
    return speculate(session, prompt, sampler, draft, settings, limits, [](Token) {});
}

}}  // namespace cairn
