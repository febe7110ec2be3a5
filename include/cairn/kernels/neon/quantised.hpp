// Products with quantised weights for AArch64: four registers are the 64 bytes.
#pragma once

#if defined(__aarch64__)

#include "cairn/kernels/neon/floats.hpp"
#include "cairn/kernels/quantised/packed.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neon {

// What every set of AArch64 has in common.
namespace bytes {

#include "cairn/kernels/body/quantised_names.inl"

struct B {
    uint8x16_t r[4];
};
struct I {
    int32x4_t r[4];
};

#define CAIRN_EACH \
    CAIRN_UNROLL   \
    for (int i = 0; i < 4; ++i)
CAIRN_INLINE B load_bytes(const std::byte* x) {
    B b;
    CAIRN_EACH
    b.r[i] = vld1q_u8(reinterpret_cast<const std::uint8_t*>(x) + 16 * i);
    return b;
}
CAIRN_INLINE void store_bytes(std::byte* x, const B& b) {
    CAIRN_EACH
    vst1q_u8(reinterpret_cast<std::uint8_t*>(x) + 16 * i, b.r[i]);
}
template <int n>
CAIRN_INLINE B shift(B b) {
    CAIRN_EACH
    b.r[i] = vshlq_u8(b.r[i], vdupq_n_s8(n));
    return b;
}
CAIRN_INLINE B mask(B b, int bits) {
    CAIRN_EACH
    b.r[i] = vandq_u8(b.r[i], vdupq_n_u8(static_cast<std::uint8_t>(bits)));
    return b;
}
CAIRN_INLINE B either(B a, const B& b) {
    CAIRN_EACH
    a.r[i] = vorrq_u8(a.r[i], b.r[i]);
    return a;
}
CAIRN_INLINE B lookup(const std::uint8_t* table, B b) {
    const uint8x16_t t = vld1q_u8(table);
    CAIRN_EACH
    b.r[i] = vqtbl1q_u8(t, b.r[i]);
    return b;
}
CAIRN_INLINE I splat_int(std::int32_t x) {
    I r;
    CAIRN_EACH
    r.r[i] = vdupq_n_s32(x);
    return r;
}
CAIRN_INLINE V to_float(const I& x) {
    V v;
    CAIRN_EACH
    v.r[i] = vcvtq_f32_s32(x.r[i]);
    return v;
}
template <int t>
CAIRN_INLINE V byte_lanes(const B& b) {
    V v;
    CAIRN_EACH
    v.r[i] = vcvtq_f32_u32(
        vandq_u32(vshlq_u32(vreinterpretq_u32_u8(b.r[i]), vdupq_n_s32(-8 * t)), vdupq_n_u32(255)));
    return v;
}
CAIRN_INLINE V widen_unsigned(uint8x16_t x) {
    const uint16x8_t low = vmovl_u8(vget_low_u8(x));
    const uint16x8_t high = vmovl_u8(vget_high_u8(x));
    return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
             vcvtq_f32_u32(vmovl_u16(vget_high_u16(low))),
             vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
             vcvtq_f32_u32(vmovl_u16(vget_high_u16(high)))}};
}
CAIRN_INLINE V from_unsigned(const std::byte* x) {
    return widen_unsigned(vld1q_u8(reinterpret_cast<const std::uint8_t*>(x)));
}
CAIRN_INLINE V from_signed(const std::byte* x) {
    const int8x16_t b = vld1q_s8(reinterpret_cast<const std::int8_t*>(x));
    const int16x8_t low = vmovl_s8(vget_low_s8(b));
    const int16x8_t high = vmovl_s8(vget_high_s8(b));
    return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
             vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
             vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
             vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}
CAIRN_INLINE V from_nibbles(const std::byte* x, int shift) {
    const uint8x16_t b = vld1q_u8(reinterpret_cast<const std::uint8_t*>(x));
    return widen_unsigned(
        vandq_u8(vshlq_u8(b, vdupq_n_s8(static_cast<std::int8_t>(-shift))), vdupq_n_u8(15)));
}
// Codes as signed bytes: 8-bit codes lose their offset, smaller ones already fit.
CAIRN_INLINE int8x16_t recentred(uint8x16_t codes) {
    return vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(0x80)));
}
CAIRN_INLINE int8x16_t four_bytes(std::int32_t four) {
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
// The low bytes of 16 floats.
CAIRN_INLINE void pack_bytes(std::int8_t* to, const V& shifted) {
    const uint16x8_t low = vcombine_u16(vmovn_u32(vreinterpretq_u32_f32(shifted.r[0])),
                                        vmovn_u32(vreinterpretq_u32_f32(shifted.r[1])));
    const uint16x8_t high = vcombine_u16(vmovn_u32(vreinterpretq_u32_f32(shifted.r[2])),
                                         vmovn_u32(vreinterpretq_u32_f32(shifted.r[3])));
    vst1q_s8(to, vreinterpretq_s8_u8(vcombine_u8(vmovn_u16(low), vmovn_u16(high))));
}
CAIRN_INLINE std::uint32_t largest_bits(const V& x, const V& y) {
    uint32x4_t most = vdupq_n_u32(0);
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) {
        most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(x.r[i])));
        most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(y.r[i])));
    }
    return vmaxvq_u32(most);
}
#undef CAIRN_EACH

#include "cairn/kernels/body/quantised_bytes.inl"

}  // namespace bytes

namespace blocks {

using namespace bytes;

inline constexpr int gemm_rows = 2;
inline constexpr int gemm_panels = 1;

CAIRN_INLINE int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t q) {
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(q)));
    const int32x4_t high = vpaddlq_s16(vmull_s8(vget_high_s8(w), vget_high_s8(q)));
    return vaddq_s32(sum, vpaddq_s32(low, high));
}

#include "cairn/kernels/body/quantised_neon.inl"
#include "cairn/kernels/body/quantised_parts.inl"
#include "cairn/kernels/body/quantised_group.inl"
#include "cairn/kernels/body/quantised.inl"

}  // namespace blocks
}}}  // namespace cairn::kernels::neon

#endif  // __aarch64__
