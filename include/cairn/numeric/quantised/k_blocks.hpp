// The blocks of 256 whose groups have small integer scales: q2_k to q6_k and iq4_xs. Source: ggml's
// format.
#pragma once

#include "cairn/numeric/quantised/layout.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace quantised {

namespace internal {

inline std::uint16_t negated(std::uint16_t f16) noexcept {
    return static_cast<std::uint16_t>(f16 ^ 0x8000U);
}
inline std::uint8_t low8(unsigned value) noexcept { return static_cast<std::uint8_t>(value); }

inline void parse_q2_k(const std::byte* block, Fields& to) noexcept {
    for (std::size_t g = 0; g < 16; ++g) {
        to.scales[g] = byte_at(block, g) & 0x0F;
        to.minima[g] = byte_at(block, g) >> 4;
    }
    for (std::size_t i = 0; i < 256; ++i)
        to.codes[i] =
            low8((byte_at(block, 16 + (i / 128) * 32 + i % 32) >> (2 * ((i / 32) % 4))) & 3U);
    to.d = f16_at(block, 80);
    to.m = negated(f16_at(block, 82));
}

inline void parse_q3_k(const std::byte* block, Fields& to) noexcept {
    for (std::size_t i = 0; i < 256; ++i) {
        const unsigned low = byte_at(block, 32 + (i / 128) * 32 + i % 32) >> (2 * ((i / 32) % 4));
        const unsigned high = byte_at(block, i % 32) >> (i / 32);
        to.codes[i] = low8((low & 3U) | ((high & 1U) << 2));
    }
    for (std::size_t g = 0; g < 16; ++g) {  // 6 bits, stored as 4 and 2
        const unsigned pair = byte_at(block, 96 + g % 8);
        const unsigned low = g < 8 ? pair & 0x0FU : pair >> 4U;
        const unsigned high = unsigned{byte_at(block, 104 + g % 4)} >> (2 * (g / 4));
        to.scales[g] = low8((low | ((high & 3U) << 4)) - 32U);
    }
    to.d = f16_at(block, 108);
}

// Eight 6-bit scales and eight 6-bit minima in 12 bytes.
inline void parse_scales_6(const std::byte* q, Fields& to) noexcept {
    for (std::size_t j = 0; j < 4; ++j) {
        const unsigned scale = byte_at(q, j);
        const unsigned least = byte_at(q, j + 4);
        const unsigned rest = byte_at(q, j + 8);
        to.scales[j] = low8(scale & 63U);
        to.minima[j] = low8(least & 63U);
        to.scales[j + 4] = low8((rest & 0x0FU) | ((scale >> 6U) << 4U));
        to.minima[j + 4] = low8((rest >> 4U) | ((least >> 6U) << 4U));
    }
}
// Each 32 bytes hold two groups of 32: the low nibbles, then the high ones.
inline unsigned nibble_256(const std::byte* q, std::size_t i) noexcept {
    return (byte_at(q, (i / 64) * 32 + i % 32) >> (4 * ((i / 32) % 2))) & 0x0FU;
}
inline void parse_q4_k(const std::byte* block, Fields& to) noexcept {
    to.d = f16_at(block, 0);
    to.m = negated(f16_at(block, 2));
    parse_scales_6(block + 4, to);
    for (std::size_t i = 0; i < 256; ++i) to.codes[i] = low8(nibble_256(block + 16, i));
}
inline void parse_q5_k(const std::byte* block, Fields& to) noexcept {
    to.d = f16_at(block, 0);
    to.m = negated(f16_at(block, 2));
    parse_scales_6(block + 4, to);
    for (std::size_t i = 0; i < 256; ++i) {
        const unsigned high = (byte_at(block, 16 + i % 32) >> (i / 32)) & 1U;
        to.codes[i] = low8(nibble_256(block + 48, i) | (high << 4));
    }
}

inline void parse_q6_k(const std::byte* block, Fields& to) noexcept {
    for (std::size_t i = 0; i < 256; ++i) {
        const std::size_t half = i / 128;
        const std::size_t quarter = (i / 32) % 4;
        const unsigned low =
            byte_at(block, half * 64 + (quarter % 2) * 32 + i % 32) >> (4 * (quarter / 2));
        const unsigned high = byte_at(block, 128 + half * 32 + i % 32) >> (2 * quarter);
        to.codes[i] = low8((low & 0x0FU) | ((high & 3U) << 4));
    }
    for (std::size_t g = 0; g < 16; ++g) to.scales[g] = byte_at(block, 192 + g);
    to.d = f16_at(block, 208);
}

inline void parse_iq4_xs(const std::byte* block, Fields& to) noexcept {
    to.d = f16_at(block, 0);
    for (std::size_t g = 0; g < 8; ++g) {
        const unsigned low = byte_at(block, 4 + g / 2) >> (4 * (g % 2));
        const unsigned high = f16_at(block, 2) >> (2U * g);
        to.scales[g] = low8(((low & 0x0FU) | ((high & 3U) << 4U)) - 32U);
        nibbles_32(block + 8 + 16 * g, to.codes.data() + 32 * g);
    }
}

}  // namespace internal

inline constexpr Format q2_k{ElementType::q2_k,
                             {256, 16, 2, 0, 0, true, false, GroupScales::nibbles},
                             internal::parse_q2_k,
                             nullptr};
inline constexpr Format q3_k{ElementType::q3_k,
                             {256, 16, 2, 1, 4, false, false, GroupScales::integers},
                             internal::parse_q3_k,
                             nullptr};
inline constexpr Format q4_k{ElementType::q4_k,
                             {256, 32, 4, 0, 0, true, false, GroupScales::bytes},
                             internal::parse_q4_k,
                             nullptr};
inline constexpr Format q5_k{ElementType::q5_k,
                             {256, 32, 4, 1, 0, true, false, GroupScales::bytes},
                             internal::parse_q5_k,
                             nullptr};
inline constexpr Format q6_k{ElementType::q6_k,
                             {256, 16, 4, 2, 32, false, false, GroupScales::integers},
                             internal::parse_q6_k,
                             nullptr};
inline constexpr Format iq4_xs{ElementType::iq4_xs,
                               {256, 32, 4, 0, 128, false, true, GroupScales::integers},
                               internal::parse_iq4_xs,
                               nullptr};

}}}  // namespace cairn::quantised
