// The fused multiply-add of machines without the instruction.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

namespace internal {

// a * b + c in double, rounded to odd: the product of two floats is exact in double, two-sum gives
// the rounding error of the addition, and rounding to odd makes a later rounding to float safe.
inline double odd_fma(float a, float b, float c) noexcept {
    const double product = static_cast<double>(a) * static_cast<double>(b);
    const auto addend = static_cast<double>(c);
    const double sum = product + addend;
    const double back = sum - product;
    const double error = (product - (sum - back)) + (addend - back);
    auto bits = std::bit_cast<std::uint64_t>(sum);
    const bool finite = (bits & 0x7FF0000000000000ULL) != 0x7FF0000000000000ULL;
    if (finite && error != 0.0 && (bits & 1U) == 0)
        bits = (error > 0.0) == (sum > 0.0) ? bits + 1 : bits - 1;
    return std::bit_cast<double>(bits);
}

}  // namespace internal

/// fma(a, b, c) rounded once, also without the instruction.
inline float exact_fma(float a, float b, float c) noexcept {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return static_cast<float>(internal::odd_fma(a, b, c));
#endif
}

/// The same with denormal numbers taken for zeros, and a result that is one after it was rounded
/// to 24 bits: as x86 does it in flush-to-zero mode. In any environment.
inline float flushed_fma(float a, float b, float c) noexcept {
    const auto flushed = [](float x) {
        const auto bits = std::bit_cast<std::uint32_t>(x);
        return (bits & 0x7F800000U) != 0 ? x : std::bit_cast<float>(bits & 0x80000000U);
    };
    constexpr double least = 0x1p-126;
    const double sum = internal::odd_fma(flushed(a), flushed(b), flushed(c));
    const double magnitude = std::abs(sum);
    if (!(magnitude < least)) return static_cast<float>(sum);
    return static_cast<float>(std::copysign(magnitude < least - 0x1p-151 ? 0.0 : least, sum));
}

}}}  // namespace cairn::kernels
