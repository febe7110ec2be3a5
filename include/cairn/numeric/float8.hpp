// The 8-bit floating-point formats of the OCP specification (OFP8 revision 1.0): E4M3 (bias 7, 448
// is the largest, no infinity) and E5M2 (bias 15, 57344 is the largest finite).
#pragma once

#include <bit>
#include <cstdint>

#include "cairn/numeric/half.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Exact. 0x7F and 0xFF are NaN.
constexpr float e4m3_to_f32(std::uint8_t code) noexcept {
    if ((code & 0x7FU) == 0x7FU)
        return std::bit_cast<float>(((code & 0x80U) != 0 ? 0x80000000U : 0U) | 0x7FC00000U);
    // The same bits as a binary16 are the number divided by 2^8: its exponent bias is 8 larger.
    const auto half = static_cast<f16_bits>(((code & 0x80U) << 8) | ((code & 0x7FU) << 7));
    return f16_to_f32(half) * 256.0F;
}
/// Exact: an E5M2 is the upper half of a binary16.
constexpr float e5m2_to_f32(std::uint8_t code) noexcept {
    return f16_to_f32(static_cast<f16_bits>(code << 8));
}

namespace internal {

// Nearest code, ties to even; `mantissa` bits, exponent `bias`; `largest` is the code of the
// largest finite magnitude, which everything beyond becomes. NaN becomes `nan`.
constexpr std::uint8_t to_float8(float value, unsigned mantissa, int bias, std::uint32_t largest,
                                 std::uint32_t nan) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = (bits >> 24) & 0x80U;
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) return static_cast<std::uint8_t>(sign | nan);
    const int exponent = static_cast<int>(magnitude >> 23) - 127 + bias;
    if (exponent < -static_cast<int>(mantissa)) return static_cast<std::uint8_t>(sign);
    const std::uint32_t significand = (magnitude & 0x7FFFFFU) | 0x800000U;
    const unsigned drop = 23 - mantissa + (exponent < 1 ? static_cast<unsigned>(1 - exponent) : 0U);
    const std::uint32_t kept = significand >> drop;
    const std::uint32_t rest = significand & ((1U << drop) - 1U);
    const std::uint32_t half = 1U << (drop - 1);
    std::uint32_t code = kept + ((rest > half || (rest == half && (kept & 1U) != 0)) ? 1U : 0U);
    if (exponent >= 1) code += static_cast<std::uint32_t>(exponent - 1) << mantissa;
    return static_cast<std::uint8_t>(sign | (code > largest ? largest : code));
}

}  // namespace internal

/// Round to nearest, ties to even; beyond +-448, infinity included, the largest finite; NaN stays.
constexpr std::uint8_t f32_to_e4m3(float value) noexcept {
    return internal::to_float8(value, 3, 7, 0x7E, 0x7F);
}
/// Round to nearest, ties to even; beyond +-57344, infinity included, the largest finite; NaN
/// stays.
constexpr std::uint8_t f32_to_e5m2(float value) noexcept {
    return internal::to_float8(value, 2, 15, 0x7B, 0x7F);
}

}}  // namespace cairn
