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

/// Rows of values that `Table::weigh_rounded` takes at most: a segment of attention.
inline constexpr int rounded_rows = 256;

/// s[i][j] = q[i] . key j over dims ascending; keys of bf16 in tiles, q rounded.
[[gnu::cold, gnu::noinline]] inline void scores_by_definition(const RowsIn& k, const float* q,
                                                              std::ptrdiff_t q_stride, int queries,
                                                              float* s,
                                                              std::ptrdiff_t s_stride) noexcept {
    for (int i = 0; i < queries; ++i)
        for (int j = 0; j < k.count; ++j) {
            const int lane = k.lane + j;
            const auto* key =
                reinterpret_cast<const bf16_bits*>(k.unit + lane / key_tile * k.stride) +
                lane % key_tile;
            float sum = 0.0F;
            for (int d = 0; d < k.dims; ++d)
                sum = flushed_fma(bf16_to_f32(key[d * key_tile]), q[i * q_stride + d], sum);
            s[i * s_stride + j] = sum;
        }
}
/// o[i][d] += the sum over rows ascending of p[i][j] * value[j][d]; p rounded, `rounded_rows` a
/// query.
[[gnu::cold, gnu::noinline]] inline void weigh_by_definition(const RowsIn& v, const float* p,
                                                             int queries, float* o,
                                                             std::ptrdiff_t o_stride) noexcept {
    for (int i = 0; i < queries; ++i)
        for (int d = 0; d < v.dims; ++d) {
            float sum = o[i * o_stride + d];
            for (int j = 0; j < v.count; ++j) {
                const auto* row = reinterpret_cast<const bf16_bits*>(v.unit + j * v.stride);
                sum = flushed_fma(bf16_to_f32(row[d]), p[i * rounded_rows + j], sum);
            }
            o[i * o_stride + d] = sum;
        }
}

}}}  // namespace cairn::kernels
