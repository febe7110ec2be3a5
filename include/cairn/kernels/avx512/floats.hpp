// The kernels for AVX-512 (F, BW, DQ, VL): one register is the virtual vector.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

#include "cairn/kernels/body/macros.inl"
#include "cairn/kernels/portable/floats.hpp"

#include "cairn/kernels/avx512/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512 {

inline constexpr int accumulators = 16;
inline constexpr int gemm_rows = 8;
inline constexpr int gemm_panels = 3;
inline constexpr int row_group = 16;

struct V {
    __m512 r;
};

CAIRN_INLINE V load(const float* x) { return {_mm512_loadu_ps(x)}; }
CAIRN_INLINE V load(const half_t* x) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)))};
}
CAIRN_INLINE V load(const brain_t* x) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}
CAIRN_INLINE void store(float* x, V a) { _mm512_storeu_ps(x, a.r); }
CAIRN_INLINE V splat(float x) { return {_mm512_set1_ps(x)}; }
CAIRN_INLINE V add(V a, V b) { return {_mm512_add_ps(a.r, b.r)}; }
CAIRN_INLINE V sub(V a, V b) { return {_mm512_sub_ps(a.r, b.r)}; }
CAIRN_INLINE V mul(V a, V b) { return {_mm512_mul_ps(a.r, b.r)}; }
CAIRN_INLINE V div(V a, V b) { return {_mm512_div_ps(a.r, b.r)}; }
CAIRN_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.r, b.r, c.r)}; }
CAIRN_INLINE V select_gt(V a, V b, V x, V y) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.r, b.r, _CMP_GT_OQ), y.r, x.r)};
}
CAIRN_INLINE V select_nan(V a, V x, V y) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.r, a.r, _CMP_UNORD_Q), y.r, x.r)};
}
CAIRN_INLINE V scale_by_power(V p, V n) {
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p.r),
                                                 _mm512_slli_epi32(_mm512_castps_si512(n.r), 23)))};
}
CAIRN_INLINE void store(half_t* x, V a) {
    // Finite values beyond the range saturate; infinities and NaN stay what they are.
    const __m512 magnitude = _mm512_abs_ps(a.r);
    const __mmask16 over =
        _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(65504.0F), _CMP_GT_OQ) &
        _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ);
    const __m512 bound =
        _mm512_or_ps(_mm512_set1_ps(65504.0F), _mm512_and_ps(a.r, _mm512_set1_ps(-0.0F)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(x),
                        _mm512_cvtps_ph(_mm512_mask_blend_ps(over, a.r, bound),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
CAIRN_INLINE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
CAIRN_INLINE float reduce_add(V a) {
    const __m256 t8 = _mm256_add_ps(_mm512_castps512_ps256(a.r), _mm512_extractf32x8_ps(a.r, 1));
    const __m128 t4 = _mm_add_ps(_mm256_castps256_ps128(t8), _mm256_extractf128_ps(t8, 1));
    const __m128 t2 = _mm_add_ps(t4, _mm_movehl_ps(t4, t4));
    return _mm_cvtss_f32(_mm_add_ss(t2, _mm_movehdup_ps(t2)));
}
// Sixteen trees at once: every addition pairs the same lanes as reduce_add does.
CAIRN_INLINE V reduce_each(const V* a) {
    __m512 t8[8];
    CAIRN_UNROLL
    for (int i = 0; i < 8; ++i) {
        const __m512 low = _mm512_shuffle_f32x4(a[2 * i].r, a[2 * i + 1].r, 0x44);
        const __m512 high = _mm512_shuffle_f32x4(a[2 * i].r, a[2 * i + 1].r, 0xEE);
        t8[i] = _mm512_add_ps(low, high);  // [a t8 | b t8]
    }
    __m512 t4[4];
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) {
        const __m512 low = _mm512_shuffle_f32x4(t8[2 * i], t8[2 * i + 1], 0x88);
        const __m512 high = _mm512_shuffle_f32x4(t8[2 * i], t8[2 * i + 1], 0xDD);
        t4[i] = _mm512_add_ps(low, high);  // [a | b | c | d]
    }
    __m512 t2[2];
    CAIRN_UNROLL
    for (int i = 0; i < 2; ++i) {
        const __m512 low = _mm512_shuffle_ps(t4[2 * i], t4[2 * i + 1], 0x44);
        const __m512 high = _mm512_shuffle_ps(t4[2 * i], t4[2 * i + 1], 0xEE);
        t2[i] = _mm512_add_ps(low, high);  // [a e | b f | c g | d h]
    }
    const __m512 t1 =
        _mm512_add_ps(_mm512_shuffle_ps(t2[0], t2[1], 0x88), _mm512_shuffle_ps(t2[0], t2[1], 0xDD));
    // t1 = [a e i m | b f j n | c g k o | d h l p]
    return {_mm512_permutexvar_ps(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), t1)};
}

#include "cairn/kernels/body/all.inl"

}}}  // namespace cairn::kernels::avx512

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
