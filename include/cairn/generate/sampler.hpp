// Samplers: from the logits of a row to one token. Steps (sampler_steps.hpp) are joined by |, the
// last one picks:
//   temperature(0.8f) | top_p(0.9f) | draw(7)
// All arithmetic is in double with the library's own functions, sums run in a fixed order, and ties
// go to the lower id: the same seed gives the same text on every machine.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "cairn/core/fp_environment.hpp"
#include "cairn/core/types.hpp"
#include "cairn/numeric/elementary.hpp"
#include "cairn/numeric/random.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A token that may still be chosen.
struct Candidate {
    Token id;
    double logit;
    double probability;  ///< valid after Candidates::softmax
};

/// What the steps of a chain hand on. Kept by the sampler, so that sampling allocates only once.
class Candidates {
  public:
    /// Takes a row of logits. Error{non_finite} for NaN, or if every logit is -infinity.
    void load(std::span<const float> logits) {
        require(!logits.empty(), ErrorCode::invalid_argument, "sampling: no logits");
        list.resize(logits.size());
        for (std::size_t i = 0; i < logits.size(); ++i) {
            require(logits[i] == logits[i], ErrorCode::non_finite, "sampling: the logit of token ",
                    i, " is NaN");
            list[i] = {static_cast<Token>(i), static_cast<double>(logits[i]), 0.0};
        }
        sorted_ = false;
        vocabulary_ = logits.size();
        require_choice();
    }
    /// Logits of the row that was taken; ids are below this. 0: none was.
    std::size_t vocabulary() const noexcept { return vocabulary_; }
    /// Error{non_finite} if nothing can be chosen, or a step made a logit NaN.
    void require_choice() const {
        bool any = false;
        for (const Candidate& c : list) {
            require(c.logit == c.logit, ErrorCode::non_finite,
                    "sampling: a step made the logit of token ", c.id, " NaN");
            any = any || c.logit > -std::numeric_limits<double>::infinity();
        }
        require(any, ErrorCode::non_finite, "sampling: every logit is -infinity");
    }
    /// Highest logit first, ties by id.
    void sort() {
        if (!sorted_) std::sort(list.begin(), list.end(), before);
        sorted_ = true;
    }
    /// Keeps the n best, in order: what sorting all and keeping n gives, for less.
    void keep_best(std::size_t n) {
        n = std::clamp<std::size_t>(n, 1, list.size());
        if (!sorted_)
            std::partial_sort(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(n),
                              list.end(), before);
        sorted_ = true;
        keep(n);
    }
    /// Fills the probabilities (of the candidates left). An infinite logit takes it all.
    void softmax() {
        const FpEnvironment environment;
        double most = -std::numeric_limits<double>::infinity();
        for (const Candidate& c : list) most = std::max(most, c.logit);
        double sum = 0.0;
        for (Candidate& c : list) {
            c.probability = c.logit == most ? 1.0
                            : most == std::numeric_limits<double>::infinity()
                                ? 0.0
                                : elementary::exp(c.logit - most);
            sum += c.probability;
        }
        for (Candidate& c : list) c.probability /= sum;
    }
    /// Keeps the first n.
    void keep(std::size_t n) {
        n = std::max<std::size_t>(n, 1);
        if (n < list.size()) list.erase(list.begin() + static_cast<std::ptrdiff_t>(n), list.end());
    }
    /// After a step changed logits.
    void logits_changed() noexcept { sorted_ = false; }
    static bool before(const Candidate& a, const Candidate& b) noexcept {
        return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
    }

    std::vector<Candidate> list;

  private:
    bool sorted_ = false;
    std::size_t vocabulary_ = 0;
};

/// One step of a chain: changes or drops candidates, seeing the tokens so far.
template <class S>
concept SamplerStep =
    requires(S step, Candidates& candidates, Tokens history) { step.apply(candidates, history); };
/// What ends a chain: picks one candidate.
template <class P>
concept SamplerPick = requires(P pick, Candidates& candidates) {
    { pick.pick(candidates) } -> std::same_as<Token>;
};
/// Anything that turns logits and the tokens so far into a token.
template <class S>
concept Sampler = requires(S sampler, std::span<const float> logits, Tokens history) {
    { sampler(logits, history) } -> std::same_as<Token>;
};

/// A pick that shows its law: the probabilities by which it takes a candidate, and the two draws
/// that speculative sampling makes of them (generate/speculative.hpp).
template <class P>
concept LawfulPick = SamplerPick<P> && requires(P pick, Candidates& candidates, double p) {
    /// Fills the probabilities.
    pick.law(candidates);
    /// One candidate by the probabilities as they stand, which sum to 1.
    { pick.take(candidates) } -> std::same_as<Token>;
    /// True with probability p.
    { pick.chance(p) } -> std::same_as<bool>;
};
/// A sampler that shows the law of its tokens. `take(law(logits, history))` is what it returns for
/// them. What `law` returns is valid until the next call.
template <class S>
concept LawfulSampler = Sampler<S> && requires(S sampler, std::span<const float> logits,
                                               Tokens history, Candidates& law, double p) {
    { sampler.law(logits, history) } -> std::same_as<Candidates&>;
    { sampler.take(law) } -> std::same_as<Token>;
    { sampler.chance(p) } -> std::same_as<bool>;
};

/// Steps one after another.
template <SamplerStep First, SamplerStep Second>
struct StepChain {
    First first;
    Second second;
    void apply(Candidates& candidates, Tokens history) {
        first.apply(candidates, history);
        second.apply(candidates, history);
    }
};
/// Steps and a pick: a Sampler.
template <SamplerStep Steps, SamplerPick Pick>
class SamplerChain {
  public:
    SamplerChain(Steps steps, Pick pick) : steps_(std::move(steps)), pick_(std::move(pick)) {}
    /// Throws Error{non_finite} if the logits hold NaN or nothing can be chosen.
    Token operator()(std::span<const float> logits, Tokens history) {
        const FpEnvironment environment;
        return pick_.pick(left(logits, history));
    }
    /// The candidates that the steps leave, with the probabilities of the pick. Throws as above.
    Candidates& law(std::span<const float> logits, Tokens history)
    requires LawfulPick<Pick>
    {
        const FpEnvironment environment;
        left(logits, history);
        pick_.law(candidates_);
        return candidates_;
    }
    Token take(Candidates& law)
    requires LawfulPick<Pick>
    {
        return pick_.take(law);
    }
    bool chance(double p)
    requires LawfulPick<Pick>
    {
        return pick_.chance(p);
    }

    /// What picks at the end: its random state is part of a saved session.
    Pick& picker() noexcept { return pick_; }

  private:
    Candidates& left(std::span<const float> logits, Tokens history) {
        candidates_.load(logits);
        steps_.apply(candidates_, history);
        candidates_.require_choice();
        return candidates_;
    }
    Steps steps_;
    Pick pick_;
    Candidates candidates_;
};

/// Two steps as one.
template <SamplerStep A, SamplerStep B>
StepChain<A, B> operator|(A first, B second) {
    return {std::move(first), std::move(second)};
}
/// Steps and what picks at their end: a sampler.
template <SamplerStep A, SamplerPick B>
SamplerChain<A, B> operator|(A steps, B pick) {
    return {std::move(steps), std::move(pick)};
}

/// The highest logit; ties to the lower id. By itself a Sampler.
struct Greedy {
    Token pick(Candidates& candidates) {
        return std::min_element(candidates.list.begin(), candidates.list.end(), Candidates::before)
            ->id;
    }
    /// All of it on the best.
    void law(Candidates& candidates) {
        candidates.keep_best(1);
        candidates.list.front().probability = 1.0;
    }
    /// The most probable; ties to the lower id.
    Token take(Candidates& candidates) {
        return std::min_element(candidates.list.begin(), candidates.list.end(),
                                [](const Candidate& a, const Candidate& b) {
                                    return a.probability > b.probability ||
                                           (a.probability == b.probability && a.id < b.id);
                                })
            ->id;
    }
    bool chance(double p) { return p >= 1.0; }
    Token operator()(std::span<const float> logits, Tokens) {
        Token best = -1;
        for (std::size_t i = 0; i < logits.size(); ++i) {
            require(logits[i] == logits[i], ErrorCode::non_finite, "sampling: the logit of token ",
                    i, " is NaN");
            if (logits[i] > -std::numeric_limits<float>::infinity() &&
                (best < 0 || logits[i] > logits[static_cast<std::size_t>(best)]))
                best = static_cast<Token>(i);
        }
        require(best >= 0, ErrorCode::non_finite, "sampling: every logit is -infinity");
        return best;
    }
};
/// Draws by probability. By itself a Sampler.
class Draw {
  public:
    explicit Draw(std::uint64_t seed) noexcept : random_(seed) {}
    Token pick(Candidates& candidates) {
        law(candidates);
        return take(candidates);
    }
    void law(Candidates& candidates) { candidates.softmax(); }
    Token take(Candidates& candidates) {
        const double u = random_.uniform();
        double sum = 0.0;
        Token last = -1;
        for (const Candidate& c : candidates.list) {
            if (c.probability <= 0.0) continue;
            sum += c.probability;
            last = c.id;
            if (u < sum) break;
        }
        return last;
    }
    bool chance(double p) { return random_.uniform() < p; }
    Token operator()(std::span<const float> logits, Tokens) {
        candidates_.load(logits);
        return pick(candidates_);
    }
    Random& random() noexcept { return random_; }

  private:
    Random random_;
    Candidates candidates_;
};

/// Picks the highest logit.
inline Greedy greedy() { return {}; }
/// Picks by probability, from a generator of its own.
inline Draw draw(std::uint64_t seed) { return Draw(seed); }

}}  // namespace cairn
