// A loop cut over the workers of an executor: each has a range of its own, and helps the others
// when that is done.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "cairn/core/executor.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// What is left of a worker's share of a loop. The owner takes from the front and reads memory in
// one long stream; who has nothing left takes from the back.
class alignas(64) SharedRange {
  public:
    struct Piece {
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
        explicit operator bool() const noexcept { return begin < end; }
    };
    enum class Side : std::uint8_t { front, back };

    void reset(std::uint32_t begin, std::uint32_t end) noexcept {
        left_.store(word({begin, end}), std::memory_order_relaxed);
    }
    /// Half of what is left, or all where that is less than `least` long.
    Piece take(Side side, std::uint32_t least) noexcept {
        std::uint64_t seen = left_.load(std::memory_order_relaxed);
        for (;;) {
            const Piece left{static_cast<std::uint32_t>(seen >> 32U),
                             static_cast<std::uint32_t>(seen)};
            if (!left) return left;
            const std::uint32_t size = left.end - left.begin;
            const std::uint32_t part = std::min(size, std::max(least, size / 2));
            const std::uint32_t cut = side == Side::front ? left.begin + part : left.end - part;
            const Piece first{left.begin, cut};
            const Piece second{cut, left.end};
            const bool front = side == Side::front;
            // What a piece's body reads and writes is ordered by the executor's hand-off, not here.
            if (left_.compare_exchange_weak(seen, word(front ? second : first),
                                            std::memory_order_relaxed))
                return front ? first : second;
        }
    }

  private:
    static std::uint64_t word(Piece left) noexcept {
        return std::uint64_t{left.begin} << 32U | left.end;
    }
    std::atomic<std::uint64_t> left_{0};
};

// A reference to a callable `void(ptrdiff_t begin, ptrdiff_t end, int worker)`.
class RangeRef {
  public:
    template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, RangeRef>)
    RangeRef(F& callable) noexcept  // NOLINT(google-explicit-constructor)
        : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
          call_([](void* object, std::ptrdiff_t begin, std::ptrdiff_t end, int worker) {
              (*static_cast<F*>(object))(begin, end, worker);
          }) {}
    void operator()(std::ptrdiff_t begin, std::ptrdiff_t end, int worker) const {
        call_(object_, begin, end, worker);
    }

  private:
    void* object_;
    void (*call_)(void*, std::ptrdiff_t, std::ptrdiff_t, int);
};

// Compiled once, whatever bodies there are.
inline void run_ranges(Executor& executor, std::ptrdiff_t count, std::ptrdiff_t grain,
                       RangeRef body) {
    if (count <= 0) return;
    const std::ptrdiff_t least = std::max<std::ptrdiff_t>(grain, 1);
    const std::ptrdiff_t tasks =
        std::clamp<std::ptrdiff_t>(count / least, 1, std::max(executor.useful_workers(), 1));
    if (tasks == 1) {
        auto all = [&](int, int worker) { body(0, count, worker); };
        executor.run(1, all);
        return;
    }
    std::array<SharedRange, 64> ranges;
    const std::ptrdiff_t shares = std::min(tasks, std::ssize(ranges));
    for (std::ptrdiff_t i = 0; i < shares; ++i)
        ranges[static_cast<std::size_t>(i)].reset(
            static_cast<std::uint32_t>(count * i / shares),
            static_cast<std::uint32_t>(count * (i + 1) / shares));
    auto task = [&](int i, int worker) {
        using enum SharedRange::Side;
        for (std::ptrdiff_t k = 0; k < shares; ++k) {
            auto& range = ranges[static_cast<std::size_t>((i + k) % shares)];
            while (const auto piece =
                       range.take(k == 0 ? front : back, static_cast<std::uint32_t>(least)))
                body(std::ptrdiff_t{piece.begin}, std::ptrdiff_t{piece.end}, worker);
        }
    };
    executor.run(static_cast<int>(tasks), task);
}

}  // namespace internal

/// Calls `body(begin, end, worker)` on ranges that cover 0..count, each at least `grain` long where
/// count is (the last of a worker's share may be shorter). `count` is below 2^32.
template <class Body>
void parallel_for(Executor& executor, std::ptrdiff_t count, std::ptrdiff_t grain, Body&& body) {
    internal::run_ranges(executor, count, grain, internal::RangeRef(body));
}

}}  // namespace cairn
