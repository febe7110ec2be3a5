// The blocks of 32 with one scale: q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl, mxfp4. Source: ggml's
// format; mxfp4 is that of the Open Compute Project (MX 1.0) with the nibbles in ggml's order.
#pragma once

#include <algorithm>
#include <cmath>

#include "cairn/numeric/quantised/layout.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace quantised {

namespace internal {

inline void parse_q8_0(const std::byte* block, Fields& to) noexcept {
    to.d = f16_at(block, 0);
    for (std::size_t j = 0; j < 32; ++j) to.codes[j] = byte_at(block, 2 + j) ^ 0x80U;
}
inline void encode_q8_0(const float* from, std::size_t blocks, std::byte* to) noexcept {
    for (std::size_t b = 0; b < blocks; ++b, from += 32, to += 34) {
        float most = 0.0F;
        for (int j = 0; j < 32; ++j) most = std::max(most, std::fabs(from[j]));
        const float d = most / 127.0F;
        const float inverse = d != 0.0F ? 1.0F / d : 0.0F;
        put_f16(to, d);
        for (int j = 0; j < 32; ++j)
            to[2 + j] = static_cast<std::byte>(static_cast<int>(std::round(from[j] * inverse)));
    }
}

inline void parse_q4_0(const std::byte* block, Fields& to) noexcept {
    to.d = f16_at(block, 0);
    nibbles_32(block + 2, to.codes.data());
}
inline std::byte nibble_pair(float low, float high) noexcept {
    const int a = std::min(15, static_cast<int>(low));
    const int b = std::min(15, static_cast<int>(high));
    return static_cast<std::byte>(a | (b << 4));
}
inline void encode_q4_0(const float* from, std::size_t blocks, std::byte* to) noexcept {
    for (std::size_t b = 0; b < blocks; ++b, from += 32, to += 18) {
        float most = 0.0F;  // the value of largest magnitude, with its sign, becomes code 0
        for (int j = 0; j < 32; ++j)
            if (std::fabs(from[j]) > std::fabs(most)) most = from[j];
        const float d = most / -8.0F;
        const float inverse = d != 0.0F ? 1.0F / d : 0.0F;
        put_f16(to, d);
        for (int j = 0; j < 16; ++j)
            to[2 + j] = nibble_pair(std::fma(from[j], inverse, 8.5F),
                                    std::fma(from[j + 16], inverse, 8.5F));
    }
}

inline void parse_q4_1(const std::byte* block, Fields& to) noexcept {
    to.d = f16_at(block, 0);
    to.m = f16_at(block, 2);
    nibbles_32(block + 4, to.codes.data());
}
inline void encode_q4_1(const float* from, std::size_t blocks, std::byte* to) noexcept {
    for (std::size_t b = 0; b < blocks; ++b, from += 32, to += 20) {
        const auto [least, most] = std::minmax_element(from, from + 32);
        const float d = (*most - *least) / 15.0F;
        const float inverse = d != 0.0F ? 1.0F / d : 0.0F;
        put_f16(to, d);
        put_f16(to + 2, *least);
        for (int j = 0; j < 16; ++j)
            to[4 + j] = nibble_pair(std::fma(from[j] - *least, inverse, 0.5F),
                                    std::fma(from[j + 16] - *least, inverse, 0.5F));
    }
}

// A fifth bit for each of 32 codes.
inline void fifth_bits(const std::byte* from, std::uint8_t* codes) noexcept {
    for (std::size_t j = 0; j < 32; ++j)
        codes[j] =
            static_cast<std::uint8_t>(codes[j] | (((byte_at(from, j / 8) >> (j % 8)) & 1U) << 4));
}
inline void parse_q5_0(const std::byte* block, Fields& to) noexcept {
    to.d = f16_at(block, 0);
    nibbles_32(block + 6, to.codes.data());
    fifth_bits(block + 2, to.codes.data());
}
inline void parse_q5_1(const std::byte* block, Fields& to) noexcept {
    to.d = f16_at(block, 0);
    to.m = f16_at(block, 2);
    nibbles_32(block + 8, to.codes.data());
    fifth_bits(block + 4, to.codes.data());
}

// The scale is 2^(byte - 127), and the table holds twice the numbers. 255 means NaN; above 252 the
// largest number of the table would be infinite.
inline void parse_mxfp4(const std::byte* block, Fields& to) noexcept {
    constexpr unsigned infinite = 0x7F80;
    const unsigned e = byte_at(block, 0);
    const unsigned bits = e > 252 ? infinite : e > 1 ? (e - 1) << 7U : 0x20U << e;
    to.d = static_cast<std::uint16_t>(bits);
    nibbles_32(block + 1, to.codes.data());
}

}  // namespace internal

inline constexpr Format q8_0{ElementType::q8_0,
                             {32, 32, 8, 0, 128, false, false, GroupScales::none},
                             internal::parse_q8_0,
                             internal::encode_q8_0};
inline constexpr Format q4_0{ElementType::q4_0,
                             {32, 32, 4, 0, 8, false, false, GroupScales::none},
                             internal::parse_q4_0,
                             internal::encode_q4_0};
inline constexpr Format q4_1{ElementType::q4_1,
                             {32, 32, 4, 0, 0, true, false, GroupScales::none},
                             internal::parse_q4_1,
                             internal::encode_q4_1};
inline constexpr Format q5_0{ElementType::q5_0,
                             {32, 32, 4, 1, 16, false, false, GroupScales::none},
                             internal::parse_q5_0,
                             nullptr};
inline constexpr Format q5_1{ElementType::q5_1,
                             {32, 32, 4, 1, 0, true, false, GroupScales::none},
                             internal::parse_q5_1,
                             nullptr};
inline constexpr Format iq4_nl{ElementType::iq4_nl,
                               {32, 32, 4, 0, 128, false, true, GroupScales::none},
                               internal::parse_q4_0,
                               nullptr};
inline constexpr Format mxfp4{ElementType::mxfp4,
                              {32, 32, 4, 0, 16, false, true, GroupScales::powers},
                              internal::parse_mxfp4,
                              nullptr};

}}}  // namespace cairn::quantised
