// Layer normalisation (Ba et al. 2016, population variance) and RMS normalisation (Zhang, Sennrich
// 2019).
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "cairn/core/fingerprint.hpp"
#include "cairn/layers/linear.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

inline void check_epsilon(float epsilon) {
    require(epsilon > 0.0F && epsilon <= 1.0F, ErrorCode::invalid_argument, "norm: epsilon ",
            epsilon, " is not in (0, 1]");
}

// The width of the rows that a part of a model takes; 0: it does not say.
template <class Part>
std::ptrdiff_t width_of(const Part& part) noexcept {
    if constexpr (requires { part.width(); })
        return part.width();
    else
        return (void)part, 0;
}
// Error{shape_mismatch} if a part and what it is put into say different widths.
template <class Part>
void check_width(const char* name, const Part& part, const char* whole, std::ptrdiff_t width) {
    const std::ptrdiff_t own = width_of(part);
    require(own == 0 || width == 0 || own == width, ErrorCode::shape_mismatch, name, " of width ",
            own, " in a ", whole, " of width ", width);
}

}  // namespace internal

/// y = (x - mean) / sqrt(variance + epsilon) * weight + bias; models without a bias have zeros.
class LayerNorm {
  public:
    LayerNorm() = default;
    /// Throws Error{shape_mismatch, invalid_argument, non_finite}.
    LayerNorm(std::vector<float> weight, std::vector<float> bias, float epsilon)
        : weight_(std::move(weight)), bias_(std::move(bias)), epsilon_(epsilon) {
        internal::check_epsilon(epsilon);
        require(weight_.size() == bias_.size() && !weight_.empty(), ErrorCode::shape_mismatch,
                "layer norm: weight of ", weight_.size(), ", bias of ", bias_.size());
        internal::require_finite(weight_, "layer norm: weight");
        internal::require_finite(bias_, "layer norm: bias");
    }
    /// Row by row; y may be x.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        const FpEnvironment environment;
        for_each_row(context, x.rows, [&](std::ptrdiff_t r) { apply(x.row(r), y.row(r)); });
    }
    /// One row; y may be x.
    void apply(const float* x, float* y) const {
        const FpEnvironment environment;
        kernels::active().layer_norm(x, weight_.data(), bias_.data(), epsilon_, width(), y);
    }
    std::ptrdiff_t width() const noexcept { return std::ssize(weight_); }
    std::size_t parameters() const noexcept { return weight_.size() + bias_.size(); }
    /// Adds the weights to a fingerprint.
    void hash(Fingerprint& to) const {
        to.add(weight_.data(), weight_.size() * sizeof(float));
        to.add(bias_.data(), bias_.size() * sizeof(float));
        to.add(&epsilon_, sizeof epsilon_);
        to.setting("epsilon of the norms", &epsilon_, sizeof epsilon_);
    }

  private:
    std::vector<float> weight_;
    std::vector<float> bias_;
    float epsilon_ = 1e-5F;
};

/// y = x / sqrt(mean(x^2) + epsilon) * weight.
class RmsNorm {
  public:
    RmsNorm() = default;
    /// Throws Error{invalid_argument, non_finite}.
    RmsNorm(std::vector<float> weight, float epsilon)
        : weight_(std::move(weight)), epsilon_(epsilon) {
        internal::check_epsilon(epsilon);
        internal::require_finite(weight_, "rms norm: weight");
    }
    /// Row by row; y may be x.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        const FpEnvironment environment;
        for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
            kernels::active().rms_norm(x.row(r), weight_.data(), epsilon_,
                                       static_cast<std::ptrdiff_t>(weight_.size()), y.row(r));
        });
    }
    std::ptrdiff_t width() const noexcept { return std::ssize(weight_); }
    std::size_t parameters() const noexcept { return weight_.size(); }
    /// Adds the weights to a fingerprint.
    void hash(Fingerprint& to) const {
        to.add(weight_.data(), weight_.size() * sizeof(float));
        to.add(&epsilon_, sizeof epsilon_);
        to.setting("epsilon of the norms", &epsilon_, sizeof epsilon_);
    }

  private:
    std::vector<float> weight_;
    float epsilon_ = 1e-5F;
};

}}  // namespace cairn
