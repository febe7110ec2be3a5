// What attention is asked besides a cache: queries, and what it does besides softmax(q k) v: scale,
// masks, biases, rotation of queries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "cairn/core/error.hpp"
#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Which keys a query sees by position: itself and what lies before it, up to a window.
class Mask {
  public:
    /// Query i sees every key j <= i.
    static constexpr Mask causal() noexcept { return Mask(std::numeric_limits<int>::max()); }
    /// Query i sees the `width` keys i - width < j <= i. Error{invalid_argument} below 1.
    static Mask sliding_window(int width) {
        require(width > 0, ErrorCode::invalid_argument, "sliding window of ", width,
                " keys; at least 1");
        return Mask(width);
    }
    /// Keys a query sees, itself included.
    constexpr int window() const noexcept { return window_; }

  private:
    constexpr explicit Mask(int window) noexcept : window_(window) {}
    int window_;
};

/// Turns a head's row as its position demands (RoPE). Stateless while used; shared by threads.
class Rotation {
  public:
    virtual ~Rotation() = default;
    /// Rotates one head's row in place. 0 <= position < positions().
    virtual void rotate(float* row, int position) const = 0;
    /// Positions it has tables for.
    virtual int positions() const noexcept = 0;
};

/// Rows of queries, not rotated: row r stands at position + r and holds its heads side by side.
struct Queries {
    const float* q = nullptr;
    std::ptrdiff_t stride = 0;  ///< floats from row to row
    int rows = 0;
    int position = 0;
};

class Context;

/// What rows are made into when they are read.
enum class Made : std::uint8_t { keys, values };

/// The projections of a layer, for caches that keep its inputs in place of keys and values.
/// Stateless while used; shared by threads.
class RowMaker {
  public:
    virtual ~RowMaker() = default;
    /// Numbers of an input row.
    virtual int width() const noexcept = 0;
    /// out[count][key_dim or value_dim] = keys before rotation, or values, of one KV head for input
    /// rows x[count][width]; each row the same bits whatever it is made with. `context` is the
    /// calling thread's own. May throw.
    virtual void make(Made what, int kv_head, const float* x, int count, float* out,
                      Context& context) const = 0;
};

/// The numbers of one attention layer.
struct AttentionParameters {
    float scale = 1.0F;  ///< of q.k: usually 1 / sqrt(key_dim)
    Mask mask = Mask::causal();
    float soft_cap = 0.0F;  ///< c > 0: scores become c * tanh(score / c)
    std::span<const float>
        alibi{};  ///< per query head slope m: score += m * (key - query position)
    /// Per query head a score that takes its part of the softmax and brings no value: attention
    /// sinks that are weights (gpt-oss). Neither scaled nor capped.
    std::span<const float> sinks{};
    /// Of queries, and of keys that a cache keeps before rotation; others are rotated when staged.
    const Rotation* rotation = nullptr;
    const RowMaker* maker = nullptr;  ///< for caches of layer inputs
};

}}  // namespace cairn
