// Guesses by a session of a model: a smaller one, or the model itself through a cheaper cache.
#pragma once

#include <algorithm>
#include <utility>

#include "cairn/generate/draft.hpp"
#include "cairn/models/session.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Guesses what a session of a model with the same vocabulary says, through the sampler of the
/// generation. What the session holds beyond the text it forgets: cut back where its cache can do
/// that, read anew where not. Where it has no room it guesses nothing.
template <class S>
class SessionDraft final : public Draft {
  public:
    /// Holds a session that is empty. Error{invalid_argument} if it is not.
    explicit SessionDraft(S session) : session_(std::move(session)) {
        require(session_.position() == 0, ErrorCode::invalid_argument, "draft: the session holds ",
                session_.position(), " tokens already");
    }
    int outlook(Tokens text) override {
        return text.empty() || static_cast<int>(text.size()) > session_.capacity() ? -1 : 0;
    }
    void follow(Tokens text) override {
        if (outlook(text) < 0) return;
        std::size_t same = 0;
        while (same < fed_.size() && same < text.size() && fed_[same] == text[same]) ++same;
        // The last token is fed anew if need be: its logits are wanted.
        if (same == text.size() && (same < fed_.size() || session_.logits().empty())) --same;
        if (same < fed_.size()) {
            if (!session_.can_truncate(static_cast<int>(same))) same = 0;
            session_.truncate(static_cast<int>(same));
            fed_.resize(same);
        }
        if (same == 0) session_.expect_prompt(text.size());
        feed(text.subspan(same));
    }
    void draft(DraftRound& round) override {
        if (fed_.size() != round.text().size()) return;
        while (round.left() > 0) {
            const Token token = round.pick(session_.logits());
            if (round.left() == 0 || session_.position() == session_.capacity()) return;
            feed({&token, 1});
        }
    }
    /// For its settings: threads, arithmetic, cancellation.
    S& session() noexcept { return session_; }

  private:
    void feed(Tokens tokens) {
        if (tokens.empty()) return;
        fed_.reserve(fed_.size() + tokens.size());
        try {
            session_.prefill(tokens);
        } catch (...) {
            // Pieces that went through stay.
            fed_.insert(fed_.end(), tokens.begin(),
                        tokens.begin() + (session_.position() - static_cast<int>(fed_.size())));
            throw;
        }
        fed_.insert(fed_.end(), tokens.begin(), tokens.end());
    }
    S session_;
    std::vector<Token> fed_;  // what the session holds
};

}}  // namespace cairn
