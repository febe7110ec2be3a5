// Transformer blocks: attention and feed-forward one after the other, or side by side.
#pragma once

#include <utility>

#include "cairn/layers/mlp.hpp"
#include "cairn/layers/multi_head.hpp"
#include "cairn/layers/norm.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// to += x, row by row: how a sublayer's change joins the residual stream.
inline void add_rows(const Activations& x, const Activations& to, std::ptrdiff_t width,
                     Context& context) {
    for_each_row(context, x.rows,
                 [&](std::ptrdiff_t r) { kernels::active().add(x.row(r), width, to.row(r)); });
}

namespace internal {

// Bytes of weights that decoding one token reads: all, unless a part says otherwise.
template <class Part>
std::size_t decode_bytes_of(const Part& part) noexcept {
    if constexpr (requires { part.decode_bytes(); })
        return part.decode_bytes();
    else
        return part.bytes();
}

}  // namespace internal

/// x += attention(norm(x)); x += mlp(norm(x)). GPT-2, Llama, Mistral, Qwen2.
template <class Norm, class Attention, class FeedForward>
class SequentialBlock {
  public:
    using NormType = Norm;
    /// Throws Error{shape_mismatch} for parts of different widths.
    SequentialBlock(Norm attention_norm, Attention attention, Norm mlp_norm, FeedForward mlp)
        : attention_norm_(std::move(attention_norm)),
          attention_(std::move(attention)),
          mlp_norm_(std::move(mlp_norm)),
          mlp_(std::move(mlp)) {
        internal::check_width("norm before attention", attention_norm_, "block", width());
        internal::check_width("norm before the mlp", mlp_norm_, "block", width());
        internal::check_width("mlp", mlp_, "block", width());
    }

    /// In place on x [rows][width]; rows are staged in the slices' caches.
    void forward(const Activations& x, std::span<const BatchSlice> slices, std::ptrdiff_t width,
                 Context& context) const {
        const FpEnvironment environment;
        Workspace::Frame frame(context.workspace());
        const auto floats = static_cast<std::size_t>(x.rows * width);
        const Activations normed{frame.floats(floats), width, x.rows};
        const Activations change{frame.floats(floats), width, x.rows};
        attention_norm_.forward(x, normed, context);
        attention_.forward(normed, slices, change, context);
        add_rows(change, x, width, context);
        mlp_norm_.forward(x, normed, context);
        mlp_.forward(normed, change, context);
        add_rows(change, x, width, context);
    }
    const HeadLayout& layout() const noexcept { return attention_.layout(); }
    /// Of the rows it changes; 0: its attention does not say it.
    std::ptrdiff_t width() const noexcept { return internal::width_of(attention_); }
    int window() const noexcept { return attention_.window(); }
    int leader() const noexcept { return attention_.leader(); }
    std::size_t parameters() const noexcept {
        return attention_norm_.parameters() + attention_.parameters() + mlp_norm_.parameters() +
               mlp_.parameters();
    }
    std::size_t bytes() const noexcept { return attention_.bytes() + mlp_.bytes(); }
    /// Bytes of weights that decoding one token reads.
    std::size_t decode_bytes() const noexcept {
        return attention_.bytes() + internal::decode_bytes_of(mlp_);
    }
    /// Adds the weights to a fingerprint.
    void hash(Fingerprint& to) const {
        attention_norm_.hash(to), attention_.hash(to);
        mlp_norm_.hash(to), mlp_.hash(to);
    }

  private:
    Norm attention_norm_;
    Attention attention_;
    Norm mlp_norm_;
    FeedForward mlp_;
};

/// x += attention(norm(x)) + mlp(norm(x)), one norm for both. GPT-J.
template <class Norm, class Attention, class FeedForward>
class ParallelBlock {
  public:
    using NormType = Norm;
    /// Throws Error{shape_mismatch} for parts of different widths.
    ParallelBlock(Norm norm, Attention attention, FeedForward mlp)
        : norm_(std::move(norm)), attention_(std::move(attention)), mlp_(std::move(mlp)) {
        internal::check_width("norm", norm_, "block", width());
        internal::check_width("mlp", mlp_, "block", width());
    }

    /// In place on x [rows][width]; rows are staged in the slices' caches.
    void forward(const Activations& x, std::span<const BatchSlice> slices, std::ptrdiff_t width,
                 Context& context) const {
        const FpEnvironment environment;
        Workspace::Frame frame(context.workspace());
        const auto floats = static_cast<std::size_t>(x.rows * width);
        const Activations normed{frame.floats(floats), width, x.rows};
        const Activations change{frame.floats(floats), width, x.rows};
        norm_.forward(x, normed, context);
        attention_.forward(normed, slices, change, context);
        add_rows(change, x, width, context);
        mlp_.forward(normed, change, context);
        add_rows(change, x, width, context);
    }
    const HeadLayout& layout() const noexcept { return attention_.layout(); }
    /// Of the rows it changes; 0: its attention does not say it.
    std::ptrdiff_t width() const noexcept { return internal::width_of(attention_); }
    int window() const noexcept { return attention_.window(); }
    int leader() const noexcept { return attention_.leader(); }
    std::size_t parameters() const noexcept {
        return norm_.parameters() + attention_.parameters() + mlp_.parameters();
    }
    std::size_t bytes() const noexcept { return attention_.bytes() + mlp_.bytes(); }
    /// Adds the weights to a fingerprint.
    void hash(Fingerprint& to) const { norm_.hash(to), attention_.hash(to), mlp_.hash(to); }

  private:
    Norm norm_;
    Attention attention_;
    FeedForward mlp_;
};

}}  // namespace cairn
