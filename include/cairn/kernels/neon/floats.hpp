// The kernels for AArch64: four NEON registers are the virtual vector.
#pragma once

#if defined(__aarch64__)

#include <arm_neon.h>

#include "cairn/kernels/body/macros.inl"
#include "cairn/kernels/portable/floats.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neon {

inline constexpr int accumulators = 4;
inline constexpr int gemm_rows = 6;
inline constexpr int gemm_panels = 1;
inline constexpr int row_group = 4;

struct V {
    float32x4_t r[4];
};

#define CAIRN_EACH \
    CAIRN_UNROLL   \
    for (int i = 0; i < 4; ++i)
CAIRN_INLINE V load(const float* x) {
    V v;
    CAIRN_EACH
    v.r[i] = vld1q_f32(x + 4 * i);
    return v;
}
CAIRN_INLINE V load(const half_t* x) {
    V v;
    const auto* p = reinterpret_cast<const std::uint16_t*>(x);
    CAIRN_EACH
    v.r[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)));
    return v;
}
CAIRN_INLINE V load(const brain_t* x) {
    V v;
    const auto* p = reinterpret_cast<const std::uint16_t*>(x);
    CAIRN_EACH
    v.r[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16));
    return v;
}
CAIRN_INLINE void store(float* x, const V& a) {
    CAIRN_EACH
    vst1q_f32(x + 4 * i, a.r[i]);
}
CAIRN_INLINE V splat(float x) {
    V v;
    CAIRN_EACH
    v.r[i] = vdupq_n_f32(x);
    return v;
}
CAIRN_INLINE V add(const V& a, const V& b) {
    V v;
    CAIRN_EACH
    v.r[i] = vaddq_f32(a.r[i], b.r[i]);
    return v;
}
CAIRN_INLINE V sub(const V& a, const V& b) {
    V v;
    CAIRN_EACH
    v.r[i] = vsubq_f32(a.r[i], b.r[i]);
    return v;
}
CAIRN_INLINE V mul(const V& a, const V& b) {
    V v;
    CAIRN_EACH
    v.r[i] = vmulq_f32(a.r[i], b.r[i]);
    return v;
}
CAIRN_INLINE V div(const V& a, const V& b) {
    V v;
    CAIRN_EACH
    v.r[i] = vdivq_f32(a.r[i], b.r[i]);
    return v;
}
CAIRN_INLINE V fma(const V& a, const V& b, const V& c) {
    V v;
    CAIRN_EACH
    v.r[i] = vfmaq_f32(c.r[i], a.r[i], b.r[i]);
    return v;
}
CAIRN_INLINE V select_gt(const V& a, const V& b, const V& x, const V& y) {
    V v;
    CAIRN_EACH
    v.r[i] = vbslq_f32(vcgtq_f32(a.r[i], b.r[i]), x.r[i], y.r[i]);
    return v;
}
CAIRN_INLINE V select_nan(const V& a, const V& x, const V& y) {
    V v;
    CAIRN_EACH
    v.r[i] = vbslq_f32(vceqq_f32(a.r[i], a.r[i]), y.r[i], x.r[i]);
    return v;
}
CAIRN_INLINE V scale_by_power(const V& p, const V& n) {
    V v;
    CAIRN_EACH
    v.r[i] = vreinterpretq_f32_u32(
        vaddq_u32(vreinterpretq_u32_f32(p.r[i]), vshlq_n_u32(vreinterpretq_u32_f32(n.r[i]), 23)));
    return v;
}
#undef CAIRN_EACH
CAIRN_INLINE void store(half_t* x, const V& a) {
    float buffer[16];
    store(buffer, a);
    for (int i = 0; i < 16; ++i) x[i].bits = f32_to_f16_saturated(buffer[i]);
}
CAIRN_INLINE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
CAIRN_INLINE float reduce_add(const V& a) {
    // t8 = a[l] + a[l+8], t4 = t8[l] + t8[l+4], t2 = t4[l] + t4[l+2], then the last two.
    const float32x4_t t4 = vaddq_f32(vaddq_f32(a.r[0], a.r[2]), vaddq_f32(a.r[1], a.r[3]));
    const float32x2_t t2 = vadd_f32(vget_low_f32(t4), vget_high_f32(t4));
    return vget_lane_f32(t2, 0) + vget_lane_f32(t2, 1);
}
CAIRN_INLINE V reduce_each(const V* a) {
    float sums[16];
    for (int i = 0; i < 16; ++i) sums[i] = reduce_add(a[i]);
    return load(sums);
}

#include "cairn/kernels/body/all.inl"

}}}  // namespace cairn::kernels::neon

#endif  // __aarch64__
