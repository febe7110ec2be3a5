// Products with quantised rows of a cache for AArch64.
#pragma once

#if defined(__aarch64__)

#include "cairn/kernels/cached/layout.hpp"
#include "cairn/kernels/neon/floats.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neon::cached {

using kernels::cached::channel_group;
using kernels::cached::iq4_nl_values;
using kernels::cached::Meaning;
using kernels::cached::Products;
using kernels::cached::RowLayout;

struct I {
    int32x4_t r[4];
};

CAIRN_INLINE uint8x16_t sixteen(const std::byte* x) {
    return vld1q_u8(reinterpret_cast<const std::uint8_t*>(x));
}
CAIRN_INLINE I unsigned_bytes(const std::byte* x) {
    const uint8x16_t b = sixteen(x);
    const uint16x8_t low = vmovl_u8(vget_low_u8(b));
    const uint16x8_t high = vmovl_u8(vget_high_u8(b));
    return {{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
             vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))),
             vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
             vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)))}};
}
CAIRN_INLINE I signed_bytes(const std::byte* x) {
    const int8x16_t b = vreinterpretq_s8_u8(sixteen(x));
    const int16x8_t low = vmovl_s8(vget_low_s8(b));
    const int16x8_t high = vmovl_s8(vget_high_s8(b));
    return {{vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)),
             vmovl_s16(vget_low_s16(high)), vmovl_s16(vget_high_s16(high))}};
}
CAIRN_INLINE I take(const I& x, int shift, int mask) {
    I y;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i)
        y.r[i] = vandq_s32(vshlq_s32(x.r[i], vdupq_n_s32(-shift)), vdupq_n_s32(mask));
    return y;
}
CAIRN_INLINE I add_int(const I& x, const I& y) {
    I z;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) z.r[i] = vaddq_s32(x.r[i], y.r[i]);
    return z;
}
CAIRN_INLINE I raise4(const I& x) {
    I y;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) y.r[i] = vshlq_n_s32(x.r[i], 4);
    return y;
}
CAIRN_INLINE I spread2(const std::byte* x) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, x, 4);
    I y;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) {
        const std::int32_t places[4] = {-8 * i, -8 * i - 2, -8 * i - 4, -8 * i - 6};
        y.r[i] = vreinterpretq_s32_u32(
            vandq_u32(vshlq_u32(vdupq_n_u32(bits), vld1q_s32(places)), vdupq_n_u32(3)));
    }
    return y;
}
CAIRN_INLINE V to_float(const I& x) {
    V v;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) v.r[i] = vcvtq_f32_s32(x.r[i]);
    return v;
}
CAIRN_INLINE V lookup(const float* table, const I& x) {
    std::int32_t at[16];
    float value[16];
    for (int i = 0; i < 4; ++i) vst1q_s32(at + 4 * i, x.r[i]);
    for (int i = 0; i < 16; ++i) value[i] = table[at[i]];
    return load(value);
}
inline constexpr bool short_tables = false;
CAIRN_INLINE V entries(const V& table, const I&, int) { return table; }
CAIRN_INLINE V splat_half(const std::byte* x) {
    std::uint16_t bits;
    __builtin_memcpy(&bits, x, 2);
    const float32x4_t value = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits)));
    return {{value, value, value, value}};
}
CAIRN_INLINE V from_halves(uint16x8_t low, uint16x8_t high) {
    return {{vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(low))),
             vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(low))),
             vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(high))),
             vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(high)))}};
}
CAIRN_INLINE uint16x8_t e4m3_half(uint16x8_t code) {
    const uint16x8_t magnitude = vandq_u16(code, vdupq_n_u16(0x7F));
    const uint16x8_t half =
        vorrq_u16(vshlq_n_u16(vandq_u16(code, vdupq_n_u16(0x80)), 8), vshlq_n_u16(magnitude, 7));
    return vbslq_u16(vceqq_u16(magnitude, vdupq_n_u16(0x7F)), vdupq_n_u16(0x7E00), half);
}
CAIRN_INLINE V from_e4m3(const std::byte* x) {
    const uint8x16_t code = sixteen(x);
    return mul(from_halves(e4m3_half(vmovl_u8(vget_low_u8(code))),
                           e4m3_half(vmovl_u8(vget_high_u8(code)))),
               splat(256.0F));
}
CAIRN_INLINE V from_e5m2(const std::byte* x) {
    const uint8x16_t code = sixteen(x);
    return from_halves(vshll_n_u8(vget_low_u8(code), 8), vshll_n_u8(vget_high_u8(code), 8));
}

CAIRN_INLINE void from_e4m3(const std::byte* x, V* to) {
    to[0] = from_e4m3(x);
    to[1] = from_e4m3(x + 16);
}
CAIRN_INLINE void from_e5m2(const std::byte* x, V* to) {
    to[0] = from_e5m2(x);
    to[1] = from_e5m2(x + 16);
}

// Four bytes each of 16 positions, from bytes [4][16].
struct B {
    int8x16_t r[4];
};
CAIRN_INLINE B quads(const std::byte* x) {
    const uint8x16x2_t first = vzipq_u8(sixteen(x), sixteen(x + 16));
    const uint8x16x2_t second = vzipq_u8(sixteen(x + 32), sixteen(x + 48));
    B to;
    CAIRN_UNROLL
    for (int i = 0; i < 2; ++i) {
        const uint16x8x2_t four =
            vzipq_u16(vreinterpretq_u16_u8(first.val[i]), vreinterpretq_u16_u8(second.val[i]));
        to.r[2 * i] = vreinterpretq_s8_u16(four.val[0]);
        to.r[2 * i + 1] = vreinterpretq_s8_u16(four.val[1]);
    }
    return to;
}
CAIRN_INLINE B low_half(const B& x) {
    B to;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) to.r[i] = vandq_s8(x.r[i], vdupq_n_s8(15));
    return to;
}
CAIRN_INLINE B high_half(const B& x) {
    B to;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i)
        to.r[i] = vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(x.r[i]), 4));
    return to;
}
CAIRN_INLINE I splat_int(std::int32_t x) {
    const int32x4_t all = vdupq_n_s32(x);
    return {{all, all, all, all}};
}
CAIRN_INLINE I in_order(const I& x) { return x; }

#include "cairn/kernels/body/cached.inl"

}}}  // namespace cairn::kernels::neon::cached

#endif  // __aarch64__
