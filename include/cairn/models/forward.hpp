// The one entry into a model: a forward pass over slices of any number of sessions. One sequence is
// a span of one; a row's value never depends on what else was in the batch. What it computed stays
// where it is accepted.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "cairn/core/fp_environment.hpp"
#include "cairn/models/forward_pass.hpp"

namespace cairn { inline namespace CAIRN_ABI {

class Forward;

namespace internal {

// Whether the sessions of a forward are held against others by whoever calls, or by the forward.
enum class Sessions : std::uint8_t { held, free };
template <class Model>
Forward open_forward(const Model&, std::span<const Slice>, Context&, Sessions);

}  // namespace internal

/// A forward whose outputs are written and whose rows wait in the caches: `accept` keeps the first
/// rows of a slice in every layer of its session, and what was not accepted is rolled back when it
/// dies. Until then its sessions are in use: whoever changes them gets Error{concurrent_use}, and
/// the thread that called `forward` may read them, as they were before. They outlive it; one that
/// is moved in the meantime loses the rows. It holds no scratch of the context, which is free for
/// other forwards.
class [[nodiscard]] Forward {
  public:
    Forward(Forward&& other) noexcept
        : first_(std::exchange(other.first_, nullptr)), sessions_(other.sessions_) {}
    Forward& operator=(Forward&&) = delete;
    ~Forward() { close(); }

    /// Sessions that it holds, one a slice.
    std::size_t slices() const noexcept {
        std::size_t count = 0;
        for (const SessionState* s = first_; s != nullptr; s = s->open_.next) ++count;
        return count;
    }
    /// Keeps the first `rows` rows of a slice and forgets its others: none of them or all, or any
    /// number where the slice said so. Error{invalid_argument} for a slice or a number that there
    /// is not, Error{bad_state} where nothing waits: the slice was accepted before, or its session
    /// moved. Then nothing has changed.
    void accept(std::size_t slice, int rows) {
        SessionState* session = first_;
        for (std::size_t i = 0; i < slice && session != nullptr; ++i) session = session->open_.next;
        require(session != nullptr, ErrorCode::invalid_argument, "accept: slice ", slice,
                " of a forward of ", slices());
        const int staged = session->open_.rows;
        require(staged > 0, ErrorCode::bad_state, "accept: slice ", slice,
                " has no rows that wait: it was accepted before, or its session was moved");
        require(rows >= 0 && rows <= staged, ErrorCode::invalid_argument, "accept: ", rows,
                " rows of slice ", slice, ", which has ", staged);
        require(rows == 0 || rows == staged || session->open_.in_part, ErrorCode::invalid_argument,
                "accept: ", rows, " of ", staged, " rows of slice ", slice,
                ", which was to stay whole or not at all");
        const FpEnvironment environment;  // keeps compare when rows are committed
        session->settle(rows);
    }
    /// `accept(0, rows)` of a forward of one slice. Error{invalid_argument} if there are more.
    void accept(int rows) {
        require(first_ == nullptr || first_->open_.next == nullptr, ErrorCode::invalid_argument,
                "accept: ", rows, " rows of which of ", slices(), " slices?");
        accept(0, rows);
    }
    /// Keeps all rows of all slices that were not accepted yet.
    void accept_all() noexcept {
        const FpEnvironment environment;
        for (SessionState* s = first_; s != nullptr; s = s->open_.next) s->settle(s->open_.rows);
    }

  private:
    template <class Model>
    friend Forward internal::open_forward(const Model&, std::span<const Slice>, Context&,
                                          internal::Sessions);
    Forward(std::span<const Slice> slices, internal::Sessions sessions) : sessions_(sessions) {
        SessionState** link = &first_;
        for (std::size_t i = 0; i < slices.size(); ++i) {
            SessionState* session = slices[i].session;
            if (session != nullptr &&
                (sessions == internal::Sessions::held || session->busy().raise())) {
                session->open_ = {};
                *link = session;
                link = &session->open_.next;
                continue;
            }
            close();
            require(session != nullptr, ErrorCode::invalid_argument, "forward: slice ", i,
                    " has no session");
            BusyFlag::refuse("forward: the session (a session can be in a batch once)");
        }
    }
    // From here on rows may be staged.
    void open(std::span<const Slice> slices) noexcept {
        for (const Slice& slice : slices) {
            slice.session->open_.rows = slice.count();
            slice.session->open_.in_part = slice.acceptance == Acceptance::in_part;
        }
    }
    void close() noexcept {
        for (SessionState* s = first_; s != nullptr;) {
            SessionState* const next = std::exchange(s->open_.next, nullptr);
            s->settle(0);
            if (sessions_ == internal::Sessions::free) s->busy().lower();
            s = next;
        }
        first_ = nullptr;
    }
    SessionState* first_ = nullptr;
    internal::Sessions sessions_;
};

namespace internal {

template <class Model>
Forward open_forward(const Model& model, std::span<const Slice> slices, Context& context,
                     Sessions sessions) {
    Forward opened(slices, sessions);
    check_slices(model, slices);
    const FpEnvironment environment;
    opened.open(slices);
    ForwardPass<Model>(model, slices, context).run();
    return opened;
}

}  // namespace internal

/// Feeds every slice's tokens to its session, writes the logits asked for, and returns the
/// transaction: `forward(...).accept_all()` keeps everything. All sessions belong to `model` and
/// are different. Throws Error{empty_prompt, token_range, capacity, concurrent_use, model_mismatch,
/// invalid_argument, bad_state} before any work, Error{unsupported} for a slice to be accepted in
/// part over a cache that keeps all rows or none, Error{non_finite, cancelled} or whatever an
/// executor or hook throws during it; then every session is as it was.
template <class Model>
Forward forward(const Model& model, std::span<const Slice> slices, Context& context) {
    return internal::open_forward(model, slices, context, internal::Sessions::free);
}

}}  // namespace cairn
