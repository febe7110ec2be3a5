// The steps of a sampler chain by their usual names, and the chain of them all from run-time
// settings.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "cairn/generate/sampler.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// logits / t. t = 0 means greedy: only the best candidate stays.
struct Temperature {
    double t;
    void apply(Candidates& c, Tokens) const {
        const FpEnvironment environment;
        if (t == 0.0) {
            c.keep_best(1);
            return;
        }
        for (Candidate& x : c.list) x.logit /= t;
    }
};
/// The k best; k = 0 keeps all.
struct TopK {
    int k;
    void apply(Candidates& c, Tokens) const {
        if (k == 0 || static_cast<std::size_t>(k) >= c.list.size()) return;
        c.keep_best(static_cast<std::size_t>(k));
    }
};
/// Nucleus (Holtzman et al. 2019): the fewest best candidates whose probabilities reach p.
struct TopP {
    double p;
    void apply(Candidates& c, Tokens) const {
        const FpEnvironment environment;
        if (p >= 1.0) return;
        c.sort();
        c.softmax();
        double sum = 0.0;
        std::size_t n = 0;
        while (n < c.list.size() && sum < p) sum += c.list[n++].probability;
        c.keep(n);
    }
};
/// Candidates at least p times as likely as the best one.
struct MinP {
    double p;
    void apply(Candidates& c, Tokens) const {
        const FpEnvironment environment;
        if (p <= 0.0) return;
        c.sort();
        c.softmax();
        const double least = p * c.list.front().probability;
        std::size_t n = 1;
        while (n < c.list.size() && c.list[n].probability >= least) ++n;
        c.keep(n);
    }
};
/// Locally typical sampling (Meister et al. 2022): those whose surprise is nearest to the entropy.
struct TypicalP {
    double p;
    void apply(Candidates& c, Tokens) const {
        const FpEnvironment environment;
        if (p >= 1.0) return;
        c.sort();
        c.softmax();
        double entropy = 0.0;
        for (const Candidate& x : c.list)
            if (x.probability > 0.0)
                entropy = std::fma(-x.probability, elementary::log(x.probability), entropy);
        const auto distance = [&](const Candidate& x) {
            const double surprise = x.probability > 0.0 ? -elementary::log(x.probability)
                                                        : std::numeric_limits<double>::infinity();
            return surprise > entropy ? surprise - entropy : entropy - surprise;
        };
        std::vector<std::pair<double, Candidate>> order;
        order.reserve(c.list.size());
        for (const Candidate& x : c.list) order.emplace_back(distance(x), x);
        std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
            return a.first < b.first || (a.first == b.first && a.second.id < b.second.id);
        });
        double sum = 0.0;
        std::size_t n = 0;
        for (; n < order.size() && sum < p; ++n) sum += order[n].second.probability;
        c.keep(n);
        for (std::size_t i = 0; i < c.list.size(); ++i) c.list[i] = order[i].second;
        c.logits_changed();
        c.sort();
    }
};
/// Penalties for tokens that occurred, over the whole history (prompt and output). Repetition
/// (Keskar et al. 2019) divides positive logits and multiplies negative ones; presence and
/// frequency are OpenAI's: subtracted once, and once per occurrence.
class Penalties {
  public:
    Penalties(double repetition, double presence, double frequency)
        : repetition_(repetition), presence_(presence), frequency_(frequency) {}
    void apply(Candidates& c, Tokens history) {
        const FpEnvironment environment;
        if (repetition_ == 1.0 && presence_ == 0.0 && frequency_ == 0.0) return;
        counts_.clear();
        counts_.insert(counts_.end(), history.begin(), history.end());
        std::sort(counts_.begin(), counts_.end());
        for (Candidate& x : c.list) {
            const auto [first, last] = std::equal_range(counts_.begin(), counts_.end(), x.id);
            if (first == last) continue;
            x.logit = x.logit > 0.0 ? x.logit / repetition_ : x.logit * repetition_;
            const double n = static_cast<double>(last - first);
            x.logit -= std::fma(frequency_, n, presence_);
        }
        c.logits_changed();
    }

  private:
    double repetition_;
    double presence_;
    double frequency_;
    std::vector<Token> counts_;
};
/// Adds to chosen logits; -infinity forbids a token. Error{token_range} for a token beyond the
/// vocabulary.
struct LogitBias {
    std::vector<std::pair<Token, float>> biases;
    void apply(Candidates& c, Tokens) const {
        const FpEnvironment environment;
        for (const auto& entry : biases) {
            const Token id = entry.first;
            require(c.vocabulary() == 0 || static_cast<std::size_t>(id) < c.vocabulary(),
                    ErrorCode::token_range, "logit_bias for token ", id, ", not in 0..",
                    c.vocabulary() - 1);
            const auto at = std::find_if(c.list.begin(), c.list.end(),
                                         [&](const Candidate& x) { return x.id == id; });
            if (at == c.list.end()) continue;
            // What is forbidden is so whatever its logit: infinities do not cancel.
            const auto bias = static_cast<double>(entry.second);
            at->logit = bias == -std::numeric_limits<double>::infinity() ? bias : at->logit + bias;
        }
        c.logits_changed();
    }
};

// The steps by their usual names.

/// Divides logits by t; 0 leaves the best alone. Error{invalid_argument} unless t is in 0..1e6.
inline Temperature temperature(float t) {
    require(t >= 0.0F && t <= 1e6F, ErrorCode::invalid_argument, "temperature ", t,
            " is not in 0..1e6");
    return {static_cast<double>(t)};
}
/// Leaves the k best; 0 leaves all. Error{invalid_argument} below 0.
inline TopK top_k(int k) {
    require(k >= 0, ErrorCode::invalid_argument, "top_k ", k, " is negative");
    return {k};
}
/// Leaves the fewest whose probabilities reach p. Error{invalid_argument} unless 0 < p <= 1.
inline TopP top_p(float p) {
    require(p > 0.0F && p <= 1.0F, ErrorCode::invalid_argument, "top_p ", p, " is not in (0, 1]");
    return {static_cast<double>(p)};
}
/// Leaves those at least p times as likely as the best. Error{invalid_argument} unless p is in
/// [0, 1].
inline MinP min_p(float p) {
    require(p >= 0.0F && p <= 1.0F, ErrorCode::invalid_argument, "min_p ", p, " is not in [0, 1]");
    return {static_cast<double>(p)};
}
/// Leaves those whose surprise is nearest to the entropy, until they reach p.
/// Error{invalid_argument} unless 0 < p <= 1.
inline TypicalP typical_p(float p) {
    require(p > 0.0F && p <= 1.0F, ErrorCode::invalid_argument, "typical_p ", p,
            " is not in (0, 1]");
    return {static_cast<double>(p)};
}
/// Makes tokens that occurred less likely. Error{invalid_argument}.
inline Penalties penalties(float repetition, float presence = 0.0F, float frequency = 0.0F) {
    require(repetition > 0.0F && repetition <= 1e6F, ErrorCode::invalid_argument,
            "repetition_penalty ", repetition, " is not in (0, 1e6]");
    require(presence >= -1e6F && presence <= 1e6F && frequency >= -1e6F && frequency <= 1e6F,
            ErrorCode::invalid_argument, "presence_penalty ", presence, ", frequency_penalty ",
            frequency, ": not in -1e6..1e6");
    return {static_cast<double>(repetition), static_cast<double>(presence),
            static_cast<double>(frequency)};
}
/// Adds to the logits of tokens by id; -infinity forbids one. Error{token_range, invalid_argument}.
inline LogitBias logit_bias(std::vector<std::pair<Token, float>> biases) {
    for (const auto& entry : biases) {
        const Token id = entry.first;
        const float bias = entry.second;
        require(id >= 0, ErrorCode::token_range, "logit_bias for token ", id);
        require(bias == bias && bias < std::numeric_limits<float>::infinity(),
                ErrorCode::invalid_argument, "logit_bias ", bias, " for token ", id);
    }
    return {std::move(biases)};
}

/// All steps with run-time settings, in llama.cpp's order: bias, penalties, top_k, typical_p,
/// top_p, min_p, temperature, draw. Values are checked as by the functions above.
struct SamplingSettings {
    float temperature = 0.0F;  ///< 0: greedy
    int top_k = 0;
    float top_p = 1.0F;
    float min_p = 0.0F;
    float typical_p = 1.0F;
    float repetition_penalty = 1.0F;
    float presence_penalty = 0.0F;
    float frequency_penalty = 0.0F;
    std::vector<std::pair<Token, float>> logit_bias{};
    std::uint64_t seed = 0;
};
/// The chain of the settings.
inline auto make_sampler(const SamplingSettings& s) {
    return logit_bias(s.logit_bias) |
           penalties(s.repetition_penalty, s.presence_penalty, s.frequency_penalty) |
           top_k(s.top_k) | typical_p(s.typical_p) | top_p(s.top_p) | min_p(s.min_p) |
           temperature(s.temperature) | draw(s.seed);
}

}}  // namespace cairn
