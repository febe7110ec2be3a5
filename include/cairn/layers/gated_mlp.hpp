// The gated feed-forward with any activation: down(activation(gate x) * (up x)). GeGLU (Shazeer
// 2020) with Gelu or GeluNew; with Silu it is SwiGlu, whose kernel does both steps at once.
#pragma once

#include <utility>
#include <vector>

#include "cairn/layers/mlp.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// gate and up [width -> hidden], activation of the gate, product, down [hidden -> width].
template <class Activation>
class GatedMlp {
  public:
    GatedMlp() = default;
    /// Throws Error{shape_mismatch}.
    GatedMlp(Linear gate, Linear up, Linear down) : down_(std::move(down)) {
        require(gate.out() == down_.in() && up.out() == down_.in() && gate.in() == down_.out(),
                ErrorCode::shape_mismatch, "gated mlp: gate to ", gate.out(), ", up to ", up.out(),
                ", down ", down_.in(), " -> ", down_.out());
        std::vector<Linear> parts;
        parts.push_back(std::move(gate));
        parts.push_back(std::move(up));
        gate_up_ = JoinedLinear(std::move(parts));
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
            float* gate = both.row(r);
            Activation::apply(gate, hidden);
            for (std::ptrdiff_t i = 0; i < hidden; ++i) gate[i] *= gate[hidden + i];
        });
        down_.forward(both, y, context);
    }
    std::ptrdiff_t width() const noexcept { return down_.out(); }
    std::size_t parameters() const noexcept { return gate_up_.parameters() + down_.parameters(); }
    std::size_t bytes() const noexcept { return gate_up_.bytes() + down_.bytes(); }
    /// Adds the weights to a fingerprint.
    void hash(Fingerprint& to) const { gate_up_.hash(to), down_.hash(to); }

  private:
    JoinedLinear gate_up_;
    Linear down_;
};

}}  // namespace cairn
