// The 16-bit floating-point formats as bit patterns: IEEE 754 binary16 and bfloat16.
// Sources: IEEE 754-2019 section 3.6; bfloat16 is the upper half of a binary32.
#pragma once

#include <bit>
#include <cstdint>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A binary16 number as its bits. 65504 is the largest finite value.
using f16_bits = std::uint16_t;
/// A bfloat16 number as its bits.
using bf16_bits = std::uint16_t;

/// Exact. Signalling NaNs become quiet, as the hardware conversions do.
constexpr float f16_to_f32(f16_bits half) noexcept {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1FU;
    std::uint32_t mantissa = half & 0x3FFU;
    if (exponent == 0x1F)
        return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13) |
                                    (mantissa != 0 ? 0x400000U : 0U));
    if (exponent != 0)
        return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
    if (mantissa == 0) return std::bit_cast<float>(sign);
    const int shift = std::countl_zero(mantissa) - 21;  // subnormal: normalise
    mantissa = (mantissa << shift) & 0x3FFU;
    return std::bit_cast<float>(sign | (static_cast<std::uint32_t>(113 - shift) << 23) |
                                (mantissa << 13));
}

/// Round to nearest, ties to even; overflow gives infinity, NaN a quiet NaN.
constexpr f16_bits f32_to_f16(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U)
        return static_cast<f16_bits>(sign | 0x7E00U | ((magnitude >> 13) & 0x3FFU));
    if (magnitude >= 0x477FF000U) return static_cast<f16_bits>(sign | 0x7C00U);
    if (magnitude >= 0x38800000U) {  // normal: the increment may carry into the exponent, rightly
        const std::uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
        return static_cast<f16_bits>(sign | ((rounded - 0x38000000U) >> 13));
    }
    if (magnitude < 0x33000000U) return static_cast<f16_bits>(sign);  // below half the least
    const std::uint32_t exponent = magnitude >> 23;
    const std::uint32_t mantissa = (magnitude & 0x7FFFFFU) | 0x800000U;
    const std::uint32_t shift = 126 - exponent;  // 14..24 bits to drop
    const std::uint32_t kept = mantissa >> shift;
    const std::uint32_t rest = mantissa & ((1U << shift) - 1U);
    const std::uint32_t half = 1U << (shift - 1);
    const std::uint32_t up = (rest > half || (rest == half && (kept & 1U) != 0)) ? 1U : 0U;
    return static_cast<f16_bits>(sign | (kept + up));
}

/// As f32_to_f16, but finite values beyond +-65504 become +-65504: what a cache stores.
constexpr f16_bits f32_to_f16_saturated(float value) noexcept {
    const f16_bits half = f32_to_f16(value);
    const bool overflowed = (half & 0x7FFFU) == 0x7C00U &&
                            (std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFU) != 0x7F800000U;
    return overflowed ? static_cast<f16_bits>((half & 0x8000U) | 0x7BFFU) : half;
}

/// Exact.
constexpr float bf16_to_f32(bf16_bits half) noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
}

/// Round to nearest, ties to even; overflow gives infinity, NaN a quiet NaN.
constexpr bf16_bits f32_to_bf16(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<bf16_bits>((bits >> 16) | 0x40U);
    return static_cast<bf16_bits>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

}}  // namespace cairn
