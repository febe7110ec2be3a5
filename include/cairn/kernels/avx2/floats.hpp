// The kernels for AVX2 with FMA and F16C: two registers are the virtual vector.
#pragma once

#if defined(__x86_64__)

#include <immintrin.h>

#include "cairn/kernels/body/macros.inl"
#include "cairn/kernels/portable/floats.hpp"

#include "cairn/kernels/avx2/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx2 {

inline constexpr int accumulators = 4;
inline constexpr int gemm_rows = 6;
inline constexpr int gemm_panels = 1;
inline constexpr int row_group = 4;

struct V {
    __m256 a;
    __m256 b;
};

CAIRN_INLINE V load(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
CAIRN_INLINE V load(const half_t* x) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 8)))};
}
CAIRN_INLINE __m256 widen(const brain_t* x) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
CAIRN_INLINE V load(const brain_t* x) { return {widen(x), widen(x + 8)}; }
CAIRN_INLINE void store(float* x, V v) {
    _mm256_storeu_ps(x, v.a);
    _mm256_storeu_ps(x + 8, v.b);
}
CAIRN_INLINE V splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
CAIRN_INLINE V add(V x, V y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
CAIRN_INLINE V sub(V x, V y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
CAIRN_INLINE V mul(V x, V y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
CAIRN_INLINE V div(V x, V y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
CAIRN_INLINE V fma(V x, V y, V z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
CAIRN_INLINE V select_gt(V p, V q, V x, V y) {
    return {_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(p.a, q.a, _CMP_GT_OQ)),
            _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(p.b, q.b, _CMP_GT_OQ))};
}
CAIRN_INLINE V select_nan(V p, V x, V y) {
    return {_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(p.a, p.a, _CMP_UNORD_Q)),
            _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(p.b, p.b, _CMP_UNORD_Q))};
}
CAIRN_INLINE __m256 scale8(__m256 p, __m256 n) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(n), 23)));
}
CAIRN_INLINE V scale_by_power(V p, V n) { return {scale8(p.a, n.a), scale8(p.b, n.b)}; }
CAIRN_INLINE __m128i half8(__m256 x) {
    const __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0F));
    const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x);
    const __m256 over =
        _mm256_and_ps(_mm256_cmp_ps(magnitude, _mm256_set1_ps(65504.0F), _CMP_GT_OQ),
                      _mm256_cmp_ps(magnitude, _mm256_set1_ps(__builtin_inff()), _CMP_LT_OQ));
    const __m256 bound = _mm256_or_ps(_mm256_set1_ps(65504.0F), sign);
    return _mm256_cvtps_ph(_mm256_blendv_ps(x, bound, over),
                           _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
CAIRN_INLINE void store(half_t* x, V v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(x), half8(v.a));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(x + 8), half8(v.b));
}
CAIRN_INLINE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
CAIRN_INLINE float reduce_add(V v) {
    const __m256 t8 = _mm256_add_ps(v.a, v.b);
    const __m128 t4 = _mm_add_ps(_mm256_castps256_ps128(t8), _mm256_extractf128_ps(t8, 1));
    const __m128 t2 = _mm_add_ps(t4, _mm_movehl_ps(t4, t4));
    return _mm_cvtss_f32(_mm_add_ss(t2, _mm_movehdup_ps(t2)));
}
// Eight trees at once: every addition pairs the same lanes as reduce_add does.
CAIRN_INLINE __m256 reduce8(const V* v) {
    __m256 t4[4];
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) {
        const __m256 x = _mm256_add_ps(v[2 * i].a, v[2 * i].b);
        const __m256 y = _mm256_add_ps(v[2 * i + 1].a, v[2 * i + 1].b);
        t4[i] =
            _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
    }
    __m256 t2[2];
    CAIRN_UNROLL
    for (int i = 0; i < 2; ++i) {
        t2[i] = _mm256_add_ps(_mm256_shuffle_ps(t4[2 * i], t4[2 * i + 1], 0x44),
                              _mm256_shuffle_ps(t4[2 * i], t4[2 * i + 1], 0xEE));
    }
    const __m256 t1 =
        _mm256_add_ps(_mm256_shuffle_ps(t2[0], t2[1], 0x88), _mm256_shuffle_ps(t2[0], t2[1], 0xDD));
    return _mm256_permutevar8x32_ps(t1, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
CAIRN_INLINE V reduce_each(const V* v) { return {reduce8(v), reduce8(v + 8)}; }

#include "cairn/kernels/body/all.inl"

}}}  // namespace cairn::kernels::avx2

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
