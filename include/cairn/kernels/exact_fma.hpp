// The fused multiply-add of machines without the instruction.
#pragma once

#include <bit>
#include <cstdint>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

/// fma(a, b, c) rounded once. Without the instruction: the product of two floats is exact in
/// double, two-sum gives the rounding error of the addition, and rounding to odd makes the last
/// step safe.
inline float exact_fma(float a, float b, float c) noexcept {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    const double product = static_cast<double>(a) * static_cast<double>(b);
    const auto addend = static_cast<double>(c);
    const double sum = product + addend;
    const double back = sum - product;
    const double error = (product - (sum - back)) + (addend - back);
    auto bits = std::bit_cast<std::uint64_t>(sum);
    const bool finite = (bits & 0x7FF0000000000000ULL) != 0x7FF0000000000000ULL;
    if (finite && error != 0.0 && (bits & 1U) == 0)
        bits = (error > 0.0) == (sum > 0.0) ? bits + 1 : bits - 1;
    return static_cast<float>(std::bit_cast<double>(bits));
#endif
}

}}}  // namespace cairn::kernels
