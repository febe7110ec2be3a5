// Beam search: beams are forks of one session, so that over paged caches they share all rows but
// their own last ones. Also independent samples from one prompt.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "cairn/core/fp_environment.hpp"
#include "cairn/generate/generate.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// How a beam search runs.
struct BeamSettings {
    int beams = 4;
    int best = 1;  ///< texts to return, at most `beams`
    int max_tokens = 128;
    /// Scores are log-probability / length^penalty; above 0 longer texts gain.
    double length_penalty = 1.0;
    /// Ends once beams * patience texts are finished (CTranslate2's and Kasai et al.'s meaning).
    double patience = 1.0;
    std::vector<Token> end_of_text{};
};

/// One finished text.
struct BeamText {
    std::vector<Token> tokens;
    double log_probability = 0.0;
    double score = 0.0;
};

namespace internal {

inline void check_beams(const BeamSettings& s) {
    require(s.beams > 0 && s.best > 0 && s.best <= s.beams && s.max_tokens >= 0 &&
                s.patience > 0.0 && s.patience <= 1e6 && s.length_penalty >= -1e6 &&
                s.length_penalty <= 1e6,
            ErrorCode::invalid_argument, "beam search: ", s.beams, " beams, best ", s.best,
            ", max_tokens ", s.max_tokens, ", patience ", s.patience, ", length_penalty ",
            s.length_penalty);
}

// The beams of a search, and the texts that have ended.
template <class S>
class BeamSearch {
  public:
    /// One beam: the session, whose last logits are given.
    BeamSearch(S& session, std::span<const float> logits, const BeamSettings& settings)
        : session_(session),
          settings_(settings),
          wanted_(static_cast<std::size_t>(
              std::max(1.0, std::floor(settings.beams * settings.patience)))) {
        beams_.push_back({session.fork(), {}, 0.0, {logits.begin(), logits.end()}});
    }
    /// Whether enough texts have ended.
    bool done() const { return finished_.size() >= wanted_; }
    /// Whether no beam can be fed another token.
    bool full() const {
        return beams_.front().session.position() >= beams_.front().session.capacity();
    }
    /// Takes the best texts that are one token longer. False, and the beams are as they were, when
    /// the search is over by it.
    bool extend() {
        std::vector<Beam> next;
        for (const Step& step : offers()) {
            if (next.size() == static_cast<std::size_t>(settings_.beams)) break;
            std::vector<Token> tokens = beams_[step.beam].tokens;
            tokens.push_back(step.token);
            const auto& ends = settings_.end_of_text;
            if (std::find(ends.begin(), ends.end(), step.token) != ends.end()) {
                finish(std::move(tokens), step.log_probability);
                if (done()) break;
                continue;
            }
            next.push_back({beams_[step.beam].session.fork(), std::move(tokens),
                            step.log_probability,
                            std::vector<float>(beams_[step.beam].logits.size())});
        }
        if (done() || next.empty()) return false;
        beams_ = std::move(next);
        return true;
    }
    /// Feeds every beam its last token, in one forward.
    void feed() {
        std::vector<Slice> slices;
        for (Beam& beam : beams_)
            slices.push_back({&beam.session,
                              {&beam.tokens.back(), 1},
                              LogitRows::last,
                              beam.logits.data(),
                              nullptr});
        forward(session_.model(), slices, session_.context()).accept_all();
    }
    /// The best texts: those that have ended, and the beams where these are too few.
    std::vector<BeamText> best() && {
        if (!done())
            for (Beam& beam : beams_) finish(std::move(beam.tokens), beam.log_probability);
        std::stable_sort(finished_.begin(), finished_.end(),
                         [](const BeamText& a, const BeamText& b) { return a.score > b.score; });
        finished_.resize(std::min(finished_.size(), static_cast<std::size_t>(settings_.best)));
        return std::move(finished_);
    }

  private:
    struct Beam {
        S session;
        std::vector<Token> tokens;
        double log_probability;
        std::vector<float> logits;
    };
    struct Step {
        double log_probability;
        std::size_t beam;
        Token token;
    };
    // The best next tokens of every beam, best first; enough that ended ones can be replaced.
    std::vector<Step> offers() {
        std::vector<Step> steps;
        const std::size_t most = std::min<std::size_t>(
            beams_.front().logits.size(),
            static_cast<std::size_t>(settings_.beams) + settings_.end_of_text.size());
        for (std::size_t b = 0; b < beams_.size(); ++b) {
            forbid_unused(session_.model(), beams_[b].logits);
            Candidates candidates;
            candidates.load(beams_[b].logits);
            candidates.softmax();
            candidates.keep_best(most);
            for (const Candidate& c : candidates.list)
                if (c.probability > 0.0)
                    steps.push_back(
                        {beams_[b].log_probability + elementary::log(c.probability), b, c.id});
        }
        std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
            return a.log_probability > b.log_probability;
        });
        return steps;
    }
    void finish(std::vector<Token> tokens, double log_probability) {
        const double length = static_cast<double>(std::max<std::size_t>(tokens.size(), 1));
        const double score =
            log_probability / elementary::exp(settings_.length_penalty * elementary::log(length));
        finished_.push_back({std::move(tokens), log_probability, score});
    }

    S& session_;
    const BeamSettings& settings_;
    std::size_t wanted_;  // texts that end the search
    std::vector<Beam> beams_;
    std::vector<BeamText> finished_;
};

}  // namespace internal

/// The best continuations of a prompt by beam search, best first. Deterministic: ties go to the
/// earlier beam and the lower token. The session is left as the prompt was fed. All beams advance
/// in one forward. Ids that pad the model's vocabulary are in no text. Throws what generate throws;
/// needs a cache that forks.
template <class S>
std::vector<BeamText> beam_search(S& session, Tokens prompt, const BeamSettings& settings) {
    const FpEnvironment environment;
    internal::check_beams(settings);
    require(!prompt.empty(), ErrorCode::empty_prompt, "beam search: the prompt has no tokens");
    internal::check_prompt(session, prompt);
    session.expect_prompt(prompt.size());
    internal::BeamSearch<S> search(session, session.prefill(prompt), settings);
    for (int length = 0; length < settings.max_tokens && !search.done(); ++length) {
        if (!search.extend() || length + 1 == settings.max_tokens || search.full()) break;
        search.feed();
    }
    return std::move(search).best();
}

/// `samplers.size()` independent continuations of one prompt, which is fed once; over a paged cache
/// they share its blocks. Text i is what generate gives with samplers[i] alone. All advance in one
/// forward. The session is left as the prompt was fed. Throws what generate throws.
template <class S, Sampler P>
std::vector<std::vector<Token>> parallel_samples(S& session, Tokens prompt,
                                                 std::vector<P>& samplers, const Limits& limits) {
    require(limits.max_tokens >= 0, ErrorCode::invalid_argument, "parallel samples: max_tokens ",
            limits.max_tokens);
    require(!prompt.empty(), ErrorCode::empty_prompt, "parallel samples: the prompt has no tokens");
    internal::check_prompt(session, prompt);
    session.expect_prompt(prompt.size());
    const std::span<const float> first = session.prefill(prompt);
    struct Sample {
        S session;
        std::vector<Token> text;
        std::vector<float> logits;
        bool done = false;
    };
    std::vector<Sample> samples;
    samples.reserve(samplers.size());
    std::vector<Token> before = limits.history;
    before.insert(before.end(), prompt.begin(), prompt.end());
    for (std::size_t i = 0; i < samplers.size(); ++i)
        samples.push_back(
            {session.fork(), before, {first.begin(), first.end()}, limits.max_tokens == 0});
    internal::Choice choice;
    for (int length = 0; length < limits.max_tokens; ++length) {
        std::vector<Slice> slices;
        for (std::size_t i = 0; i < samples.size(); ++i) {
            Sample& sample = samples[i];
            if (sample.done) continue;
            internal::forbid_unused(session.model(), sample.logits);
            const Token token = choice.choose(session.model(), sample.logits, sample.text,
                                              samplers[i], limits.on_logits);
            sample.text.push_back(token);
            const auto& ends = limits.end_of_text;
            sample.done = std::find(ends.begin(), ends.end(), token) != ends.end() ||
                          length + 1 == limits.max_tokens ||
                          sample.session.position() >= sample.session.capacity();
            if (!sample.done)
                slices.push_back({&sample.session,
                                  {&sample.text.back(), 1},
                                  LogitRows::last,
                                  sample.logits.data(),
                                  nullptr});
        }
        if (slices.empty()) break;
        forward(session.model(), slices, session.context()).accept_all();
    }
    std::vector<std::vector<Token>> result;
    for (Sample& sample : samples)
        result.emplace_back(sample.text.begin() + static_cast<std::ptrdiff_t>(before.size()),
                            sample.text.end());
    return result;
}

// Steps alone are no sampler.
template <class S, SamplerStep P>
requires(!Sampler<P>)
std::vector<std::vector<Token>> parallel_samples(S&, Tokens, std::vector<P>&, const Limits&) {
    static_assert(sizeof(P) == 0,
                  "parallel_samples: a sampler chain ends with what picks the token: "
                  "temperature(0.8f) | draw(seed), or top_k(40) | greedy().");
    return {};
}

}}  // namespace cairn
