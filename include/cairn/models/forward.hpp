// The one entry into a model: a forward pass over slices of any number of sessions. One sequence is
// a span of one; a row's value never depends on what else was in the batch.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <utility>

#include "cairn/cache/busy.hpp"
#include "cairn/models/decoder.hpp"

namespace cairn::inline CAIRN_ABI {

/// What forward needs of a session, whatever its cache is.
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

  protected:
    explicit SessionState(int capacity) : capacity_(capacity) {}
    SessionState(const SessionState& other) noexcept
        : position_(other.position()), capacity_(other.capacity()) {}
    SessionState& operator=(const SessionState& other) noexcept {
        set_position(other.position());
        set_capacity(other.capacity());
        return *this;
    }
    // Who was moved from holds nothing and has room for nothing.
    SessionState(SessionState&& other) noexcept : SessionState(other) { other.empty(); }
    SessionState& operator=(SessionState&& other) noexcept {
        if (this == &other) return *this;
        *this = other;
        other.empty();
        return *this;
    }
    void set_position(int n) noexcept { position_.store(n, std::memory_order_relaxed); }
    void set_capacity(int n) noexcept { capacity_.store(n, std::memory_order_relaxed); }
    BusyFlag& busy() const noexcept { return busy_; }

  private:
    friend class ForwardHold;
    friend class ForwardTransaction;
    void empty() noexcept { set_position(0), set_capacity(0); }
    std::atomic<int> position_{0};
    std::atomic<int> capacity_{0};
    mutable BusyFlag busy_;
};

/// Which rows of a slice want logits.
enum class LogitRows : std::uint8_t { none, last, all };

/// Consecutive tokens of one session. Outputs are written only when the whole forward succeeds.
struct Slice {
    SessionState* session = nullptr;
    Tokens tokens;
    LogitRows rows = LogitRows::last;
    float* logits = nullptr;  ///< [wanted rows][vocabulary]
    float* hidden = nullptr;  ///< [tokens][width] after the final norm; null if not wanted
};

/// Holds the sessions of a forward against other threads. Error{invalid_argument, concurrent_use};
/// then none is held.
class ForwardHold {
  public:
    explicit ForwardHold(std::span<const Slice> slices) : slices_(slices) {
        for (std::size_t i = 0; i < slices.size(); ++i) {
            if (slices[i].session != nullptr && slices[i].session->busy().raise()) continue;
            release(slices.first(i));
            require(slices[i].session != nullptr, ErrorCode::invalid_argument, "forward: slice ", i,
                    " has no session");
            BusyFlag::refuse("forward: the session (a session can be in a batch once)");
        }
    }
    ~ForwardHold() { release(slices_); }
    ForwardHold(const ForwardHold&) = delete;
    ForwardHold& operator=(const ForwardHold&) = delete;

  private:
    static void release(std::span<const Slice> slices) noexcept {
        for (const Slice& slice : slices) slice.session->busy().lower();
    }
    std::span<const Slice> slices_;
};

/// Unless `commit` is reached, rolls back all sessions of a forward. The caller holds them.
class ForwardTransaction {
  public:
    ForwardTransaction(std::span<const Slice> slices, int layers) noexcept
        : slices_(slices), layers_(layers) {}
    ~ForwardTransaction() {
        if (!done_) settle([](const Slice&) { return 0; });
    }
    ForwardTransaction(const ForwardTransaction&) = delete;
    ForwardTransaction& operator=(const ForwardTransaction&) = delete;

    void commit() noexcept {
        settle([](const Slice& slice) { return static_cast<int>(slice.tokens.size()); });
        for (const Slice& slice : slices_)
            slice.session->set_position(slice.session->position() +
                                        static_cast<int>(slice.tokens.size()));
        done_ = true;
    }

  private:
    template <class Rows>
    void settle(Rows rows) noexcept {
        for (const Slice& slice : slices_)
            for (int layer = 0; layer < layers_; ++layer)
                slice.session->cache(layer).commit(rows(slice));
    }
    std::span<const Slice> slices_;
    int layers_;
    bool done_ = false;
};

namespace detail {

template <class Model>
void check_slices(const Model& model, std::span<const Slice> slices) {
    require(model.identity() != nullptr, ErrorCode::bad_state, "forward: the model was moved from");
    for (const Slice& slice : slices) {
        require(slice.session->model_identity() != nullptr, ErrorCode::bad_state,
                "forward: the session was moved from");
        require(slice.session->model_identity() == model.identity(), ErrorCode::model_mismatch,
                "forward: the session belongs to another model");
        require(!slice.tokens.empty(), ErrorCode::empty_prompt, "forward: slice without tokens");
        require(slice.rows == LogitRows::none || slice.logits != nullptr,
                ErrorCode::invalid_argument, "forward: logits wanted, but nowhere to write them");
        const int position = slice.session->position();
        const auto limit = static_cast<std::size_t>(slice.session->capacity() - position);
        require(slice.tokens.size() <= limit, ErrorCode::capacity,
                "context full: ", slice.tokens.size(), " tokens at position ", position,
                " do not fit a capacity of ", position + static_cast<int>(limit));
        for (std::size_t i = 0; i < slice.tokens.size(); ++i)
            require(slice.tokens[i] >= 0 && slice.tokens[i] < model.vocabulary(),
                    ErrorCode::token_range, "token ", slice.tokens[i], " at index ", i,
                    " is not in 0..", model.vocabulary() - 1);
    }
}

inline void check_finite(const Activations& x, std::ptrdiff_t width, const char* where, int layer,
                         Context& context) {
    std::atomic<std::ptrdiff_t> bad = x.rows;  // the first row that is not finite
    for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
        if (kernels::active().all_finite(x.row(r), width)) return;
        std::ptrdiff_t first = bad.load();
        while (r < first && !bad.compare_exchange_weak(first, r)) {
        }
    });
    if (bad == x.rows) return;
    fail(ErrorCode::non_finite, "NaN or infinity ", where,
         layer >= 0 ? std::to_string(layer) : std::string(), ", row ", bad.load(), " of ", x.rows);
}

// `forward` of sessions that the caller holds.
template <class Model>
void forward_held(const Model& model, std::span<const Slice> slices, Context& context) {
    check_slices(model, slices);
    const FpEnvironment environment;
    ForwardTransaction transaction(slices, model.layers());
    Workspace::Frame frame(context.workspace());

    const std::ptrdiff_t width = model.width();
    std::ptrdiff_t rows = 0;
    std::ptrdiff_t wanted = 0;
    for (const Slice& slice : slices) {
        const auto n = static_cast<std::ptrdiff_t>(slice.tokens.size());
        rows += n;
        wanted += slice.rows == LogitRows::all ? n : (slice.rows == LogitRows::last ? 1 : 0);
    }
    const Activations x{frame.floats(static_cast<std::size_t>(rows * width)), width, rows};
    float* scratch = frame.floats(static_cast<std::size_t>(width));

    std::ptrdiff_t row = 0;
    for (const Slice& slice : slices)
        for (std::size_t i = 0; i < slice.tokens.size(); ++i)
            model.embed(slice.tokens[i], slice.session->position() + static_cast<int>(i),
                        x.row(row++), scratch);

    auto* batch = frame.array<BatchSlice>(slices.size());
    for (int layer = 0; layer < model.layers(); ++layer) {
        require(!context.cancel.stop_requested(), ErrorCode::cancelled, "cancelled before layer ",
                layer);
        int first = 0;
        for (std::size_t i = 0; i < slices.size(); ++i) {
            const int n = static_cast<int>(slices[i].tokens.size());
            new (batch + i) BatchSlice{slices[i].session->cache(layer), first, n,
                                       slices[i].session->position()};
            first += n;
        }
        try {
            model.block(layer).forward(x, {batch, slices.size()}, width, context);
        } catch (const Error& error) {
            if (error.code() != ErrorCode::non_finite) throw;
            fail(ErrorCode::non_finite, "layer ", layer, ": ", error.what());
        }
        check_finite(x, width, "after layer ", layer, context);
        if (context.after_layer) context.after_layer(layer);
    }

    // Final norm only of rows that somebody reads.
    const Activations finished{frame.floats(static_cast<std::size_t>(rows * width)), width, rows};
    const Activations selected{frame.floats(static_cast<std::size_t>(wanted * width)), width,
                               wanted};
    const Activations logits{frame.floats(static_cast<std::size_t>(wanted) *
                                          static_cast<std::size_t>(model.vocabulary())),
                             model.vocabulary(), wanted};
    std::ptrdiff_t first = 0;
    std::ptrdiff_t out = 0;
    for (const Slice& slice : slices) {
        const auto n = static_cast<std::ptrdiff_t>(slice.tokens.size());
        const std::ptrdiff_t logit_rows =
            slice.rows == LogitRows::all ? n : (slice.rows == LogitRows::last ? 1 : 0);
        const std::ptrdiff_t from = slice.hidden != nullptr ? first : first + n - logit_rows;
        const std::ptrdiff_t count = first + n - from;
        model.finish({x.row(from), width, count}, {finished.row(from), width, count}, context);
        if (logit_rows > 0)
            std::memcpy(selected.row(out), finished.row(first + n - logit_rows),
                        static_cast<std::size_t>(logit_rows * width) * sizeof(float));
        out += logit_rows;
        first += n;
    }
    if (wanted > 0) {
        model.project(selected, logits, context);
        check_finite(logits, model.vocabulary(), "in the logits", -1, context);
    }

    first = 0;
    out = 0;
    for (const Slice& slice : slices) {
        const auto n = static_cast<std::ptrdiff_t>(slice.tokens.size());
        const std::ptrdiff_t logit_rows =
            slice.rows == LogitRows::all ? n : (slice.rows == LogitRows::last ? 1 : 0);
        if (logit_rows > 0)
            std::memcpy(slice.logits, logits.row(out),
                        static_cast<std::size_t>(logit_rows) *
                            static_cast<std::size_t>(model.vocabulary()) * sizeof(float));
        if (slice.hidden != nullptr)
            std::memcpy(slice.hidden, finished.row(first),
                        static_cast<std::size_t>(n * width) * sizeof(float));
        out += logit_rows;
        first += n;
    }
    transaction.commit();
}

}  // namespace detail

/// Feeds every slice's tokens to its session and writes the logits asked for. All sessions belong
/// to `model` and are different. Throws Error{empty_prompt, token_range, capacity, concurrent_use,
/// model_mismatch, invalid_argument, bad_state} before any work, Error{non_finite, cancelled} or
/// whatever an executor or hook throws during it; then every session is as it was.
template <class Model>
void forward(const Model& model, std::span<const Slice> slices, Context& context) {
    const ForwardHold hold(slices);
    detail::forward_held(model, slices, context);
}

}  // namespace cairn::inline CAIRN_ABI
