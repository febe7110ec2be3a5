// What a forward pass needs of a session, whatever its caches are made of.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "cairn/cache/busy.hpp"
#include "cairn/cache/seam/cache_ref.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The part of a session that `forward` works on: its caches, its position, who uses it.
class SessionState {
  public:
    virtual ~SessionState() = default;
    /// The cache of a layer. Error{bad_state} if there is none: the session was moved from.
    virtual CacheRef cache(int layer) = 0;
    /// The identity of the model it belongs to; null once it was moved from.
    virtual const void* model_identity() const noexcept = 0;
    /// Tokens fed and kept so far: the position of the next one. Any thread may ask.
    int position() const noexcept { return position_.load(std::memory_order_relaxed); }
    /// Tokens that fit. Any thread may ask.
    int capacity() const noexcept { return capacity_.load(std::memory_order_relaxed); }
    /// The capacity it was made with. Shifts make room without changing this: rows of a session
    /// are turned alike for good (`HeadLayout::near`).
    int made_for() const noexcept { return made_for_; }

  protected:
    explicit SessionState(int capacity) : capacity_(capacity), made_for_(capacity) {}
    SessionState(const SessionState& other) noexcept
        : position_(other.position()), capacity_(other.capacity()), made_for_(other.made_for()) {}
    // Who was moved from holds nothing and has room for nothing. Rows that wait for a verdict do
    // not move: they are rolled back.
    SessionState(SessionState&& other) noexcept : SessionState(other) { other.empty(); }
    SessionState& operator=(SessionState&& other) noexcept {
        if (this == &other) return *this;
        settle(0);
        set_position(other.position());
        set_capacity(other.capacity());
        made_for_ = other.made_for_;
        other.empty();
        return *this;
    }
    /// Keeps the first `rows` staged rows in every cache and forgets the others.
    virtual void commit(int rows) noexcept = 0;
    void set_position(int n) noexcept { position_.store(n, std::memory_order_relaxed); }
    void set_capacity(int n) noexcept { capacity_.store(n, std::memory_order_relaxed); }
    BusyFlag& busy() const noexcept { return busy_; }

  private:
    friend class Forward;
    // What a forward that is open has here. It stays in its place when a session moves, as busy_.
    struct Open {
        SessionState* next = nullptr;  // the session of the next slice
        int rows = 0;                  // staged and not settled yet
        bool in_part = false;          // some of them may stay
    };
    // Keeps `rows` of the rows that wait for a verdict; nothing to do where none do.
    void settle(int rows) noexcept {
        if (open_.rows == 0) return;
        open_.rows = 0;
        commit(rows);
        set_position(position() + rows);
    }
    void empty() noexcept { settle(0), set_position(0), set_capacity(0); }

    std::atomic<int> position_{0};
    std::atomic<int> capacity_{0};
    int made_for_ = 0;
    mutable BusyFlag busy_;
    Open open_;
};

namespace internal {

// What a model says of itself, or what holds for models that say nothing.
template <class Model>
bool relative_positions(const Model& model) noexcept {
    if constexpr (requires { model.relative_positions(); })
        return model.relative_positions();
    else
        return false;
}
// The tokens that fit a session where the first layer's cache is `first`, as loading makes it. One
// that closed holes, or forgets, numbers its room beyond what it was made for; positions that are
// not relative end with the model's context all the same.
template <class Model, class Cache>
int capacity_with(const Model& model, int capacity, const Cache& first) {
    const std::int64_t rows = first.capacity();
    std::int64_t most = model.context();
    if (relative_positions(model))
        most = cache_streams(first) ? rows : most + rows - cache_span(first);
    return static_cast<int>(std::max<std::int64_t>(capacity, std::min(rows, most)));
}
template <class Model>
int leader_of(const Model& model, int layer) {
    if constexpr (requires { model.leader(layer); })
        return model.leader(layer);
    else
        return (void)model, layer;
}

// Refused here and not when a sequence first gets beyond the window.
template <class Model, class Cache>
void check_window(const Model& model, const Cache& cache, int layer, int capacity) {
    if constexpr (requires { model.window(layer); })
        require(cache_serves_window(cache, model.window(layer)), ErrorCode::unsupported,
                "session of ", capacity, " tokens: layer ", layer, " sees a window of ",
                model.window(layer),
                " keys, and its cache chooses rows by score; take a keep by position, or a "
                "capacity of at most the window");
}

// Error{unsupported} for rows that a layer cannot give.
[[gnu::cold]] inline void check_wanted(int layer, const HeadLayout& layout,
                                       const RowsWanted& wanted) {
    require(!layout.stepped || wanted.keys != RowKind::input, ErrorCode::unsupported,
            "session: layer ", layer,
            " changes what it has projected, which a cache of its inputs would leave out");
    require(layout.leading || wanted.values || wanted.keys == RowKind::input,
            ErrorCode::unsupported, "session: the values of layer ", layer,
            " are not the first numbers of its keys, and the cache keeps none");
}
inline void check_layout(int layer, const HeadLayout& model, const HeadLayout& cache) {
    require(cache == model, ErrorCode::invalid_argument, "session: the cache of layer ", layer,
            " is for ", cache.heads, "/", cache.kv_heads, " heads of ", cache.key_dim, "/",
            cache.value_dim, ", the model's layer has ", model.heads, "/", model.kv_heads,
            " heads of ", model.key_dim, "/", model.value_dim);
}

}  // namespace internal

}}  // namespace cairn
