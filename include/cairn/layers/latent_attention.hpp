// Multi-head latent attention (DeepSeek V2, arXiv 2405.04434): keys and values of all heads are
// made of one short row a token, the latent, and of one rotated key that the heads share.
//
//   x -> [ c | r ]     c = norm(W_DKV x), r = RoPE(W_KR x): all that a cache has to keep
//   head i:            key = [ W_UK,i c | r ], value = W_UV,i c, query = [ q_i | RoPE(p_i) ]
//
// One form of the sums serves every row count, so that the cut of a prompt changes no bit; which
// one is a type.
#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "cairn/layers/batch_slice.hpp"
#include "cairn/layers/norm.hpp"
#include "cairn/layers/rotary.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Queries come to the latent rows: key [c | r] of one KV head for all, value c, query
/// [W_UK,i^T q_i | p_i]; W_UV,i is applied to what attention mixed. Caches: `Latent<Codec>`
/// (+latent) keeps c and r once, all others keep c a second time as the value.
struct Absorbed {};
/// Keys and values are rebuilt for every head, and attended as multi-head attention does. Caches of
/// inputs (+inputs) keep c and r and rebuild whenever they are read; all others keep what was
/// rebuilt.
struct Direct {};

/// The numbers of multi-head latent attention, named as in the paper.
struct LatentShape {
    int heads = 0;
    int plain_dim = 0;    ///< d_h: numbers of a head's query and key that positions do not turn
    int rotated_dim = 0;  ///< d_h^R: those that they turn, in keys one row for all heads; 0: none
    int value_dim = 0;    ///< of a head
    int latent_dim = 0;   ///< d_c
};

/// The projections of a layer.
struct LatentWeights {
    /// [width -> d'_c], compressed queries; or [width -> heads * (d_h + d_h^R)] without `query_up`.
    Linear query;
    std::optional<RmsNorm> query_norm{};  ///< of compressed queries
    std::optional<Linear> query_up{};     ///< [d'_c -> heads * (d_h + d_h^R)]
    Linear latent;                        ///< [width -> d_c + d_h^R]: W_DKV above W_KR
    std::optional<RmsNorm> latent_norm{};
    /// A head each. Absorbed: W_UK^T [d_h -> d_c]; Direct: W_UK [d_c -> d_h].
    std::vector<Linear> key_up;
    std::vector<Linear> value_up;  ///< a head each: W_UV [d_c -> value_dim]
    Linear out;                    ///< [heads * value_dim -> width]
};

namespace internal {

// Turns the numbers of a row behind its first `plain`.
template <class R>
class TailRotation final : public Rotation {
  public:
    TailRotation(R rotation, int plain) : rotation_(std::move(rotation)), plain_(plain) {}
    void rotate(float* row, int position) const override {
        rotation_.rotate(row + plain_, position);
    }
    int positions() const noexcept override { return rotation_.positions(); }
    int dims() const noexcept { return rotation_.dims(); }
    void hash(Fingerprint& to) const { rotation_.hash(to); }

  private:
    R rotation_;
    int plain_;
};

}  // namespace internal

/// The layer: Form is Absorbed or Direct, R is RotaryHalf or RotaryInterleaved.
template <class Form, class R = RotaryInterleaved>
class LatentAttention {
  public:
    static constexpr bool absorbed = std::is_same_v<Form, Absorbed>;
    static_assert(absorbed || std::is_same_v<Form, Direct>, "the form is Absorbed or Direct");

    /// `rotation` turns rotated_dim numbers, and none is needed for 0 of them. `scale` of the
    /// scores; 0: 1 / sqrt(plain_dim + rotated_dim). Throws Error{shape_mismatch,
    /// invalid_argument, non_finite}.
    LatentAttention(const LatentShape& shape, LatentWeights weights, R rotation = {},
                    float scale = 0.0F)
        : shape_(shape),
          w_(std::move(weights)),
          rotation_(std::move(rotation), plain_numbers()),
          scale_(scale) {
        check();
        const FpEnvironment environment;
        internal::require_finite({scale_}, "latent attention: scale");
        if (scale_ == 0.0F) scale_ = 1.0F / std::sqrt(static_cast<float>(query_dim()));
        const int latent = shape.latent_dim + shape.rotated_dim;
        // What a cache of inputs keeps of the direct form is the latent row.
        if constexpr (absorbed)
            layout_ = {.heads = shape.heads,
                       .kv_heads = 1,
                       .key_dim = latent,
                       .value_dim = shape.latent_dim,
                       .input = static_cast<int>(width()),
                       .stepped = true,
                       .leading = true};
        else
            layout_ = {shape.heads, shape.heads, query_dim(), shape.value_dim, latent};
        std::vector<Linear> parts;
        parts.push_back(std::move(w_.query));
        parts.push_back(std::move(w_.latent));
        joined_ = JoinedLinear(std::move(parts));
    }

    /// Stages the rows' latents, or what is rebuilt of them, in the slices' caches and attends;
    /// committing is up to the caller. x and y are [rows][width] and do not overlap. If it throws,
    /// rows may stay staged. Throws Error{non_finite} for queries, latents, keys or values that are
    /// NaN or infinite, Error{shape_mismatch, unsupported} for a cache of another layout or, in the
    /// absorbed form, of inputs.
    void forward(const Activations& x, std::span<const BatchSlice> slices, const Activations& y,
                 Context& context) const {
        const FpEnvironment environment;
        for (const BatchSlice& slice : slices) check_cache(slice.cache);
        Workspace::Frame frame(context.workspace());
        const auto room = [&](std::ptrdiff_t columns) {
            return Activations{frame.floats(static_cast<std::size_t>(x.rows * columns)), columns,
                               x.rows};
        };
        const Activations first = room(joined_.out());
        joined_.forward(x, first, context);
        Activations latent = first;
        latent.data += joined_.out() - latent_width();
        if (w_.latent_norm) w_.latent_norm->forward(latent, latent, context);
        internal::require_finite_rows(latent, latent_width(), "latent rows", context);
        Activations queries = first;
        if (w_.query_up) {
            if (w_.query_norm) w_.query_norm->forward(first, first, context);
            queries = room(w_.query_up->out());
            w_.query_up->forward(first, queries, context);
        }
        if constexpr (absorbed) queries = absorb(queries, room(q_width()), context);
        internal::require_finite_rows(queries, q_width(), "queries", context);
        stage(slices, latent, frame, context);
        const Maker maker(*this);
        const AttentionParameters parameters{
            .scale = scale_, .rotation = rotation(), .maker = absorbed ? nullptr : &maker};
        const Activations mixed = room(std::ptrdiff_t{layout_.heads} * layout_.value_dim);
        internal::attend_slices(slices, queries, parameters, layout_.heads, mixed, context);
        if constexpr (absorbed) {
            const Activations values = room(w_.out.in());
            each_head(w_.value_up, mixed, layout_.value_dim, values, shape_.value_dim, frame,
                      context);
            w_.out.forward(values, y, context);
        } else {
            w_.out.forward(mixed, y, context);
        }
    }

    const HeadLayout& layout() const noexcept { return layout_; }
    std::ptrdiff_t width() const noexcept { return w_.out.out(); }
    int window() const noexcept { return Mask::causal().window(); }
    int leader() const noexcept { return -1; }
    std::size_t parameters() const noexcept {
        return sum([](const auto& part) { return part.parameters(); });
    }
    std::size_t bytes() const noexcept {
        return sum([](const auto& part) {
            if constexpr (requires { part.bytes(); })
                return part.bytes();
            else
                return (void)part, std::size_t{0};
        });
    }
    /// Adds weights, shape and settings to a fingerprint.
    [[gnu::cold]] void hash(Fingerprint& to) const {
        for (const int n : {shape_.heads, shape_.plain_dim, shape_.rotated_dim, shape_.value_dim,
                            shape_.latent_dim, absorbed ? 1 : 0})
            to.add(static_cast<std::uint64_t>(n));
        to.add(&scale_, sizeof scale_);
        to.setting("attention scale, cap or bias", &scale_, sizeof scale_);
        if (shape_.rotated_dim > 0) rotation_.hash(to);
        each_part([&](const auto& part) { part.hash(to); });
    }

  private:
    // Keys and values of latent rows: for caches that keep nothing else.
    class Maker final : public RowMaker {
      public:
        explicit Maker(const LatentAttention& layer) noexcept : layer_(layer) {}
        int width() const noexcept override { return static_cast<int>(layer_.latent_width()); }
        void make(Made what, int head, const float* x, int count, float* out,
                  Context& context) const override {
            const bool keys = what == Made::keys;
            const LatentShape& shape = layer_.shape_;
            const Activations from{const_cast<float*>(x), layer_.latent_width(), count};
            const Activations to{out, keys ? layer_.query_dim() : shape.value_dim, count};
            const auto& up = keys ? layer_.w_.key_up : layer_.w_.value_up;
            up[static_cast<std::size_t>(head)].forward(from, to, context);
            if (keys) layer_.copy_tails(from, shape.latent_dim, to, shape.plain_dim);
            internal::require_finite_rows(to, to.stride, "keys or values", context);
        }

      private:
        const LatentAttention& layer_;
    };

    void check() const {
        const LatentShape& s = shape_;
        require(s.heads > 0 && s.plain_dim > 0 && s.rotated_dim >= 0 && s.value_dim > 0 &&
                    s.latent_dim > 0,
                ErrorCode::invalid_argument, "latent attention: ", s.heads, " heads of ",
                s.plain_dim, " + ", s.rotated_dim, " / ", s.value_dim, ", latent rows of ",
                s.latent_dim);
        require(rotation_.dims() == s.rotated_dim, ErrorCode::invalid_argument,
                "latent attention: a rotation of ", rotation_.dims(), " numbers for ",
                s.rotated_dim);
        const auto fits = [](const Linear& part, std::ptrdiff_t in, std::ptrdiff_t out,
                             const char* name) {
            require(part.in() == in && part.out() == out, ErrorCode::shape_mismatch,
                    "latent attention: ", name, " ", part.in(), " -> ", part.out(), " for ", in,
                    " -> ", out);
        };
        const std::ptrdiff_t all = std::ptrdiff_t{s.heads} * query_dim();
        const std::ptrdiff_t inner = w_.query_up ? w_.query_up->in() : all;
        fits(w_.query, width(), inner, "queries");
        if (w_.query_up) fits(*w_.query_up, inner, all, "compressed queries");
        fits(w_.latent, width(), latent_width(), "latents");
        fits(w_.out, std::ptrdiff_t{s.heads} * s.value_dim, width(), "output");
        if (w_.query_norm) internal::check_width("norm", *w_.query_norm, "compressed query", inner);
        if (w_.latent_norm) internal::check_width("norm", *w_.latent_norm, "latent", s.latent_dim);
        require(std::ssize(w_.key_up) == s.heads && std::ssize(w_.value_up) == s.heads,
                ErrorCode::shape_mismatch, "latent attention: ", w_.key_up.size(), " and ",
                w_.value_up.size(), " matrices for ", s.heads, " heads");
        for (const Linear& part : w_.key_up)
            fits(part, absorbed ? s.plain_dim : s.latent_dim, absorbed ? s.latent_dim : s.plain_dim,
                 "keys");
        for (const Linear& part : w_.value_up) fits(part, s.latent_dim, s.value_dim, "values");
    }
    void check_cache(const CacheRef& cache) const {
        const HeadLayout held = cache.layout();
        require(held == layout_, ErrorCode::shape_mismatch, "latent attention of ", layout_.heads,
                "/", layout_.kv_heads, " heads of ", layout_.key_dim, "/", layout_.value_dim,
                " over a cache of ", held.heads, "/", held.kv_heads, " heads of ", held.key_dim,
                "/", held.value_dim);
        const RowsWanted wanted = cache.rows_wanted();
        if (wanted.keys != RowKind::input) return;
        require(wanted.factored == nullptr, ErrorCode::unsupported,
                "latent attention over a cache of coordinates: its rows are as short as they can "
                "be");
        require(!absorbed, ErrorCode::unsupported,
                "latent attention in its absorbed form over a cache of inputs: its rows are as "
                "short as they can be");
        require(held.input == layout_.input, ErrorCode::shape_mismatch, "latent rows of ",
                layout_.input, " in a cache of inputs of ", held.input);
    }

    // y[r] of every head = W of that head of its part of x[r].
    void each_head(const std::vector<Linear>& up, const Activations& x, std::ptrdiff_t x_step,
                   const Activations& y, std::ptrdiff_t y_step, Workspace::Frame& frame,
                   Context& context) const {
        auto* products = frame.array<OwnProduct>(up.size());
        for (std::size_t h = 0; h < up.size(); ++h) {
            const auto head = static_cast<std::ptrdiff_t>(h);
            new (products + h) OwnProduct{
                {&up[h].weights(), up[h].bias(), {y.data + head * y_step, y.stride, y.rows}},
                {x.data + head * x_step, x.stride, x.rows}};
        }
        multiply_each({products, up.size()}, context);
    }
    // The numbers behind the first `from` of x go behind the first `to` of y.
    void copy_tails(const Activations& x, std::ptrdiff_t from, const Activations& y,
                    std::ptrdiff_t to) const {
        for (std::ptrdiff_t r = 0; r < x.rows; ++r)
            std::copy_n(x.row(r) + from, shape_.rotated_dim, y.row(r) + to);
    }
    // [q | p] of every head becomes [W_UK^T q | p].
    Activations absorb(const Activations& q, const Activations& to, Context& context) const {
        Workspace::Frame frame(context.workspace());
        each_head(w_.key_up, q, query_dim(), to, layout_.key_dim, frame, context);
        for (std::ptrdiff_t h = 0; h < shape_.heads; ++h)
            copy_tails(q, h * query_dim() + shape_.plain_dim, to,
                       h * layout_.key_dim + shape_.latent_dim);
        return to;
    }
    // Hands the slices' rows to their caches, in the form that each wants.
    void stage(std::span<const BatchSlice> slices, const Activations& latent,
               Workspace::Frame& frame, Context& context) const {
        Activations keys = latent;
        Activations values = latent;
        bool rebuilt = absorbed;
        for (const BatchSlice& slice : slices) {
            const RowKind wanted = slice.cache.rows_wanted().keys;
            if constexpr (!absorbed) {
                if (wanted == RowKind::input) {
                    const TokenRows rows{latent.row(slice.first_row), latent.stride, slice.rows};
                    slice.cache.stage(rows, rows);
                    continue;
                }
                if (!rebuilt) rebuild(latent, keys, values, frame, context);
                rebuilt = true;
            }
            if (wanted == RowKind::ready) turn(slice, keys, context);
            slice.cache.stage({keys.row(slice.first_row), keys.stride, slice.rows},
                              {values.row(slice.first_row), values.stride, slice.rows});
        }
    }
    void turn(const BatchSlice& slice, const Activations& keys, Context& context) const {
        if (rotation() == nullptr) return;
        require(slice.rows <= rotation_.positions() - slice.position, ErrorCode::capacity,
                slice.rows, " rows at position ", slice.position, " go past the ",
                rotation_.positions(), " rotary positions");
        for_each_row(context, slice.rows, [&](std::ptrdiff_t r) {
            for (int h = 0; h < layout_.kv_heads; ++h)
                rotation_.rotate(keys.row(slice.first_row + r) + h * layout_.key_dim,
                                 slice.position + static_cast<int>(r));
        });
    }
    // Keys before rotation, and values, of all heads.
    void rebuild(const Activations& latent, Activations& keys, Activations& values,
                 Workspace::Frame& frame, Context& context) const {
        const auto room = [&](std::ptrdiff_t columns) {
            return Activations{frame.floats(static_cast<std::size_t>(latent.rows * columns)),
                               columns, latent.rows};
        };
        keys = room(q_width());
        values = room(w_.out.in());
        each_head(w_.key_up, latent, 0, keys, query_dim(), frame, context);
        each_head(w_.value_up, latent, 0, values, shape_.value_dim, frame, context);
        for (std::ptrdiff_t h = 0; h < shape_.heads; ++h)
            copy_tails(latent, shape_.latent_dim, keys, h * query_dim() + shape_.plain_dim);
        internal::require_finite_rows(keys, q_width(), "keys", context);
        internal::require_finite_rows(values, w_.out.in(), "values", context);
    }

    template <class Body>
    void each_part(const Body& body) const {
        body(joined_);
        if (w_.query_norm) body(*w_.query_norm);
        if (w_.query_up) body(*w_.query_up);
        if (w_.latent_norm) body(*w_.latent_norm);
        for (const Linear& part : w_.key_up) body(part);
        for (const Linear& part : w_.value_up) body(part);
        body(w_.out);
    }
    template <class Count>
    std::size_t sum(const Count& count) const noexcept {
        std::size_t result = 0;
        each_part([&](const auto& part) { result += count(part); });
        return result;
    }
    const Rotation* rotation() const noexcept {
        return shape_.rotated_dim > 0 ? &rotation_ : nullptr;
    }
    int plain_numbers() const noexcept { return absorbed ? shape_.latent_dim : shape_.plain_dim; }
    int query_dim() const noexcept { return shape_.plain_dim + shape_.rotated_dim; }
    std::ptrdiff_t latent_width() const noexcept {
        return std::ptrdiff_t{shape_.latent_dim} + shape_.rotated_dim;
    }
    std::ptrdiff_t q_width() const noexcept {
        return std::ptrdiff_t{layout_.heads} * layout_.key_dim;
    }

    LatentShape shape_;
    LatentWeights w_;  // query and latent went to joined_
    JoinedLinear joined_;
    internal::TailRotation<R> rotation_;
    float scale_;
    HeadLayout layout_;
};

}}  // namespace cairn
