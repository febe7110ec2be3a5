// The feed-forward half of a block: activation(x W1) W2, and the gated form silu(x Wg) * (x Wu) Wd.
#pragma once

#include <utility>

#include "cairn/layers/linear.hpp"

namespace cairn::inline CAIRN_ABI {

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
    std::size_t parameters() const noexcept { return up_.parameters() + down_.parameters(); }
    std::size_t bytes() const noexcept { return up_.bytes() + down_.bytes(); }

  private:
    Linear up_;
    Linear down_;
};

/// SwiGLU (Shazeer 2020): silu(gate x) * (up x), then down.
class SwiGlu {
  public:
    SwiGlu() = default;
    /// Throws Error{shape_mismatch}.
    SwiGlu(Linear gate, Linear up, Linear down)
        : gate_(std::move(gate)), up_(std::move(up)), down_(std::move(down)) {
        require(gate_.out() == up_.out() && up_.out() == down_.in() && gate_.in() == up_.in(),
                ErrorCode::shape_mismatch, "swiglu: gate ", gate_.out(), ", up ", up_.out(),
                ", down ", down_.in());
    }
    /// y does not overlap x.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        const FpEnvironment environment;
        Workspace::Frame frame(context.workspace());
        const auto floats = static_cast<std::size_t>(x.rows * up_.out());
        const Activations gate{frame.floats(floats), up_.out(), x.rows};
        const Activations up{frame.floats(floats), up_.out(), x.rows};
        gate_.forward(x, gate, context);
        up_.forward(x, up, context);
        for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
            kernels::active().silu_multiply(gate.row(r), up.row(r), up_.out());
        });
        down_.forward(gate, y, context);
    }
    std::size_t parameters() const noexcept {
        return gate_.parameters() + up_.parameters() + down_.parameters();
    }
    std::size_t bytes() const noexcept { return gate_.bytes() + up_.bytes() + down_.bytes(); }

  private:
    Linear gate_;
    Linear up_;
    Linear down_;
};

}  // namespace cairn::inline CAIRN_ABI
