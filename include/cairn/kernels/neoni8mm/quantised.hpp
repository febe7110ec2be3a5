// Products with quantised weights for AArch64 with the matrix instructions for bytes: usdot takes
// unsigned codes as they are, usmmla multiplies two rows of weights by two rows of activations.
#pragma once

#if defined(__aarch64__)

#include "cairn/kernels/neon/quantised.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neoni8mm::blocks {

using namespace neon;
using namespace neon::bytes;

// Two units lie with the eight codes of a row of weights side by side: what usmmla reads.
// Called by what all of NEON shares, so it is compiled for NEON.
CAIRN_INLINE void put_units(std::byte* to, B first, B second) {
    auto* at = reinterpret_cast<std::uint32_t*>(to);
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) {
        const uint32x4x2_t both{
            {vreinterpretq_u32_u8(first.r[i]), vreinterpretq_u32_u8(second.r[i])}};
        vst2q_u32(at + 8 * i, both);
    }
}

}}}  // namespace cairn::kernels::neoni8mm::blocks

#include "cairn/kernels/neoni8mm/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neoni8mm::blocks {

inline constexpr int gemm_rows = 4;
inline constexpr int gemm_panels = 1;

#if defined(__clang__)
// By name: clang before 16 hides the intrinsics of what a whole file is not compiled for.
CAIRN_INLINE int32x4_t usdot(int32x4_t sum, uint8x16_t w, int8x16_t q) {
    asm("usdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(q));
    return sum;
}
CAIRN_INLINE int32x4_t usmmla(int32x4_t sum, uint8x16_t w, int8x16_t q) {
    asm("usmmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(q));
    return sum;
}
#else
CAIRN_INLINE int32x4_t usdot(int32x4_t sum, uint8x16_t w, int8x16_t q) {
    return vusdotq_s32(sum, w, q);
}
CAIRN_INLINE int32x4_t usmmla(int32x4_t sum, uint8x16_t w, int8x16_t q) {
    return vusmmlaq_s32(sum, w, q);
}
#endif

// What the zero point adds is in the start.
CAIRN_INLINE I wide_start(std::int32_t start) { return splat_int(start); }
CAIRN_INLINE I dot_narrow(I sum, const B& codes, std::int32_t four) {
    const int8x16_t q = four_bytes(four);
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) sum.r[i] = usdot(sum.r[i], codes.r[i], q);
    return sum;
}
CAIRN_INLINE I dot_wide(const I& sum, const B& codes, std::int32_t four) {
    return dot_narrow(sum, codes, four);
}

#include "cairn/kernels/body/quantised_parts.inl"

// The dot products of one group, `all` units, with the four rows at q. A sum of usmmla holds
// [w0 q0, w0 q1, w1 q0, w1 q1] for rows w0, w1 of weights and q0, q1 of activations.
template <bool wide, int by, int all, int units, std::ptrdiff_t stride, int R, int P>
CAIRN_INLINE void group_dots(I (&dots)[R][P], const std::byte* codes, const std::int32_t* q) {
    static_assert(R == 4 && P == 1);
    int32x4_t low[8];  // rows 0 and 1 of activations
    int32x4_t high[8];
    CAIRN_UNROLL
    for (int i = 0; i < 8; ++i) low[i] = high[i] = vdupq_n_s32(0);
    CAIRN_UNROLL
    for (int j = 0; j < all; j += 2, q += 2 * R) {
        const int32x4_t first = vld1q_s32(q);
        const int32x4_t second = vld1q_s32(q + R);
        const int8x16_t rows01 = vreinterpretq_s8_s32(vzip1q_s32(first, second));
        const int8x16_t rows23 = vreinterpretq_s8_s32(vzip2q_s32(first, second));
        CAIRN_UNROLL
        for (int i = 0; i < 8; ++i) {
            const uint8x16_t w =
                vld1q_u8(reinterpret_cast<const std::uint8_t*>(codes) + 64 * j + 16 * i);
            low[i] = usmmla(low[i], w, rows01);
            high[i] = usmmla(high[i], w, rows23);
        }
    }
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) {
        const int32x4_t sums[R] = {
            vuzp1q_s32(low[2 * i], low[2 * i + 1]), vuzp2q_s32(low[2 * i], low[2 * i + 1]),
            vuzp1q_s32(high[2 * i], high[2 * i + 1]), vuzp2q_s32(high[2 * i], high[2 * i + 1])};
        CAIRN_UNROLL
        for (int r = 0; r < R; ++r) dots[r][0].r[i] = vaddq_s32(dots[r][0].r[i], sums[r]);
    }
}

#include "cairn/kernels/body/quantised.inl"

}}}  // namespace cairn::kernels::neoni8mm::blocks

#include "cairn/kernels/body/target_end.inl"

#endif  // __aarch64__
