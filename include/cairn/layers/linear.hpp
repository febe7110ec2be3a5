// y = W x + b for any number of rows, the same bits for each row whatever the number.
#pragma once

#include <utility>
#include <vector>

#include "cairn/core/context.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/kernels/dispatch.hpp"
#include "cairn/layers/weight_matrix.hpp"

namespace cairn::inline CAIRN_ABI {

/// Activations of consecutive tokens: row r at data + r * stride. Owned by somebody else.
struct Activations {
    float* data = nullptr;
    std::ptrdiff_t stride = 0;
    std::ptrdiff_t rows = 0;
    float* row(std::ptrdiff_t r) const noexcept { return data + r * stride; }
};

/// Calls body(row) for all rows, in parallel where there are enough of them.
template <class Body>
void for_each_row(Context& context, std::ptrdiff_t rows, Body&& body) {
    parallel_for(context.executor(), rows, 8, [&](std::ptrdiff_t begin, std::ptrdiff_t end, int) {
        for (std::ptrdiff_t r = begin; r < end; ++r) body(r);
    });
}

/// y = W x with packed weights; `bias` may be null.
inline void multiply(const WeightMatrix& weights, const float* bias, const Activations& x,
                     const Activations& y, Context& context) {
    const FpEnvironment environment;
    const kernels::Table& kernel = kernels::active();
    const auto type = static_cast<std::size_t>(weights.type());
    Executor& executor = context.executor();
    kernels::Linear call{weights.data(),
                         bias,
                         weights.in(),
                         weights.out(),
                         x.data,
                         x.stride,
                         y.data,
                         y.stride,
                         x.rows,
                         0,
                         0};
    const std::ptrdiff_t panels = (weights.out() + kernels::panel - 1) / kernels::panel;
    const auto over_panels = [&](auto* kernel_function, std::ptrdiff_t unit) {
        parallel_for(executor, (panels + unit - 1) / unit, 1,
                     [&](std::ptrdiff_t begin, std::ptrdiff_t end, int) {
                         kernels::Linear part = call;
                         part.panel_begin = begin * unit;
                         part.panel_end = std::min(end * unit, panels);
                         kernel_function(part);
                     });
    };
    if (x.rows == 0) return;
    if (x.rows == 1) {  // bound by reading the weights: four panels are four streams
        over_panels(kernel.gemv[type], 4);
        return;
    }
    Workspace::Frame frame(context.workspace());
    const std::ptrdiff_t tiles = (x.rows + kernel.tile_rows - 1) / kernel.tile_rows;
    float* packed = frame.floats(static_cast<std::size_t>(tiles * kernel.tile_rows * weights.in()));
    parallel_for(executor, tiles, 1, [&](std::ptrdiff_t begin, std::ptrdiff_t end, int) {
        const std::ptrdiff_t first = begin * kernel.tile_rows;
        const std::ptrdiff_t last = std::min(end * kernel.tile_rows, x.rows);
        kernel.pack_rows(x.row(first), x.stride, last - first, weights.in(),
                         packed + first * weights.in(), kernel.tile_rows);
    });
    call.x = packed;
    over_panels(kernel.gemm[type], 3);
}

/// A linear layer with an optional bias.
class Linear {
  public:
    Linear() = default;
    /// Throws Error{shape_mismatch} if the bias is neither empty nor as long as the output.
    explicit Linear(WeightMatrix weights, std::vector<float> bias = {})
        : weights_(std::move(weights)), bias_(std::move(bias)) {
        require(bias_.empty() || static_cast<std::ptrdiff_t>(bias_.size()) == weights_.out(),
                ErrorCode::shape_mismatch, "linear: bias of ", bias_.size(), " for ",
                weights_.out(), " outputs");
    }

    /// y[r] = W x[r] + b; x rows are `in` wide, y rows `out`. x and y do not overlap.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        multiply(weights_, bias_.empty() ? nullptr : bias_.data(), x, y, context);
    }

    std::ptrdiff_t in() const noexcept { return weights_.in(); }
    std::ptrdiff_t out() const noexcept { return weights_.out(); }
    const WeightMatrix& weights() const noexcept { return weights_; }
    std::size_t bytes() const noexcept { return weights_.bytes() + bias_.size() * sizeof(float); }
    std::size_t parameters() const noexcept {
        return static_cast<std::size_t>(weights_.out() * weights_.in()) + bias_.size();
    }

  private:
    WeightMatrix weights_;
    std::vector<float> bias_;
};

}  // namespace cairn::inline CAIRN_ABI
