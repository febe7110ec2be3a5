// All the mutable state of one sequence: the caches of a model's layers and a position.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "cairn/cache/cache_set.hpp"
#include "cairn/cache/kv_cache.hpp"
#include "cairn/models/forward.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A sequence of one model. Movable; branch it with `fork` (shares rows) or `copy`. The model
/// behind it lives as long as the session. One thread at a time may change it: every call holds it
/// from its first line, and a second one throws Error{concurrent_use} and touches nothing. Any
/// number may read at once (fork, copy, bytes); what cannot throw says false or nothing while
/// another thread changes it. What was moved from holds 0 tokens of 0, and every other call throws
/// Error{bad_state}. After fork(2) a session that another thread was using stays so in the child.
template <class Model, AttentionCache Cache = KvCache<>>
class Session final : public SessionState {
  public:
    using CacheType = Cache;

    // Compilers show the deleted line to who copies a session silently.
    Session(const Session&) = delete;             // a session branches by fork() or copy()
    Session& operator=(const Session&) = delete;  // a session branches by fork() or copy()
    Session(Session&&) = default;
    Session& operator=(Session&& other) noexcept(std::is_nothrow_move_assignable_v<Model>) {
        if (this == &other) return *this;
        SessionState::operator=(std::move(other));
        model_ = std::move(other.model_);
        caches_ = std::move(other.caches_);
        marks_ = other.marks_;
        logits_ = std::move(other.logits_);
        context_ = std::move(other.context_);
        return *this;
    }

    /// Room for `capacity` tokens. The executor must outlive the session. Throws
    /// Error{invalid_argument} if the capacity is below 1 or beyond the model's context; only a
    /// cache that forgets old rows, under a model whose positions are relative, may go beyond.
    /// Error{unsupported} for a keep by score under a sliding window of fewer keys than `capacity`,
    /// for unrotated keys or inputs in a cache that another layer attends too, for inputs of a
    /// layer with a step behind its projections; invalid_argument for a cache of another layout.
    Session(Model model, int capacity, Executor& executor = Serial::instance())
    requires SessionCache<Cache>
        : Session(std::move(model), capacity, executor,
                  [](int layer, const HeadLayout& layout, int rows) {
                      if constexpr (requires { Cache::of_layer(layer, layout, rows); })
                          return Cache::of_layer(layer, layout, rows);
                      else
                          return (void)layer, Cache(layout, rows);
                  }) {}
    /// The same with caches from `make(layer, layout, capacity)`: chosen at run time, or by layer.
    /// It is not asked for layers that follow another one.
    template <class Make>
    [[gnu::cold]] Session(Model model, int capacity, Executor& executor, const Make& make)
        : SessionState(capacity), model_(std::move(model)), context_(executor) {
        require(model_.identity() != nullptr, ErrorCode::bad_state,
                "session: the model was moved from");
        require(capacity > 0, ErrorCode::invalid_argument, "session of ", capacity, " tokens");
        caches_.reserve(model_.layers());
        for (int layer = 0; layer < model_.layers(); ++layer) {
            const int leader = internal::leader_of(model_, layer);
            if (leader == layer) {
                HeadLayout layout = model_.layout(layer);
                layout.layers = model_.layers();
                caches_.add(make(layer, layout, capacity));
                internal::check_layout(layer, layout, caches_[layer].layout());
                require(caches_[layer].length() == 0, ErrorCode::invalid_argument,
                        "session: the cache of layer ", layer, " is not empty");
            } else {
                caches_.follow(leader);
            }
            const Cache& cache = caches_[layer];
            const RowsWanted wanted = cache_wants(cache);
            internal::check_wanted(layer, model_.layout(layer), wanted);
            const bool beyond = cache_streams(cache) && internal::relative_positions(model_);
            require((beyond ? cache_span(cache) : capacity) <= model_.context(),
                    ErrorCode::invalid_argument, "session of ", capacity,
                    " tokens; the model's context is ", model_.context());
            internal::check_window(model_, cache, layer, capacity);
            // Rows are made when they are read: by the layer that reads them, not by its leader.
            require(caches_.leader(layer) == layer || wanted.keys == RowKind::ready,
                    ErrorCode::unsupported, "session: layer ", layer, " attends the keys of layer ",
                    caches_.leader(layer), ", whose cache keeps unrotated keys or inputs");
        }
    }

    /// Feeds tokens and returns the logits of the last one, valid until the next call. Long prompts
    /// are fed in pieces of `piece` rows, or as many as the caches take at once; if one fails, the
    /// pieces before it stay (see position()). Throws what `forward` throws.
    std::span<const float> prefill(Tokens tokens) {
        const Exclusive hold(*this);
        require(!tokens.empty(), ErrorCode::empty_prompt, "prefill: no tokens");
        check(tokens);
        // A forward writes logits only when it succeeds: those of a session that did not move stay.
        logits_.resize(static_cast<std::size_t>(model_.vocabulary()));
        while (!tokens.empty()) {
            const Tokens part = next_piece(tokens, static_cast<std::size_t>(piece));
            tokens = tokens.subspan(part.size());
            feed(part, tokens.empty() ? LogitRows::last : LogitRows::none,
                 tokens.empty() ? logits_.data() : nullptr, nullptr);
        }
        marks_.logits_at = position();
        return logits_;
    }
    /// prefill of one token.
    std::span<const float> decode(Token token) { return prefill({&token, 1}); }
    /// Logits of all tokens [tokens][vocabulary], for scoring. One forward, or as many as the
    /// caches need.
    void score(Tokens tokens, float* logits) { feed_all(tokens, LogitRows::all, logits, nullptr); }
    /// Hidden states after the final norm [tokens][width], for embeddings. Fed as in `score`.
    void embed(Tokens tokens, float* hidden) { feed_all(tokens, LogitRows::none, nullptr, hidden); }
    /// For speculation: feeds at most max_rows() tokens of which only the first may stay, in one
    /// forward, and writes the logits of all of them [tokens][vocabulary]. The result's `accept(n)`
    /// keeps the first n and forgets the others; so does its end with all of them. Until then the
    /// session is in use. If any stay, logits() is empty: row n - 1 of `logits` has the last one's.
    /// Throws what `forward` throws: Error{unsupported} where the cache chooses rows by score.
    Forward propose(Tokens tokens, float* logits) {
        const Slice slice{this, tokens, LogitRows::all, logits, nullptr, Acceptance::in_part};
        return forward(model_, std::span(&slice, 1), context_);
    }
    /// Announces that the prompt now being fed is `tokens` long from here: keeps that choose rows
    /// by score evict nothing before its end, so that its cut changes nothing.
    void expect_prompt(std::size_t tokens) {
        const Exclusive hold(*this);
        const int end = checked_cast<int>(
            checked_add(static_cast<std::size_t>(position()), tokens, "prompt"), "prompt");
        for (int layer = 0; layer < model_.layers(); ++layer) this->cache(layer).expect_prompt(end);
    }
    /// Tokens that one forward can take now; 0 once moved from.
    int max_rows() const {
        const BusyFlag::Share share(busy(), in_use);
        return room();
    }
    /// Holds the session against all other calls and threads while the result lives, for who does
    /// several things as one: saving, loading, putting another one in its place. The holder may
    /// read, `restore`, and use the caches. Error{concurrent_use, bad_state}.
    [[nodiscard]] auto exclusive() { return Exclusive(*this); }

    /// Whether `drop(begin, end)` would succeed.
    bool can_drop(int begin, int end) const
    requires Shiftable<Cache>
    {
        return all([&](const Cache& c) { return c.can_drop(begin, end); });
    }
    /// Forgets tokens [begin, end) in the middle; distances and position() stay; see KvCache::drop.
    /// Error{bad_state}; then nothing has changed.
    void drop(int begin, int end)
    requires Shiftable<Cache>
    {
        const Exclusive hold(*this);
        require(can_drop(begin, end), ErrorCode::bad_state, "drop tokens ", begin, " to ", end,
                ": the session has ", position(), "; it needs a store of blocks and all rows kept");
        for (Cache& cache : caches_) cache.drop(begin, end);
        marks_.edited = marks_.edited || begin < end;
    }
    /// Whether `close(tokens)` would succeed.
    bool can_close(int tokens) const
    requires Shiftable<Cache>
    {
        return internal::relative_positions(model_) &&
               all([&](const Cache& c) { return c.can_close(tokens); });
    }
    /// Closes a hole that drop() left; see KvCache::close. Error{bad_state}.
    void close(int tokens)
    requires Shiftable<Cache>
    {
        const Exclusive hold(*this);
        require(can_close(tokens), ErrorCode::bad_state, "close ", tokens,
                " tokens of a hole: not so many were dropped, or positions are not relative");
        for (Cache& cache : caches_) cache.close(tokens);
        widen(tokens);
    }
    /// Whether `shift(keep, tokens)` would succeed.
    bool can_shift(int keep, int tokens) const
    requires Shiftable<Cache>
    {
        return internal::relative_positions(model_) &&
               all([&](const Cache& c) { return c.can_shift(keep, tokens); });
    }
    /// Context shift: forgets `tokens` tokens behind the first `keep` and makes room for as many
    /// new ones; see KvCache::shift. position() stays. Error{bad_state}; then nothing has changed.
    void shift(int keep, int tokens)
    requires Shiftable<Cache>
    {
        const Exclusive hold(*this);
        require(can_shift(keep, tokens), ErrorCode::bad_state, "shift by ", tokens,
                " tokens behind ", keep, ": the session has ", position(),
                "; it needs a store of blocks, all rows kept, and positions that are relative");
        for (Cache& cache : caches_) cache.shift(keep, tokens);
        widen(tokens);
    }

    /// Whether tokens in the middle were forgotten (drop, shift) since the session was empty: it
    /// then answers otherwise than a prompt of its tokens would.
    bool edited() const {
        const BusyFlag::Share share(busy(), in_use);
        return position() > 0 && (marks_.edited || marks_.shifted > 0);
    }
    /// Whether the session can be cut back to its first `n` tokens exactly.
    bool can_truncate(int n) const noexcept {
        return n >= 0 && n <= position() && all([&](const Cache& c) { return c.can_truncate(n); });
    }
    /// Forgets all but the first `n` tokens. Error{bad_state} if that is impossible; then nothing
    /// has changed.
    void truncate(int n) {
        const Exclusive hold(*this);
        require(can_truncate(n), ErrorCode::bad_state, "truncate to ", n,
                " tokens: the session has ", position());
        for (Cache& cache : caches_) cache.truncate(n);
        if (n < marks_.logits_at) marks_.logits_at = -1;
        set_position(n);
        if (n > 0) return;
        marks_.edited = false;
        set_capacity(capacity() - std::exchange(marks_.shifted, 0));
    }
    /// Forgets everything.
    void clear() { truncate(0); }

    /// A branch that shares all rows until one of the two goes on.
    Session fork() const
    requires Forkable<Cache>
    {
        const BusyFlag::Share share(busy(), in_use);
        return Session(BranchTag{}, *this, [](const Cache& cache) { return cache.fork(); });
    }
    /// A deep copy.
    Session copy() const {
        const BusyFlag::Share share(busy(), in_use);
        return Session(BranchTag{}, *this, [](const Cache& cache) { return cache.copy(); });
    }

    /// Bytes of memory the caches use now, rounding included.
    std::size_t cache_bytes() const {
        const BusyFlag::Share share(busy(), in_use);
        std::size_t sum = 0;
        for (const Cache& cache : caches_) sum += cache.bytes();
        return sum;
    }
    /// The textbook formula for the rows held now.
    std::size_t payload_bytes() const {
        const BusyFlag::Share share(busy(), in_use);
        std::size_t sum = 0;
        for (const Cache& cache : caches_) sum += cache.payload_bytes(position());
        return sum;
    }

    /// Rows held now by the layer and head that hold most.
    int held() const {
        const BusyFlag::Share share(busy(), in_use);
        int rows = 0;
        for (const Cache& cache : caches_) rows = std::max(rows, cache_held(cache));
        return rows;
    }

    /// The logits of the last token, if prefill or decode fed it; empty if there are none.
    std::span<const float> logits() const noexcept {
        const BusyFlag::Share share(busy());
        if (!share || marks_.logits_at != position()) return {};
        return logits_;
    }
    /// For loading: the caches were filled up to `position`, whose logits were `logits` (or none).
    /// Error{bad_state} if a cache says otherwise, Error{capacity} if not so many tokens fit.
    void restore(int position, std::vector<float> logits) {
        std::optional<Exclusive> hold;  // who loads holds it already
        if (!busy().mine()) hold.emplace(*this);
        alive();
        for (const Cache& cache : caches_)
            require(cache.committed() == position && cache.length() == position,
                    ErrorCode::bad_state, "restore: ", position, " tokens, but a layer holds ",
                    cache.committed());
        require(logits.empty() || logits.size() == static_cast<std::size_t>(model_.vocabulary()),
                ErrorCode::invalid_argument, "restore: ", logits.size(), " logits, the model has ",
                model_.vocabulary());
        const int room = internal::capacity_with(model_, capacity(), *caches_.begin());
        require(position <= room, ErrorCode::capacity, "restore: ", position, " tokens; ", room,
                " fit");
        marks_.shifted += room - capacity();
        set_capacity(room);
        set_position(position);
        marks_.logits_at = logits.empty() ? -1 : position;
        logits_ = std::move(logits);
    }

    CacheRef cache(int layer) override { return caches().ref(layer); }
    const void* model_identity() const noexcept override { return model_.identity(); }
    /// The cache of a layer, or of the layer it follows, by its type, for views. Error{bad_state,
    /// invalid_argument} if there is none.
    const Cache& layer_cache(int layer) const { return caches()[layer]; }
    Cache& layer_cache(int layer) { return caches()[layer]; }
    /// All caches, for saving. Error{bad_state} once moved from.
    const CacheSet<Cache>& caches() const {
        alive();
        return caches_;
    }
    CacheSet<Cache>& caches() {
        alive();
        return caches_;
    }
    const Model& model() const noexcept { return model_; }
    /// Executor, cancellation and hooks of this session.
    Context& context() noexcept { return context_; }

    /// Rows of one piece of a long prompt; bounds the memory of activations, changes no bit.
    static constexpr int piece = 512;

  private:
    static constexpr const char* in_use = "the session";
    void commit(int rows) noexcept override {
        for (Cache& cache : caches_) cache.commit(rows);
    }
    // What every call that changes the session begins with.
    class Exclusive {
      public:
        explicit Exclusive(Session& session) : hold_(session.busy(), in_use) { session.alive(); }

      private:
        BusyFlag::Hold hold_;
    };
    void feed_all(Tokens tokens, LogitRows rows, float* logits, float* hidden) {
        const Exclusive hold(*this);
        check(tokens);
        while (!tokens.empty()) {
            const Tokens part = next_piece(tokens, tokens.size());
            feed(part, rows, logits, hidden);
            if (logits != nullptr)
                logits += part.size() * static_cast<std::size_t>(model_.vocabulary());
            if (hidden != nullptr) hidden += part.size() * static_cast<std::size_t>(model_.width());
            tokens = tokens.subspan(part.size());
        }
    }
    struct BranchTag {};
    template <class Branch>
    Session(BranchTag, const Session& other, Branch branch)
        : SessionState(other),
          model_(other.model_),
          marks_{other.marks_.shifted, other.marks_.edited},
          context_(other.context_.executor()) {
        other.alive();
        context_.compute = other.context_.compute;
        context_.attention = other.context_.attention;
        caches_ = other.caches_.branch(branch);
    }
    void alive() const {
        require(caches_.layers() > 0, ErrorCode::bad_state, "the session was moved from");
    }
    // False of a session that another thread changes, and of one that was moved from.
    template <class Condition>
    bool all(Condition condition) const {
        const BusyFlag::Share share(busy());
        return share && caches_.layers() > 0 &&
               std::all_of(caches_.begin(), caches_.end(), condition);
    }
    void widen(int tokens) noexcept {
        set_capacity(capacity() + tokens);
        marks_.shifted += tokens;
    }
    int room() const {
        int rows = capacity() - position();
        for (const Cache& cache : caches_) rows = std::min(rows, cache.max_rows());
        return rows;
    }
    // The tokens of the next forward: no more than `most`, and than the caches take now.
    Tokens next_piece(Tokens tokens, std::size_t most) const {
        const auto rows = static_cast<std::size_t>(std::max(1, room()));
        return tokens.first(std::min({tokens.size(), most, rows}));
    }
    // The whole prompt is checked before its first piece is fed.
    void check(Tokens tokens) {
        const Slice whole{this, tokens, LogitRows::none, nullptr, nullptr};
        internal::check_slices(model_, std::span(&whole, 1));
    }
    void feed(Tokens tokens, LogitRows rows, float* logits, float* hidden) {
        const Slice slice{this, tokens, rows, logits, hidden};
        internal::open_forward(model_, std::span(&slice, 1), context_, internal::Sessions::held)
            .accept_all();
    }

    Model model_;
    CacheSet<Cache> caches_;
    struct Marks {
        int shifted = 0;
        bool edited = false;
        int logits_at = -1;  // the position they were computed for; -1: there are none
    };
    Marks marks_;
    std::vector<float> logits_;
    Context context_;
};

}}  // namespace cairn
