// Beam search: beams are forks of one session, so that over paged caches they share all rows but
// their own last ones. Also independent samples from one prompt.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "cairn/core/fp_environment.hpp"
#include "cairn/generate/generate.hpp"

namespace cairn::inline CAIRN_ABI {

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

/// The best continuations of a prompt by beam search, best first. Deterministic: ties go to the
/// earlier beam and the lower token. The session is left as the prompt was fed. All beams advance
/// in one forward. Ids that pad the model's vocabulary are in no text. Throws what generate throws;
/// needs a cache that forks.
template <class S>
std::vector<BeamText> beam_search(S& session, Tokens prompt, const BeamSettings& settings) {
    const FpEnvironment environment;
    require(settings.beams > 0 && settings.best > 0 && settings.best <= settings.beams &&
                settings.max_tokens >= 0 && settings.patience > 0.0 && settings.patience <= 1e6 &&
                settings.length_penalty >= -1e6 && settings.length_penalty <= 1e6,
            ErrorCode::invalid_argument, "beam search: ", settings.beams, " beams, best ",
            settings.best, ", max_tokens ", settings.max_tokens, ", patience ", settings.patience,
            ", length_penalty ", settings.length_penalty);
    require(!prompt.empty(), ErrorCode::empty_prompt, "beam search: the prompt has no tokens");
    detail::check_prompt(session, prompt);
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
    session.expect_prompt(prompt.size());
    const std::span<const float> first = session.prefill(prompt);
    std::vector<Beam> beams;
    beams.push_back({session.fork(), {}, 0.0, {first.begin(), first.end()}});
    std::vector<BeamText> finished;
    const auto finish = [&](std::vector<Token> tokens, double log_probability) {
        const double length = static_cast<double>(std::max<std::size_t>(tokens.size(), 1));
        const double score =
            log_probability / elementary::exp(settings.length_penalty * elementary::log(length));
        finished.push_back({std::move(tokens), log_probability, score});
    };
    const auto enough =
        static_cast<std::size_t>(std::max(1.0, std::floor(settings.beams * settings.patience)));
    const auto vocabulary = static_cast<std::size_t>(session.model().vocabulary());
    for (int length = 0; length < settings.max_tokens && finished.size() < enough; ++length) {
        // Each beam offers its best tokens; enough that ended ones can be replaced.
        std::vector<Step> steps;
        const std::size_t offers = std::min<std::size_t>(
            vocabulary, static_cast<std::size_t>(settings.beams) + settings.end_of_text.size());
        for (std::size_t b = 0; b < beams.size(); ++b) {
            detail::forbid_unused(session.model(), beams[b].logits);
            Candidates candidates;
            candidates.load(beams[b].logits);
            candidates.softmax();
            candidates.keep_best(offers);
            for (const Candidate& c : candidates.list)
                if (c.probability > 0.0)
                    steps.push_back(
                        {beams[b].log_probability + elementary::log(c.probability), b, c.id});
        }
        std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
            return a.log_probability > b.log_probability;
        });
        std::vector<Beam> next;
        for (const Step& step : steps) {
            if (next.size() == static_cast<std::size_t>(settings.beams)) break;
            std::vector<Token> tokens = beams[step.beam].tokens;
            tokens.push_back(step.token);
            const auto& ends = settings.end_of_text;
            if (std::find(ends.begin(), ends.end(), step.token) != ends.end()) {
                finish(std::move(tokens), step.log_probability);
                if (finished.size() >= enough) break;
                continue;
            }
            next.push_back({beams[step.beam].session.fork(), std::move(tokens),
                            step.log_probability, std::vector<float>(vocabulary)});
        }
        if (finished.size() >= enough || next.empty()) break;
        beams = std::move(next);
        if (length + 1 == settings.max_tokens ||
            beams.front().session.position() >= beams.front().session.capacity())
            break;
        std::vector<Slice> slices;
        for (Beam& beam : beams)
            slices.push_back({&beam.session,
                              {&beam.tokens.back(), 1},
                              LogitRows::last,
                              beam.logits.data(),
                              nullptr});
        forward(session.model(), slices, session.context()).accept_all();
    }
    if (finished.size() < enough)
        for (Beam& beam : beams) finish(std::move(beam.tokens), beam.log_probability);
    std::stable_sort(finished.begin(), finished.end(),
                     [](const BeamText& a, const BeamText& b) { return a.score > b.score; });
    finished.resize(std::min(finished.size(), static_cast<std::size_t>(settings.best)));
    return finished;
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
    detail::check_prompt(session, prompt);
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
    detail::Choice choice;
    for (int length = 0; length < limits.max_tokens; ++length) {
        std::vector<Slice> slices;
        for (std::size_t i = 0; i < samples.size(); ++i) {
            Sample& sample = samples[i];
            if (sample.done) continue;
            detail::forbid_unused(session.model(), sample.logits);
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
requires(!Sampler<P>) std::vector<std::vector<Token>> parallel_samples(S&, Tokens, std::vector<P>&,
                                                                       const Limits&) {
    static_assert(sizeof(P) == 0,
                  "parallel_samples: a sampler chain ends with what picks the token: "
                  "temperature(0.8f) | draw(seed), or top_k(40) | greedy().");
    return {};
}

}  // namespace cairn::inline CAIRN_ABI
