// What a product of bf16 weights with activations rounded to bf16 is, one number at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "cairn/kernels/exact_fma.hpp"
#include "cairn/kernels/table.hpp"
#include "cairn/numeric/half.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

/// To the nearest bf16, ties to even; denormals give zeros.
inline float rounded_activation(float x) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    if ((bits & 0x7F800000U) == 0) return std::bit_cast<float>(bits & 0x80000000U);
    return bf16_to_f32(f32_to_bf16(x));
}

/// y[r][n] = bias[n] + sum over k of x[r][k] * W[n][k], k ascending in one chain of `flushed_fma`.
/// x as [tile][k][tile_rows], rounded.
[[gnu::cold, gnu::noinline]] inline void rounded_by_definition(const FloatProduct& a,
                                                               int tile_rows) noexcept {
    const std::ptrdiff_t end = std::min(a.panel_end * panel, a.out);
    for (std::ptrdiff_t r = 0; r < a.rows; ++r)
        for (std::ptrdiff_t n = a.panel_begin * panel; n < end; ++n) {
            const auto* w = reinterpret_cast<const bf16_bits*>(a.weights) +
                            n / panel * panel * a.in + n % panel;
            const float* x = a.x + r / tile_rows * tile_rows * a.in + r % tile_rows;
            float sum = a.bias != nullptr ? a.bias[n] : 0.0F;
            for (std::ptrdiff_t k = 0; k < a.in; ++k)
                sum = flushed_fma(x[k * tile_rows], bf16_to_f32(w[k * panel]), sum);
            a.y[r * a.y_stride + n] = sum;
        }
}

}}}  // namespace cairn::kernels
