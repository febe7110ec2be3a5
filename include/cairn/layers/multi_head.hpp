// Multi-head attention with its projections, for a batch of sequences at once. MHA, MQA and GQA are
// numbers in the layout, not classes.
#pragma once

#include <cmath>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "cairn/layers/batch_slice.hpp"
#include "cairn/layers/input_factors.hpp"
#include "cairn/layers/rotary.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What an architecture does to a token's queries, keys and values before they are rotated: norms
/// of heads, of whole rows, clamps. Shared by threads.
class ProjectedStep {
  public:
    virtual ~ProjectedStep() = default;
    /// In place on one token: q [heads][key_dim], k [kv_heads][key_dim], v [kv_heads][value_dim]; k
    /// and v are null in a layer that attends another one's.
    virtual void apply(float* q, float* k, float* v) const = 0;
    /// Numbers in its weights.
    virtual std::size_t parameters() const noexcept { return 0; }
    /// Adds weights and settings to a fingerprint.
    virtual void hash(Fingerprint& to) const = 0;
};

namespace internal {

inline void apply_step(const ProjectedStep& step, const Activations& qkv, std::ptrdiff_t width,
                       std::ptrdiff_t q_width, std::ptrdiff_t k_width, Context& context) {
    for_each_row(context, qkv.rows, [&](std::ptrdiff_t r) {
        float* q = qkv.row(r);
        float* k = width > q_width ? q + q_width : nullptr;
        step.apply(q, k, k != nullptr ? k + k_width : nullptr);
    });
}

}  // namespace internal

/// Settings of attention that are not projections.
struct AttentionSettings {
    Mask mask = Mask::causal();
    float scale = 0.0F;  ///< 0: 1 / sqrt(key_dim)
    float soft_cap = 0.0F;
    std::vector<float> alibi{};
    std::vector<float> sinks{};  ///< a score a head that brings no value; none: empty
    /// The layer whose keys and values it attends: it then has projections to queries only, and
    /// stages nothing. Below 0: its own.
    int leader = -1;
    std::shared_ptr<const ProjectedStep> projected{};  ///< none: null
};

/// Projections to queries, keys and values (in one go), attention over the cache, output
/// projection. R is NoRotation, RotaryHalf or RotaryInterleaved.
template <class R>
class MultiHead {
  public:
    MultiHead() = default;
    /// qkv: [width -> heads*key_dim | kv_heads*key_dim | kv_heads*value_dim], only the first where
    /// it follows another layer; out: [heads*value_dim -> width]. Throws Error{shape_mismatch,
    /// invalid_argument, non_finite}.
    [[gnu::cold]] MultiHead(const HeadLayout& layout, JoinedLinear qkv, Linear out, R rotation = {},
                            AttentionSettings settings = {})
        : layout_(layout),
          qkv_(std::move(qkv)),
          out_(std::move(out)),
          rotation_(std::move(rotation)),
          settings_(std::move(settings)) {
        validate(layout);
        require(qkv_.out() == q_width() + k_width() + v_width() &&
                    out_.in() == std::ptrdiff_t{layout.heads} * layout.value_dim,
                ErrorCode::shape_mismatch, "attention: projection to ", qkv_.out(), " and from ",
                out_.in(), " for ", layout.heads, "/", layout.kv_heads, " heads of ",
                layout.key_dim, "/", layout.value_dim);
        require(out_.out() == qkv_.in(), ErrorCode::shape_mismatch, "attention: projection of ",
                qkv_.in(), " numbers, and back to ", out_.out());
        if constexpr (rotates)
            require(rotation_.dims() <= layout.key_dim, ErrorCode::invalid_argument,
                    "attention: rotary dims ", rotation_.dims(), " exceed head width ",
                    layout.key_dim);
        const FpEnvironment environment;
        internal::require_finite({settings_.scale, settings_.soft_cap},
                                 "attention: scale and soft cap");
        internal::require_finite(settings_.alibi, "attention: alibi");
        internal::require_finite(settings_.sinks, "attention: sinks");
        layout_.input = static_cast<int>(qkv_.in());
        layout_.stepped = settings_.projected != nullptr;
        if constexpr (chooses) layout_.near = rotation_.near();
        if (settings_.scale == 0.0F)
            settings_.scale = 1.0F / std::sqrt(static_cast<float>(layout.key_dim));
    }

    /// Stages the rows' keys and values in the slices' caches, or what they keep in place of them,
    /// and attends; committing is up to the
    /// caller. x and y are [rows][width] and do not overlap. If it throws, rows may stay staged.
    /// Throws Error{non_finite} for queries, keys or values that are NaN or infinite: the softmax
    /// and rows of 8 or 16 bits would hide them.
    void forward(const Activations& x, std::span<const BatchSlice> slices, const Activations& y,
                 Context& context) const {
        const FpEnvironment environment;
        Workspace::Frame frame(context.workspace());
        const Activations qkv{frame.floats(static_cast<std::size_t>(x.rows * qkv_.out())),
                              qkv_.out(), x.rows};
        const Activations mixed{frame.floats(static_cast<std::size_t>(x.rows * out_.in())),
                                out_.in(), x.rows};
        project(x, slices, qkv, context);
        if (!follows())
            for (const BatchSlice& slice : slices) stage(x, slice, qkv, context);
        FactorWeights* const find = factored_of(slices);
        const Maker maker(*this, find != nullptr ? &factors(find) : nullptr);
        AttentionParameters parameters{.scale = settings_.scale,
                                       .mask = settings_.mask,
                                       .soft_cap = settings_.soft_cap,
                                       .alibi = settings_.alibi,
                                       .sinks = settings_.sinks,
                                       .maker = &maker};
        // Sequences that are turned alike go together.
        for (std::size_t first = 0, end = 0; first < slices.size(); first = end) {
            const Rotation* turn = turn_of(slices[first]);
            while (end < slices.size() && turn_of(slices[end]) == turn) ++end;
            parameters.rotation = turn;
            internal::attend_slices(slices.subspan(first, end - first), qkv, parameters,
                                    layout_.heads, mixed, context);
        }
        out_.forward(mixed, y, context);
    }

    const HeadLayout& layout() const noexcept { return layout_; }
    std::ptrdiff_t width() const noexcept { return out_.out(); }
    /// Keys a query sees, itself included.
    int window() const noexcept { return settings_.mask.window(); }
    /// The layer whose keys and values it attends; -1: its own.
    int leader() const noexcept { return follows() ? settings_.leader : -1; }
    std::size_t parameters() const noexcept {
        return qkv_.parameters() + out_.parameters() + settings_.sinks.size() +
               (settings_.projected != nullptr ? settings_.projected->parameters() : 0);
    }
    std::size_t bytes() const noexcept { return qkv_.bytes() + out_.bytes(); }
    /// Adds weights, shape and settings to a fingerprint.
    [[gnu::cold]] void hash(Fingerprint& to) const {
        for (const int n : {layout_.heads, layout_.kv_heads, layout_.key_dim, layout_.value_dim,
                            settings_.mask.window()})
            to.add(static_cast<std::uint64_t>(n));
        to.add(&settings_.scale, sizeof settings_.scale);
        to.add(&settings_.soft_cap, sizeof settings_.soft_cap);
        to.add(settings_.alibi.data(), settings_.alibi.size() * sizeof(float));
        if (!settings_.sinks.empty())
            to.add(settings_.sinks.data(), settings_.sinks.size() * sizeof(float));
        if (follows()) to.add(static_cast<std::uint64_t>(settings_.leader));
        if constexpr (rotates) rotation_.hash(to);
        name_settings(to);
        if (settings_.projected != nullptr) settings_.projected->hash(to);
        qkv_.hash(to);
        out_.hash(to);
    }

  private:
    static constexpr bool rotates = !std::is_same_v<R, NoRotation>;
    static constexpr bool chooses = requires(const R& rotation) { rotation.of(0); };
    const Rotation* turn_of(const BatchSlice& slice) const noexcept {
        if constexpr (chooses)
            return &rotation_.of(slice.capacity);
        else if constexpr (rotates)
            return (void)slice, &rotation_;
        else
            return (void)slice, nullptr;
    }
    // Keys before rotation, and values, of input rows: for caches that keep nothing else.
    class Maker final : public RowMaker {
      public:
        Maker(const MultiHead& layer, const internal::InputFactors* factors) noexcept
            : layer_(layer), factors_(factors) {}
        int width() const noexcept override {
            return factors_ != nullptr ? factors_->width() : layer_.layout_.input;
        }
        void make(Made what, int kv_head, const float* x, int count, float* out,
                  Context& context) const override {
            const bool keys = what == Made::keys;
            const HeadLayout& layout = layer_.layout_;
            const std::ptrdiff_t dims = keys ? layout.key_dim : layout.value_dim;
            const std::ptrdiff_t begin =
                layer_.q_width() + (keys ? 0 : layer_.k_width()) + kv_head * dims;
            const Activations made{out, dims, count};
            if (factors_ != nullptr)
                factors_->make(what, x, count, kv_head * dims, dims, made, context);
            else
                layer_.qkv_.forward({const_cast<float*>(x), width(), count}, made, begin,
                                    begin + dims, context);
            internal::require_finite_rows(made, dims, "keys or values of a layer's inputs",
                                          context);
        }

      private:
        const MultiHead& layer_;
        const internal::InputFactors* factors_;
    };
    const internal::InputFactors& factors(FactorWeights* find) const {
        return factors_->by(find, qkv_, q_width(), k_width(), v_width());
    }
    // How the slices' caches, all of them alike, keep coordinates of inputs; null: they do not.
    static FactorWeights* factored_of(std::span<const BatchSlice> slices) {
        return slices.empty() ? nullptr : slices[0].cache.rows_wanted().factored;
    }
    // Queries of all rows, keys and values as far as any cache wants them.
    void project(const Activations& x, std::span<const BatchSlice> slices, const Activations& qkv,
                 Context& context) const {
        RowsWanted any{RowKind::input, false};
        FactorWeights* const find = factored_of(slices);
        for (const BatchSlice& slice : slices) {
            HeadLayout held = slice.cache.layout();
            if (follows()) held.heads = layout_.heads;
            require(held == layout_, ErrorCode::shape_mismatch, "attention of ", layout_.heads, "/",
                    layout_.kv_heads, " heads of ", layout_.key_dim, "/", layout_.value_dim,
                    " over a cache of ", held.heads, "/", held.kv_heads, " heads of ", held.key_dim,
                    "/", held.value_dim);
            const RowsWanted wanted = slice.cache.rows_wanted();
            // Made rows would be made by this layer's projections and rotation, not the leader's.
            require(!follows() || wanted.keys == RowKind::ready, ErrorCode::unsupported,
                    "attention of a layer that follows layer ", settings_.leader,
                    " over a cache of unrotated keys or inputs");
            require(wanted.keys != RowKind::input || settings_.projected == nullptr,
                    ErrorCode::unsupported,
                    "attention with a step after its projections over a cache of inputs");
            require(wanted.keys != RowKind::input || held.input == layout_.input,
                    ErrorCode::shape_mismatch, "attention of inputs of ", layout_.input,
                    " over a cache of inputs of ", held.input);
            require(wanted.factored == find, ErrorCode::unsupported,
                    "attention over caches of inputs in two bases at once");
            if (wanted.keys != RowKind::input) any.keys = wanted.keys;
            any.values = any.values || (wanted.values && wanted.factored == nullptr);
        }
        constexpr const char* what = "queries, keys or values";
        if (any.keys != RowKind::input) {
            qkv_.forward(x, qkv, context);
            if (settings_.projected != nullptr)
                internal::apply_step(*settings_.projected, qkv, qkv_.out(), q_width(), k_width(),
                                     context);
            return internal::require_finite_rows(qkv, qkv_.out(), what, context);
        }
        internal::require_finite_rows(x, qkv_.in(), "the inputs of attention", context);
        const auto columns = [&](std::ptrdiff_t begin, std::ptrdiff_t end) {
            const Activations y{qkv.data + begin, qkv.stride, qkv.rows};
            qkv_.forward(x, y, begin, end, context);
            internal::require_finite_rows(y, end - begin, what, context);
        };
        columns(0, q_width());
        if (any.values) columns(q_width() + k_width(), qkv_.out());
    }
    // Hands a slice's rows to its cache, in the form that it wants.
    void stage(const Activations& x, const BatchSlice& slice, const Activations& qkv,
               Context& context) const {
        const RowsWanted wanted = slice.cache.rows_wanted();
        float* k = qkv.row(slice.first_row) + q_width();
        float* v = k + k_width();
        if constexpr (rotates) {
            require(slice.rows <= rotation_.positions() - slice.position, ErrorCode::capacity,
                    slice.rows, " rows at position ", slice.position, " go past the ",
                    rotation_.positions(), " rotary positions");
            const Rotation& turn = *turn_of(slice);
            if (wanted.keys == RowKind::ready)
                for_each_row(context, slice.rows, [&](std::ptrdiff_t r) {
                    for (int h = 0; h < layout_.kv_heads; ++h)
                        turn.rotate(k + r * qkv.stride + h * layout_.key_dim,
                                    slice.position + static_cast<int>(r));
                });
        }
        TokenRows rows{k, qkv.stride, slice.rows};
        if (wanted.factored != nullptr)
            factors(wanted.factored)
                .coordinates({x.row(slice.first_row), x.stride, slice.rows},
                             {k, qkv.stride, slice.rows}, {v, qkv.stride, slice.rows}, context);
        else if (wanted.keys == RowKind::input)
            rows = {x.row(slice.first_row), x.stride, slice.rows};
        slice.cache.stage(rows, {v, qkv.stride, slice.rows});
    }
    void name_settings(Fingerprint& to) const {
        const int window = settings_.mask.window();
        to.setting("attention window", &window, sizeof window);
        std::vector<float> numbers{settings_.scale, settings_.soft_cap};
        for (const auto* more : {&settings_.alibi, &settings_.sinks})
            numbers.insert(numbers.end(), more->begin(), more->end());
        if (follows())
            to.setting("layers that share a cache", &settings_.leader, sizeof settings_.leader);
        to.setting("attention scale, cap or bias", numbers.data(), numbers.size() * sizeof(float));
    }
    std::ptrdiff_t q_width() const noexcept {
        return std::ptrdiff_t{layout_.heads} * layout_.key_dim;
    }
    std::ptrdiff_t k_width() const noexcept {
        return follows() ? 0 : std::ptrdiff_t{layout_.kv_heads} * layout_.key_dim;
    }
    std::ptrdiff_t v_width() const noexcept {
        return follows() ? 0 : std::ptrdiff_t{layout_.kv_heads} * layout_.value_dim;
    }
    bool follows() const noexcept { return settings_.leader >= 0; }

    HeadLayout layout_;
    JoinedLinear qkv_;
    Linear out_;
    [[no_unique_address]] R rotation_{};
    AttentionSettings settings_;
    std::shared_ptr<internal::FactorsFound> factors_ = internal::FactorsFound::none();
};

}}  // namespace cairn
