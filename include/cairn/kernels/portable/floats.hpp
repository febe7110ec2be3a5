// The kernels in plain C++: right on every machine, fast on none. fma is the hardware's where the
// compiler may assume it, and otherwise exact in software.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cairn/core/fp_environment.hpp"
#include "cairn/kernels/body/macros.inl"
#include "cairn/kernels/rounded.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels { namespace portable {

inline constexpr int accumulators = 1;  // 16-lane accumulators worth keeping in registers
inline constexpr int gemm_rows = 4;
inline constexpr int gemm_panels = 1;
inline constexpr int row_group = 1;  // key rows scored at once

struct V {
    float at[16];
};

// Nothing is gained by unrolling or inlining here; compile time is.
#undef CAIRN_INLINE
#undef CAIRN_UNROLL
#define CAIRN_INLINE inline
#define CAIRN_UNROLL
#define CAIRN_EACH for (int i = 0; i < 16; ++i)
[[gnu::noinline]] inline V load(const float* x) {
    V r;
    CAIRN_EACH
    r.at[i] = x[i];
    return r;
}
[[gnu::noinline]] inline V load(const half_t* x) {
    V r;
    CAIRN_EACH
    r.at[i] = f16_to_f32(x[i].bits);
    return r;
}
[[gnu::noinline]] inline V load(const brain_t* x) {
    V r;
    CAIRN_EACH
    r.at[i] = bf16_to_f32(x[i].bits);
    return r;
}
[[gnu::noinline]] inline void store(float* x, const V& a) {
    CAIRN_EACH
    x[i] = a.at[i];
}
[[gnu::noinline]] inline void store(half_t* x, const V& a) {
    CAIRN_EACH
    x[i].bits = f32_to_f16_saturated(a.at[i]);
}
[[gnu::noinline]] inline V splat(float x) {
    V r;
    CAIRN_EACH
    r.at[i] = x;
    return r;
}
[[gnu::noinline]] inline V add(const V& a, const V& b) {
    V r;
    CAIRN_EACH
    r.at[i] = a.at[i] + b.at[i];
    return r;
}
[[gnu::noinline]] inline V sub(const V& a, const V& b) {
    V r;
    CAIRN_EACH
    r.at[i] = a.at[i] - b.at[i];
    return r;
}
[[gnu::noinline]] inline V mul(const V& a, const V& b) {
    V r;
    CAIRN_EACH
    r.at[i] = a.at[i] * b.at[i];
    return r;
}
[[gnu::noinline]] inline V div(const V& a, const V& b) {
    V r;
    CAIRN_EACH
    r.at[i] = a.at[i] / b.at[i];
    return r;
}
[[gnu::noinline]] inline V fma(const V& a, const V& b, const V& c) {
    V r;
    CAIRN_EACH
    r.at[i] = exact_fma(a.at[i], b.at[i], c.at[i]);
    return r;
}
[[gnu::noinline]] inline V select_gt(const V& a, const V& b, const V& x, const V& y) {
    V r;
    CAIRN_EACH
    r.at[i] = a.at[i] > b.at[i] ? x.at[i] : y.at[i];
    return r;
}
[[gnu::noinline]] inline V select_nan(const V& a, const V& x, const V& y) {
    V r;
    CAIRN_EACH
    r.at[i] = a.at[i] == a.at[i] ? y.at[i] : x.at[i];
    return r;
}
// p * 2^n, n the low bits of the float 1.5 * 2^23 + n.
[[gnu::noinline]] inline V scale_by_power(const V& p, const V& n) {
    V r;
    CAIRN_EACH
    r.at[i] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p.at[i]) +
                                   (std::bit_cast<std::uint32_t>(n.at[i]) << 23));
    return r;
}
#undef CAIRN_EACH
inline float fma1(float a, float b, float c) { return exact_fma(a, b, c); }
inline float reduce_add(const V& a) {
    float t[8];
    for (int i = 0; i < 8; ++i) t[i] = a.at[i] + a.at[i + 8];
    for (int i = 0; i < 4; ++i) t[i] = t[i] + t[i + 4];
    for (int i = 0; i < 2; ++i) t[i] = t[i] + t[i + 2];
    return t[0] + t[1];
}
inline V reduce_each(const V* a) {
    V r;
    for (int i = 0; i < 16; ++i) r.at[i] = reduce_add(a[i]);
    return r;
}

#include "cairn/kernels/body/all.inl"

#undef CAIRN_INLINE
#undef CAIRN_UNROLL
#define CAIRN_INLINE CAIRN_FORCE_INLINE
#define CAIRN_UNROLL CAIRN_FULL_UNROLL

}  // namespace portable
}}}  // namespace cairn::kernels
