// Products with quantised rows of a cache for AVX-512.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/cached/layout.hpp"
#include "cairn/kernels/avx512/floats.hpp"

#include "cairn/kernels/avx512/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512::cached {

using kernels::cached::channel_group;
using kernels::cached::iq4_nl_values;
using kernels::cached::Meaning;
using kernels::cached::Products;
using kernels::cached::RowLayout;

struct I {
    __m512i r;
};

CAIRN_INLINE __m128i sixteen(const std::byte* x) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
}
CAIRN_INLINE I unsigned_bytes(const std::byte* x) { return {_mm512_cvtepu8_epi32(sixteen(x))}; }
CAIRN_INLINE I signed_bytes(const std::byte* x) { return {_mm512_cvtepi8_epi32(sixteen(x))}; }
CAIRN_INLINE I take(I x, int shift, int mask) {
    const __m512i moved = shift == 0 ? x.r : _mm512_srli_epi32(x.r, static_cast<unsigned>(shift));
    return {_mm512_and_si512(moved, _mm512_set1_epi32(mask))};
}
CAIRN_INLINE I add_int(I x, I y) { return {_mm512_add_epi32(x.r, y.r)}; }
CAIRN_INLINE I raise4(I x) { return {_mm512_slli_epi32(x.r, 4)}; }
CAIRN_INLINE I spread2(const std::byte* x) {
    int bits;
    __builtin_memcpy(&bits, x, 4);
    const __m512i places =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {
        _mm512_and_si512(_mm512_srlv_epi32(_mm512_set1_epi32(bits), places), _mm512_set1_epi32(3))};
}
CAIRN_INLINE V to_float(I x) { return {_mm512_cvtepi32_ps(x.r)}; }
CAIRN_INLINE V lookup(const float* table, I x) {
    return {_mm512_permutexvar_ps(x.r, _mm512_loadu_ps(table))};
}
CAIRN_INLINE V splat_half(const std::byte* x) {
    short bits;
    __builtin_memcpy(&bits, x, 2);
    return {_mm512_cvtph_ps(_mm256_set1_epi16(bits))};
}
CAIRN_INLINE V from_e4m3(const std::byte* x) {
    const __m256i code = _mm256_cvtepu8_epi16(sixteen(x));
    const __m256i magnitude = _mm256_and_si256(code, _mm256_set1_epi16(0x7F));
    const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(code, _mm256_set1_epi16(0x80)), 8);
    const __m256i half = _mm256_or_si256(sign, _mm256_slli_epi16(magnitude, 7));
    const __mmask16 nan = _mm256_cmpeq_epi16_mask(magnitude, _mm256_set1_epi16(0x7F));
    const __m512 value = _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0F));
    return {_mm512_mask_blend_ps(nan, value, _mm512_set1_ps(__builtin_nanf("")))};
}
CAIRN_INLINE V from_e5m2(const std::byte* x) {
    return {_mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(sixteen(x)), 8))};
}

#include "cairn/kernels/body/cached.inl"

}}}  // namespace cairn::kernels::avx512::cached

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
