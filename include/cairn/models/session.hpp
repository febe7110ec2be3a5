// All the mutable state of one sequence: the caches of a model's layers and a position.
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "cairn/cache/kv_cache.hpp"
#include "cairn/models/forward.hpp"

namespace cairn::inline CAIRN_ABI {

/// A sequence of one model. Movable; branch it with `fork` (shares rows) or `copy`. One thread at a
/// time may use it; the model behind it lives as long as the session.
template <class Model, AttentionCache Cache = KvCache<>>
class Session final : public SessionState {
  public:
    using CacheType = Cache;

    /// Room for `capacity` tokens. The executor must outlive the session. Throws
    /// Error{invalid_argument} if the capacity is below 1 or beyond the model's context.
    Session(Model model, int capacity,
            Executor& executor = Serial::instance()) requires SessionCache<Cache>
        : Session(std::move(model), capacity, executor,
                  [](int, const HeadLayout& layout, int rows) { return Cache(layout, rows); }) {}
    /// The same with caches from `make(layer, layout, capacity)`: chosen at run time, or by layer.
    template <class Make>
    Session(Model model, int capacity, Executor& executor, const Make& make)
        : SessionState(capacity), model_(std::move(model)), context_(executor) {
        require(capacity > 0 && capacity <= model_.context(), ErrorCode::invalid_argument,
                "session of ", capacity, " tokens; the model's context is ", model_.context());
        for (int layer = 0; layer < model_.layers(); ++layer)
            caches_.push_back(make(layer, model_.layout(layer), capacity));
    }

    /// Feeds tokens and returns the logits of the last one, valid until the next call. Long prompts
    /// are fed in pieces of `piece` rows; if one fails, the pieces before it stay (see position()).
    /// Throws what `forward` throws.
    std::span<const float> prefill(Tokens tokens) {
        require(!tokens.empty(), ErrorCode::empty_prompt, "prefill: no tokens");
        check(tokens);
        logits_.resize(static_cast<std::size_t>(model_.vocabulary()));
        for (std::size_t at = 0; at < tokens.size(); at += static_cast<std::size_t>(piece)) {
            const Tokens part =
                tokens.subspan(at, std::min(static_cast<std::size_t>(piece), tokens.size() - at));
            const bool last = at + part.size() == tokens.size();
            const Slice slice{this, part, last ? LogitRows::last : LogitRows::none, logits_.data(),
                              nullptr};
            forward(model_, std::span(&slice, 1), context_);
        }
        return logits_;
    }
    /// prefill of one token.
    std::span<const float> decode(Token token) { return prefill({&token, 1}); }
    /// Logits of all tokens [tokens][vocabulary], for scoring. One forward.
    void score(Tokens tokens, float* logits) {
        const Slice slice{this, tokens, LogitRows::all, logits, nullptr};
        forward(model_, std::span(&slice, 1), context_);
    }
    /// Hidden states after the final norm [tokens][width], for embeddings. One forward.
    void embed(Tokens tokens, float* hidden) {
        const Slice slice{this, tokens, LogitRows::none, nullptr, hidden};
        forward(model_, std::span(&slice, 1), context_);
    }

    /// Whether the session can be cut back to its first `n` tokens exactly.
    bool can_truncate(int n) const noexcept {
        return n >= 0 && n <= position_ &&
               std::all_of(caches_.begin(), caches_.end(),
                           [&](const Cache& c) { return c.can_truncate(n); });
    }
    /// Forgets all but the first `n` tokens. Error{bad_state} if that is impossible; then nothing
    /// has changed.
    void truncate(int n) {
        const BusyFlag::Hold hold(busy_, "the session");
        require(can_truncate(n), ErrorCode::bad_state, "truncate to ", n,
                " tokens: the session has ", position_);
        for (Cache& cache : caches_) cache.truncate(n);
        position_ = n;
    }
    /// Forgets everything.
    void clear() { truncate(0); }

    /// A branch that shares all rows until one of the two goes on.
    Session fork() const requires Forkable<Cache> {
        return Session(BranchTag{}, *this, [](const Cache& cache) { return cache.fork(); });
    }
    /// A deep copy.
    Session copy() const {
        return Session(BranchTag{}, *this, [](const Cache& cache) { return cache.copy(); });
    }

    /// Bytes of memory the caches use now, rounding included.
    std::size_t cache_bytes() const noexcept {
        std::size_t sum = 0;
        for (const Cache& cache : caches_) sum += cache.bytes();
        return sum;
    }
    /// The textbook formula for the rows held now.
    std::size_t payload_bytes() const {
        std::size_t sum = 0;
        for (const Cache& cache : caches_) sum += cache.payload_bytes(position_);
        return sum;
    }

    CacheRef cache(int layer) override { return caches_[static_cast<std::size_t>(layer)]; }
    const void* model_identity() const noexcept override { return model_.identity(); }
    /// The cache of a layer by its type, for views and for saving.
    const Cache& layer_cache(int layer) const noexcept {
        return caches_[static_cast<std::size_t>(layer)];
    }
    const Model& model() const noexcept { return model_; }
    /// Executor, cancellation and hooks of this session.
    Context& context() noexcept { return context_; }

    /// Rows of one piece of a long prompt; bounds the memory of activations, changes no bit.
    static constexpr int piece = 512;

  private:
    struct BranchTag {};
    template <class Branch>
    Session(BranchTag, const Session& other, Branch branch)
        : SessionState(other), model_(other.model_), context_(other.context_.executor()) {
        for (const Cache& cache : other.caches_) caches_.push_back(branch(cache));
    }
    // The whole prompt is checked before its first piece is fed.
    void check(Tokens tokens) {
        const Slice whole{this, tokens, LogitRows::none, nullptr, nullptr};
        detail::check_slices(model_, std::span(&whole, 1));
    }

    Model model_;
    std::vector<Cache> caches_;
    std::vector<float> logits_;
    Context context_;
};

}  // namespace cairn::inline CAIRN_ABI
