// When a generation stops, and what it is told on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// May change a row of logits before sampling; sees the tokens so far.
using LogitsHook = std::function<void(std::span<float> logits, Tokens so_far)>;

/// Whether every step uses the cache, or forgets it and recomputes the whole text with the same
/// kernels.
enum class Caching : std::uint8_t { cached, recompute };

/// When to stop and what to watch.
struct Limits {
    int max_tokens = 128;
    std::vector<Token> end_of_text{};  ///< tokens that end the text; they count as output
    Caching caching = Caching::cached;
    int prompt_piece =
        0;  ///< rows of the prompt fed at once; 0: all that fit a piece of the session
    /// May change the logits of a row before sampling; sees the tokens so far.
    LogitsHook on_logits{};
    /// Leading tokens of the prompt that a resumed session had sampled already: they are no prompt
    /// to keeps that wait for one.
    std::size_t resumed = 0;
    /// Tokens before the prompt that samplers see: the text of a session that goes on.
    std::vector<Token> history{};
    /// Whether `Generation::log_probabilities` is filled (of the model's own logits, among the
    /// tokens that stand for a text).
    bool log_probabilities = false;
};

}}  // namespace cairn
