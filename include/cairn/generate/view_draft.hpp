// Guesses over the target's own cache, read through the coarse codecs of its rows, with the model's
// own weights or cheaper ones (QuantSpec: Tiwari et al. 2025, arXiv 2502.10424). There is no second
// cache: rows of guesses are staged behind the session's own and forgotten when the round ends.
#pragma once

#include <new>

#include <utility>

#include "cairn/generate/draft.hpp"
#include "cairn/models/session.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

/// What a forward needs of a session, for rows that wait behind the rows of another session, which
/// is held and outlives it.
class RowsAhead final : public SessionState {
  public:
    RowsAhead(SessionState& session, const void* model, int layers)
        : SessionState(session.made_for()), session_(session), model_(model), layers_(layers) {
        set_position(session.position());
        set_capacity(session.capacity());
    }
    ~RowsAhead() override { forget(); }
    CacheRef cache(int layer) override { return session_.cache(layer).coarse(); }
    const void* model_identity() const noexcept override { return model_; }

  private:
    // Rows stay staged as long as this lives, or until a forward fails.
    void commit(int rows) noexcept override {
        if (rows == 0) forget();
    }
    void forget() noexcept {
        for (int layer = 0; layer < layers_; ++layer) session_.cache(layer).rollback();
    }
    SessionState& session_;
    const void* model_;
    int layers_;
};

}  // namespace internal

/// Guesses what `model` says over the cache of `session`: the session's own model, or one of the
/// same shapes with cheaper weights. Both outlive it. Nothing is read twice, and nothing has to
/// follow the text.
template <class S, class Model>
class ViewDraft final : public Draft {
  public:
    /// Error{model_mismatch} for a model of other shapes.
    ViewDraft(S& session, Model model)
        : session_(session), model_(std::move(model)), context_(session.context().executor()) {
        const auto& own = session.model();
        require(model_.layers() == own.layers() && model_.vocabulary() == own.vocabulary(),
                ErrorCode::model_mismatch, "draft: a model of ", model_.layers(), " layers and ",
                model_.vocabulary(), " tokens over the cache of one of ", own.layers(), " and ",
                own.vocabulary());
        for (int layer = 0; layer < own.layers(); ++layer)
            require(model_.layout(layer) == own.layout(layer), ErrorCode::model_mismatch,
                    "draft: layer ", layer, " has other heads than the model whose cache it reads");
        context_.compute = session.context().compute;
        context_.attention = session.context().attention;
        logits_.resize(static_cast<std::size_t>(own.vocabulary()));
    }
    void draft(DraftRound& round) override {
        const auto hold = session_.exclusive();
        context_.cancel = session_.context().cancel;
        internal::RowsAhead ahead(session_, model_.identity(), model_.layers());
        Token token = round.text().back();
        while (round.left() > 0) {
            const Slice slice{&ahead, {&token, 1}, LogitRows::last, logits_.data(), nullptr};
            // What a guess has no room for, or cannot read, ends the guesses and not the text.
            try {
                forward(model_, std::span(&slice, 1), context_).accept_all();
            } catch (const Error& error) {
                if (error.code() == ErrorCode::cancelled) throw;
                return;
            } catch (const std::bad_alloc&) {
                return;
            }
            token = round.pick(logits_);
        }
    }
    /// For its settings: threads, arithmetic.
    Context& context() noexcept { return context_; }

  private:
    S& session_;
    Model model_;
    Context context_;
    std::vector<float> logits_;
};

}}  // namespace cairn
