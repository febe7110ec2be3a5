// Products with quantised rows of a cache for AVX2.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/cached/layout.hpp"
#include "cairn/kernels/avx2/floats.hpp"

#include "cairn/kernels/avx2/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx2::cached {

using kernels::cached::channel_group;
using kernels::cached::iq4_nl_values;
using kernels::cached::Meaning;
using kernels::cached::Products;
using kernels::cached::RowLayout;

struct I {
    __m256i a;
    __m256i b;
};

CAIRN_INLINE __m128i eight(const std::byte* x) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
}
CAIRN_INLINE __m128i sixteen(const std::byte* x) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
}
CAIRN_INLINE I unsigned_bytes(const std::byte* x) {
    return {_mm256_cvtepu8_epi32(eight(x)), _mm256_cvtepu8_epi32(eight(x + 8))};
}
CAIRN_INLINE I signed_bytes(const std::byte* x) {
    return {_mm256_cvtepi8_epi32(eight(x)), _mm256_cvtepi8_epi32(eight(x + 8))};
}
CAIRN_INLINE I take(I x, int shift, int mask) {
    const __m256i m = _mm256_set1_epi32(mask);
    if (shift == 0) return {_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
    return {_mm256_and_si256(_mm256_srli_epi32(x.a, shift), m),
            _mm256_and_si256(_mm256_srli_epi32(x.b, shift), m)};
}
CAIRN_INLINE I add_int(I x, I y) {
    return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
CAIRN_INLINE I raise4(I x) { return {_mm256_slli_epi32(x.a, 4), _mm256_slli_epi32(x.b, 4)}; }
CAIRN_INLINE I spread2(const std::byte* x) {
    int bits;
    __builtin_memcpy(&bits, x, 4);
    const __m256i all = _mm256_set1_epi32(bits);
    const __m256i three = _mm256_set1_epi32(3);
    return {_mm256_and_si256(_mm256_srlv_epi32(all, _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14)),
                             three),
            _mm256_and_si256(
                _mm256_srlv_epi32(all, _mm256_setr_epi32(16, 18, 20, 22, 24, 26, 28, 30)), three)};
}
CAIRN_INLINE V to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
CAIRN_INLINE __m256 lookup8(const float* table, __m256i x) {
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), x);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), x);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(x, 28)));
}
CAIRN_INLINE V lookup(const float* table, I x) {
    return {lookup8(table, x.a), lookup8(table, x.b)};
}
inline constexpr bool short_tables = false;
CAIRN_INLINE V entries(V table, I, int) { return table; }
CAIRN_INLINE V splat_half(const std::byte* x) {
    short bits;
    __builtin_memcpy(&bits, x, 2);
    const __m256 value = _mm256_cvtph_ps(_mm_set1_epi16(bits));
    return {value, value};
}
CAIRN_INLINE V from_halves(__m256i half) {
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(half)),
            _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1))};
}
// Sign and magnitude moved to their places in a half, whose exponent is then 8 too small.
CAIRN_INLINE V from_e4m3(const std::byte* x) {
    const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(sixteen(x)), 7);
    const __m256i ones = _mm256_set1_epi16(0x3F80);
    const __m256i nan = _mm256_cmpeq_epi16(_mm256_and_si256(wide, ones), ones);
    const __m256i half = _mm256_and_si256(wide, _mm256_set1_epi16(static_cast<short>(0xBF80)));
    return mul(from_halves(_mm256_blendv_epi8(half, _mm256_set1_epi16(0x7E00), nan)),
               splat(256.0F));
}
CAIRN_INLINE V from_e5m2(const std::byte* x) {
    return from_halves(_mm256_slli_epi16(_mm256_cvtepu8_epi16(sixteen(x)), 8));
}
CAIRN_INLINE void from_e4m3(const std::byte* x, V* to) {
    to[0] = from_e4m3(x);
    to[1] = from_e4m3(x + 16);
}
CAIRN_INLINE void from_e5m2(const std::byte* x, V* to) {
    to[0] = from_e5m2(x);
    to[1] = from_e5m2(x + 16);
}

// Four bytes each of 16 positions, from bytes [4][16]: positions 0-3 and 8-11, then 4-7 and 12-15.
struct B {
    __m256i a;
    __m256i b;
};
CAIRN_INLINE __m256i two_columns(const std::byte* x) {
    const __m256i halves =
        _mm256_permute4x64_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)), 0xD8);
    return _mm256_shuffle_epi8(
        halves, _mm256_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15, 0, 8, 1, 9,
                                 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
}
CAIRN_INLINE B quads(const std::byte* x) {
    const __m256i first = two_columns(x);
    const __m256i second = two_columns(x + 32);
    return {_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)};
}
CAIRN_INLINE B low_half(B x) {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(x.a, mask), _mm256_and_si256(x.b, mask)};
}
CAIRN_INLINE B high_half(B x) {
    return low_half({_mm256_srli_epi16(x.a, 4), _mm256_srli_epi16(x.b, 4)});
}
CAIRN_INLINE I splat_int(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
CAIRN_INLINE I in_order(I x) {
    return {_mm256_permute2x128_si256(x.a, x.b, 0x20), _mm256_permute2x128_si256(x.a, x.b, 0x31)};
}

#include "cairn/kernels/body/cached.inl"

}}}  // namespace cairn::kernels::avx2::cached

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
