// The feed-forward half of a block: activation(x W1) W2, and the gated form silu(x Wg) * (x Wu) Wd.
#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>

#include "cairn/layers/linear.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// x * Phi(x), Phi the normal distribution function.
struct Gelu {
    static void apply(float* x, std::ptrdiff_t n) { kernels::active().gelu_erf(x, n); }
};
/// The tanh approximation of Gelu that GPT-2 and GPT-J were trained with (gelu_new).
struct GeluNew {
    static void apply(float* x, std::ptrdiff_t n) { kernels::active().gelu_tanh(x, n); }
};
/// x / (1 + e^-x).
struct Silu {
    static void apply(float* x, std::ptrdiff_t n) { kernels::active().silu(x, n); }
};

/// up [width -> hidden], activation, down [hidden -> width].
template <class Activation>
class Mlp {
  public:
    Mlp() = default;
    /// Throws Error{shape_mismatch}.
    Mlp(Linear up, Linear down) : up_(std::move(up)), down_(std::move(down)) {
        require(up_.out() == down_.in() && up_.in() == down_.out(), ErrorCode::shape_mismatch,
                "mlp: ", up_.in(), " -> ", up_.out(), " and ", down_.in(), " -> ", down_.out());
    }
    /// y does not overlap x.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        const FpEnvironment environment;
        Workspace::Frame frame(context.workspace());
        const Activations hidden{frame.floats(static_cast<std::size_t>(x.rows * up_.out())),
                                 up_.out(), x.rows};
        up_.forward(x, hidden, context);
        for_each_row(context, x.rows,
                     [&](std::ptrdiff_t r) { Activation::apply(hidden.row(r), up_.out()); });
        down_.forward(hidden, y, context);
    }
    std::ptrdiff_t width() const noexcept { return down_.out(); }
    std::size_t parameters() const noexcept { return up_.parameters() + down_.parameters(); }
    std::size_t bytes() const noexcept { return up_.bytes() + down_.bytes(); }
    /// Adds the weights to a fingerprint.
    void hash(Fingerprint& to) const {
        if (std::is_same_v<Activation, Gelu>) to.add(1U);  // the others' number is none
        up_.hash(to), down_.hash(to);
    }

  private:
    Linear up_;
    Linear down_;
};

/// What a gated feed-forward makes of gate and up, in place of the gate: silu(gate) * up.
struct SiluGate {
    static constexpr const char* name = "swiglu";
    static void apply(float* gate, const float* up, std::ptrdiff_t n) {
        kernels::active().silu_multiply(gate, up, n);
    }
};
/// activation(gate) * up: with Gelu or GeluNew the gate of GeGLU (Shazeer 2020).
template <class Activation>
struct ActivationGate {
    static constexpr const char* name = "gated mlp";
    static void apply(float* gate, const float* up, std::ptrdiff_t n) {
        Activation::apply(gate, n);
        for (std::ptrdiff_t i = 0; i < n; ++i) gate[i] *= up[i];
    }
};

/// gpt-oss's gate: gate * sigmoid(alpha gate) * (up + 1), of a gate of at most `limit` and an up of
/// -limit to limit.
struct ClampedGate {
    float limit = 7.0F;
    float alpha = 1.702F;
    void apply(float* gate, const float* up, std::ptrdiff_t n) const {
        for (std::ptrdiff_t i = 0; i < n; ++i) gate[i] = alpha * std::min(gate[i], limit);
        kernels::active().silu(gate, n);
        const float back = 1.0F / alpha;
        for (std::ptrdiff_t i = 0; i < n; ++i)
            gate[i] = gate[i] * back * (std::clamp(up[i], -limit, limit) + 1.0F);
    }
    void hash(Fingerprint& to) const {
        to.add(&limit, sizeof limit);
        to.add(&alpha, sizeof alpha);
    }
};

/// The gated form: Gate of gate x and up x [width -> hidden], then down [hidden -> width].
template <class Gate>
class GatedMlp {
  public:
    GatedMlp() = default;
    /// Throws Error{shape_mismatch}.
    GatedMlp(Linear gate, Linear up, Linear down)
        : gate_up_(pair(std::move(gate), std::move(up))), down_(std::move(down)) {
        require(gate_up_.out() == 2 * down_.in() && gate_up_.in() == down_.out(),
                ErrorCode::shape_mismatch, Gate::name, ": gate and up to ", gate_up_.out(),
                ", down ", down_.in(), " -> ", down_.out());
    }
    /// y does not overlap x.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        const FpEnvironment environment;
        Workspace::Frame frame(context.workspace());
        const std::ptrdiff_t hidden = down_.in();
        const Activations both{frame.floats(static_cast<std::size_t>(x.rows * 2 * hidden)),
                               2 * hidden, x.rows};
        gate_up_.forward(x, both, context);
        for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
            Gate::apply(both.row(r), both.row(r) + hidden, hidden);
        });
        down_.forward(both, y, context);
    }
    std::ptrdiff_t width() const noexcept { return down_.out(); }
    std::size_t parameters() const noexcept { return gate_up_.parameters() + down_.parameters(); }
    std::size_t bytes() const noexcept { return gate_up_.bytes() + down_.bytes(); }
    /// Adds the weights to a fingerprint.
    void hash(Fingerprint& to) const { gate_up_.hash(to), down_.hash(to); }

  private:
    static JoinedLinear pair(Linear gate, Linear up) {
        require(gate.out() == up.out(), ErrorCode::shape_mismatch, Gate::name, ": gate to ",
                gate.out(), ", up to ", up.out());
        std::vector<Linear> parts;
        parts.push_back(std::move(gate));
        parts.push_back(std::move(up));
        return JoinedLinear(std::move(parts));
    }
    JoinedLinear gate_up_;
    Linear down_;
};

/// SwiGLU (Shazeer 2020): silu(gate x) * (up x), then down.
using SwiGlu = GatedMlp<SiluGate>;

}}  // namespace cairn
