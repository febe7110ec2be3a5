// From a row of logits to the next token: what every way of sampling does around a sampler.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "cairn/generate/limits.hpp"
#include "cairn/generate/sampler.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

// Ids of a model that stand for no text: rows that pad its vocabulary. Models that know of none
// need not say so.
template <class Model>
Tokens unused_tokens(const Model& model) {
    if constexpr (requires { Tokens(model.unused()); })
        return model.unused();
    else
        return {};
}
// Makes tokens that stand for no text impossible.
template <class Model>
void forbid_unused(const Model& model, std::span<float> logits) {
    for (const Token token : unused_tokens(model))
        logits[static_cast<std::size_t>(token)] = -std::numeric_limits<float>::infinity();
}
// Error{token_range} for a token that the model does not have.
template <class Model>
void check_token(const Model& model, Token token, const char* what) {
    require(token >= 0 && token < model.vocabulary(), ErrorCode::token_range, what, " token ",
            token, ", not in 0..", model.vocabulary() - 1);
}
// Error{token_range, empty_prompt, capacity}: nothing of the session has changed then.
template <class S>
void check_prompt(const S& session, Tokens prompt) {
    require(!prompt.empty() || !session.logits().empty(), ErrorCode::empty_prompt,
            "generate: the prompt has no tokens");
    const auto room = static_cast<std::size_t>(session.capacity() - session.position());
    require(prompt.size() <= room, ErrorCode::capacity, "generate: a prompt of ", prompt.size(),
            " tokens; ", room, " fit");
    for (const Token token : prompt) check_token(session.model(), token, "generate: a prompt with");
}

/// Rows of logits on their way to a sampler; keeps the memory of copies.
class Choice {
  public:
    /// The model's logits without tokens that stand for no text. Valid until the next call.
    template <class Model>
    std::span<const float> allowed(const Model& model, std::span<const float> logits) {
        if (unused_tokens(model).empty()) return logits;
        allowed_.assign(logits.begin(), logits.end());
        forbid_unused(model, allowed_);
        return allowed_;
    }
    /// An allowed row after the hook, if there is one. Valid until the next call.
    template <class Model>
    std::span<const float> hooked(const Model& model, std::span<const float> row, Tokens so_far,
                                  const LogitsHook& hook) {
        if (!hook) return row;
        changed_.assign(row.begin(), row.end());
        hook(changed_, so_far);
        forbid_unused(model, changed_);
        return changed_;
    }
    /// The sampler's token for an allowed row, after the hook. Error{token_range} if the model has
    /// no such token.
    template <class Model, Sampler P>
    Token choose(const Model& model, std::span<const float> row, Tokens so_far, P& sampler,
                 const LogitsHook& hook) {
        const Token token = sampler(hooked(model, row, so_far, hook), so_far);
        check_token(model, token, "generate: the sampler chose");
        return token;
    }

  private:
    std::vector<float> allowed_;
    std::vector<float> changed_;
};

}  // namespace internal

}}  // namespace cairn
