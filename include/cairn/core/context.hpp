// What a computation needs besides its data: who runs it, scratch memory, and how to interrupt it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <vector>

#include "cairn/core/executor.hpp"
#include "cairn/core/memory.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Scratch floats handed out first in, last out; blocks are kept, so steady use allocates nothing.
class Workspace {
  public:
    /// Marks a place in the workspace; everything taken after it is given back when it dies.
    class Frame {
      public:
        explicit Frame(Workspace& space) noexcept
            : space_(space), block_(space.block_), used_(space.used_) {}
        ~Frame() {
            space_.block_ = block_;
            space_.used_ = used_;
        }
        Frame(const Frame&) = delete;
        Frame& operator=(const Frame&) = delete;

        /// `count` uninitialised floats, aligned to 64 bytes, until the frame dies.
        float* floats(std::size_t count) { return space_.take(count); }
        /// `count` uninitialised objects of a type that needs no constructor or destructor.
        template <class T>
        T* array(std::size_t count) {
            static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 64);
            return reinterpret_cast<T*>(space_.take((count * sizeof(T) + 3) / sizeof(float)));
        }

      private:
        Workspace& space_;
        std::size_t block_;
        std::size_t used_;
    };

    /// Bytes held, in use or not.
    std::size_t bytes() const noexcept {
        std::size_t sum = 0;
        for (const FloatBuffer& block : blocks_) sum += block.size() * sizeof(float);
        return sum;
    }

  private:
    float* take(std::size_t count) {
        count = round_up(std::max<std::size_t>(count, 1), 16);
        while (block_ < blocks_.size() && blocks_[block_].size() - used_ < count) {
            ++block_;
            used_ = 0;
        }
        if (block_ == blocks_.size()) {
            const std::size_t last = blocks_.empty() ? first_block : blocks_.back().size() * 2;
            blocks_.emplace_back(std::max(count, last));
        }
        float* at = blocks_[block_].data() + used_;
        used_ += count;
        return at;
    }

    static constexpr std::size_t first_block = std::size_t{1} << 16;  // 256 KiB
    std::vector<FloatBuffer> blocks_;
    std::size_t block_ = 0;
    std::size_t used_ = 0;
};

/// How products with weights, and with encoded keys, are computed. With quantised numbers: the
/// other side quantised to bytes and integer products, or all numbers as f32. With bf16 weights:
/// activations rounded to bf16 as well, or not; sums are f32. f32 and f16 know no difference. Each
/// keeps the promise of the same bits by itself.
enum class Compute : std::uint8_t { fast, accurate };

/// Executor, scratch and interruption of one thread's computations. Not shared between threads.
class Context {
  public:
    /// The executor must outlive the context.
    explicit Context(Executor& executor = Serial::instance()) noexcept : executor_(&executor) {}

    Executor& executor() const noexcept { return *executor_; }
    Workspace& workspace() noexcept { return workspace_; }

    Compute compute = Compute::fast;
    /// The same choice for attention over encoded caches: `fast` takes queries as bytes, 32 dims
    /// with one scale, and multiplies integers where keys are integers (q8_0, int8, q4_0, q4_1,
    /// int4), and rounds queries and probabilities to bf16 where a cache is of bf16. It has bits
    /// of its own, the same however rows were cut and on every machine.
    Compute attention = Compute::accurate;
    /// Asked before every layer: if a stop was requested, forward throws Error{cancelled}.
    std::stop_token cancel;
    /// Called after every layer of a forward, before its rows are committed; may throw, and then
    /// the sessions of that forward are as they were. For progress, probes and fault injection.
    std::function<void(int layer)> after_layer;

  private:
    Executor* executor_;
    Workspace workspace_;
};

}}  // namespace cairn
