// A block put together at run time: norms before or behind each part or none, attention and
// feed-forward one after the other or side by side, changes scaled. What the fixed blocks of
// layers/block.hpp do is the same arithmetic.
#pragma once

#include <cstdint>
#include <utility>

#include "cairn/layers/any_feed_forward.hpp"
#include "cairn/layers/any_norm.hpp"
#include "cairn/layers/any_rotation.hpp"
#include "cairn/layers/block.hpp"
#include "cairn/layers/multi_head.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// How what attention and feed-forward make of a row joins it.
struct Residual {
    /// `parallel`: both read the row as it was, and both changes are added.
    enum class Order : std::uint8_t { sequential, parallel };
    /// What a change is added to: the row, or the row behind its norm (BLOOM's option).
    enum class Onto : std::uint8_t { row, normed_row };
    Order order = Order::sequential;
    Onto onto = Onto::row;
    float scale = 1.0F;  ///< of each change
};

/// The parts of a block. Norms that are not given are left out; where both parts stand side by side
/// and there is no norm before the feed-forward, it reads what attention reads.
struct BlockParts {
    AnyNorm attention_norm{};
    MultiHead<AnyRotation> attention{};
    AnyNorm attention_post_norm{};
    AnyNorm mlp_norm{};
    AnyFeedForward mlp{};
    AnyNorm mlp_post_norm{};
    Residual residual{};
};

/// x += scale * post(attention(norm(x))); x += scale * post(mlp(norm(x))), or both at once.
class ComposedBlock {
  public:
    using NormType = AnyNorm;
    /// Throws Error{shape_mismatch} for parts of different widths, Error{invalid_argument} for a
    /// scale that is not finite.
    explicit ComposedBlock(BlockParts parts) : parts_(std::move(parts)) {
        const int width = layout().input;
        for (const AnyNorm* norm : {&parts_.attention_norm, &parts_.attention_post_norm,
                                    &parts_.mlp_norm, &parts_.mlp_post_norm})
            internal::check_width("norm", *norm, "block", width);
        internal::check_width("mlp", parts_.mlp, "block", width);
        require(parts_.residual.scale - parts_.residual.scale == 0.0F, ErrorCode::invalid_argument,
                "block: changes times ", parts_.residual.scale);
        require(parts_.residual.onto == Residual::Onto::row || parts_.attention_norm.given(),
                ErrorCode::invalid_argument, "block: changes added to normed rows without a norm");
        require(parts_.residual.onto == Residual::Onto::row ||
                    parts_.residual.order == Residual::Order::sequential,
                ErrorCode::invalid_argument, "block: parts side by side, added to normed rows");
    }

    /// In place on x [rows][width]; rows are staged in the slices' caches.
    void forward(const Activations& x, std::span<const BatchSlice> slices, std::ptrdiff_t width,
                 Context& context) const {
        const FpEnvironment environment;
        Workspace::Frame frame(context.workspace());
        const auto floats = static_cast<std::size_t>(x.rows * width);
        const Activations normed{frame.floats(floats), width, x.rows};
        const Activations change{frame.floats(floats), width, x.rows};
        const BlockParts& p = parts_;
        const bool parallel = p.residual.order == Residual::Order::parallel;
        const Activations into = read(p.attention_norm, x, normed, context);
        p.attention.forward(into, slices, change, context);
        if (parallel) {
            const Activations second{frame.floats(floats), width, x.rows};
            const Activations from =
                p.mlp_norm.given() ? read(p.mlp_norm, x, normed, context) : into;
            p.mlp.forward(from, second, context);
            join(p.attention_post_norm, change, x, into, context);
            return join(p.mlp_post_norm, second, x, x, context);
        }
        join(p.attention_post_norm, change, x, into, context);
        const Activations next = read(p.mlp_norm, x, normed, context);
        p.mlp.forward(next, change, context);
        join(p.mlp_post_norm, change, x, next, context);
    }
    const HeadLayout& layout() const noexcept { return parts_.attention.layout(); }
    int window() const noexcept { return parts_.attention.window(); }
    int leader() const noexcept { return parts_.attention.leader(); }
    std::size_t parameters() const noexcept {
        return parts_.attention_norm.parameters() + parts_.attention.parameters() +
               parts_.attention_post_norm.parameters() + parts_.mlp_norm.parameters() +
               parts_.mlp.parameters() + parts_.mlp_post_norm.parameters();
    }
    std::size_t bytes() const noexcept { return parts_.attention.bytes() + parts_.mlp.bytes(); }
    std::size_t decode_bytes() const noexcept {
        return parts_.attention.bytes() + parts_.mlp.decode_bytes();
    }
    /// Adds weights and settings to a fingerprint.
    void hash(Fingerprint& to) const {
        for (const AnyNorm* norm : {&parts_.attention_norm, &parts_.attention_post_norm,
                                    &parts_.mlp_norm, &parts_.mlp_post_norm}) {
            to.add(norm->given() ? 1U : 0U);
            norm->hash(to);
        }
        parts_.attention.hash(to), parts_.mlp.hash(to);
        to.add(static_cast<std::uint64_t>(parts_.residual.order));
        to.add(static_cast<std::uint64_t>(parts_.residual.onto));
        to.add(&parts_.residual.scale, sizeof parts_.residual.scale);
    }

  private:
    // What a part reads: the normed rows, or the rows themselves.
    static Activations read(const AnyNorm& norm, const Activations& x, const Activations& normed,
                            Context& context) {
        if (!norm.given()) return x;
        norm.forward(x, normed, context);
        return normed;
    }
    // The change of a part that read `from` joins x.
    void join(const AnyNorm& post, const Activations& change, const Activations& x,
              const Activations& from, Context& context) const {
        if (post.given()) post.forward(change, change, context);
        const std::ptrdiff_t width = change.stride;
        const kernels::Table& kernel = kernels::active();
        const bool onto_normed = parts_.residual.onto == Residual::Onto::normed_row;
        for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
            if (onto_normed && from.data != x.data) std::copy_n(from.row(r), width, x.row(r));
            if (parts_.residual.scale == 1.0F)
                kernel.add(change.row(r), width, x.row(r));
            else
                kernel.axpy(parts_.residual.scale, change.row(r), width, x.row(r));
        });
    }

    BlockParts parts_;
};

}}  // namespace cairn
