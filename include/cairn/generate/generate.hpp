// The generation loop: feed the prompt, sample, hand the token out, feed it, until something ends
// it.
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "cairn/generate/choice.hpp"
#include "cairn/generate/limits.hpp"
#include "cairn/generate/sampler.hpp"
#include "cairn/models/session.hpp"
#include "cairn/numeric/log_probability.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Why a generation ended.
enum class StopReason : std::uint8_t { eos, stop, length, context, cancelled };

/// The word programs print.
constexpr std::string_view stop_reason_name(StopReason reason) noexcept {
    switch (reason) {
        case StopReason::eos: return "eos";
        case StopReason::stop: return "stop";
        case StopReason::length: return "length";
        case StopReason::context: return "context";
        case StopReason::cancelled: return "cancelled";
    }
    return "unknown";
}

/// What came out, and what it cost.
struct Generation {
    std::vector<Token> tokens;  ///< generated ones only
    std::vector<double> log_probabilities;
    StopReason reason = StopReason::length;
    std::size_t prompt_tokens = 0;
    double prefill_seconds = 0.0;  ///< from the prompt to its first logits
    double decode_seconds = 0.0;   ///< from there to the last token

    /// Prompt tokens a second; 0 if it took no measurable time.
    double prefill_rate() const noexcept {
        return prefill_seconds > 0.0 ? static_cast<double>(prompt_tokens) / prefill_seconds : 0.0;
    }
    /// Tokens a second after the first; 0 below two tokens.
    double decode_rate() const noexcept {
        return tokens.size() > 1 && decode_seconds > 0.0
                   ? static_cast<double>(tokens.size() - 1) / decode_seconds
                   : 0.0;
    }
};

namespace internal {

// Why a text ends behind its last token; nothing where it goes on. `more`: what the callback said;
// `full`: the session takes no further token.
inline std::optional<StopReason> end_of(const Limits& limits, const std::vector<Token>& tokens,
                                        bool more, bool full) {
    const auto& ends = limits.end_of_text;
    if (std::find(ends.begin(), ends.end(), tokens.back()) != ends.end()) return StopReason::eos;
    if (!more) return StopReason::stop;
    if (static_cast<int>(tokens.size()) == limits.max_tokens) return StopReason::length;
    if (full) return StopReason::context;
    return {};
}
// Everything of a generation that can be refused before any work.
template <class S>
void check_generation(const S& session, Tokens prompt, const Limits& limits) {
    require(limits.max_tokens >= 0 && limits.prompt_piece >= 0, ErrorCode::invalid_argument,
            "generate: max_tokens ", limits.max_tokens, ", prompt_piece ", limits.prompt_piece);
    check_prompt(session, prompt);
}
// Feeds tokens, at most limits.prompt_piece at once; the logits of the last.
template <class S>
std::span<const float> feed_in_pieces(S& session, Tokens tokens, const Limits& limits) {
    const auto piece = static_cast<std::size_t>(limits.prompt_piece);
    while (piece > 0 && tokens.size() > piece) {
        session.prefill(tokens.first(piece));
        tokens = tokens.subspan(piece);
    }
    return session.prefill(tokens);
}
// The logits behind the prompt, which a session that goes on may have already.
template <class S>
std::span<const float> feed_prompt(S& session, Tokens prompt, const Limits& limits) {
    if (prompt.size() > limits.resumed) session.expect_prompt(prompt.size());
    return prompt.empty() ? session.logits() : feed_in_pieces(session, prompt, limits);
}
// Hands a token out. False: the callback wants no more.
template <class OnToken>
bool hand_out(OnToken& on_token, Token token) {
    if constexpr (std::convertible_to<std::invoke_result_t<OnToken&, Token>, bool>)
        return on_token(token);
    else
        return on_token(token), true;
}

}  // namespace internal

/// Continues the session with `prompt`, then with tokens from `sampler`, and calls
/// `on_token(token)` for each; if that returns bool, false ends it (StopReason::stop). The last
/// token is handed out but not fed. Ids that pad the model's vocabulary are never sampled. Throws
/// Error{empty_prompt, capacity, token_range, invalid_argument} before any work, Error{token_range}
/// for a token of the sampler that the model does not have, and what forward, the sampler or the
/// callback throw; the session then holds all tokens fed so far. A cancellation through
/// session.context().cancel ends with StopReason::cancelled.
template <class S, Sampler P, class OnToken>
Generation generate(S& session, Tokens prompt, P& sampler, const Limits& limits,
                    OnToken&& on_token) {
    using Clock = std::chrono::steady_clock;
    const auto seconds = [](Clock::time_point from) {
        return std::chrono::duration<double>(Clock::now() - from).count();
    };
    const bool recompute = limits.caching == Caching::recompute;
    require(!recompute || session.position() == 0, ErrorCode::bad_state,
            "generate: recomputing starts from an empty session, this one holds ",
            session.position(), " tokens");
    internal::check_generation(session, prompt, limits);

    Generation result;
    result.prompt_tokens = prompt.size();
    std::vector<Token> text = limits.history;
    text.insert(text.end(), prompt.begin(), prompt.end());
    internal::Choice choice;
    const auto ended = [&](StopReason reason) { result.reason = reason; };
    try {
        auto start = Clock::now();
        std::span<const float> logits = internal::feed_prompt(session, prompt, limits);
        result.prefill_seconds = seconds(start);
        start = Clock::now();
        for (;;) {
            if (recompute) session.clear();
            if (limits.max_tokens == 0) {
                ended(StopReason::length);
                break;
            }
            const std::span<const float> row = choice.allowed(session.model(), logits);
            const Token token =
                choice.choose(session.model(), row, text, sampler, limits.on_logits);
            if (limits.log_probabilities)
                result.log_probabilities.push_back(log_probability(row, token));
            result.tokens.push_back(token);
            text.push_back(token);
            result.decode_seconds = seconds(start);
            const bool more = internal::hand_out(on_token, token);
            const std::size_t held =
                recompute ? text.size() - 1 : static_cast<std::size_t>(session.position());
            const bool full = held >= static_cast<std::size_t>(session.capacity());
            if (const auto end = internal::end_of(limits, result.tokens, more, full)) {
                ended(*end);
                break;
            }
            logits =
                recompute ? internal::feed_in_pieces(session, text, limits) : session.decode(token);
        }
    } catch (const Error& error) {
        if (error.code() != ErrorCode::cancelled) throw;
        if (recompute) session.clear();
        ended(StopReason::cancelled);
    }
    return result;
}

/// The same without a callback.
template <class S, Sampler P>
Generation generate(S& session, Tokens prompt, P& sampler, const Limits& limits) {
    return generate(session, prompt, sampler, limits, [](Token) {});
}

// Steps alone are no sampler: one sentence instead of all the constraints that they do not meet.
template <class S, SamplerStep P, class... More>
requires(!Sampler<P>)
Generation generate(S&, Tokens, P&, const Limits&, More&&...) {
    static_assert(sizeof(P) == 0,
                  "generate: a sampler chain ends with what picks the token: "
                  "temperature(0.8f) | draw(seed), or top_k(40) | greedy().");
    return {};
}

}}  // namespace cairn
