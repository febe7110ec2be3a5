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
// Sixteen floats chosen by four bits of each integer, whatever the other bits are.
inline constexpr bool short_tables = true;
CAIRN_INLINE V entries(V table, I x, int shift) {
    const __m512i moved = shift == 0 ? x.r : _mm512_srli_epi32(x.r, static_cast<unsigned>(shift));
    return {_mm512_permutexvar_ps(moved, table.r)};
}
CAIRN_INLINE V splat_half(const std::byte* x) {
    short bits;
    __builtin_memcpy(&bits, x, 2);
    return {_mm512_cvtph_ps(_mm256_set1_epi16(bits))};
}
CAIRN_INLINE void from_halves(__m512i half, V* to) {
    to[0].r = _mm512_cvtph_ps(_mm512_castsi512_si256(half));
    to[1].r = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1));
}
CAIRN_INLINE __m256i thirty_two(const std::byte* x) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
}
// 32 codes: sign and magnitude moved to their places in a half, whose exponent is then 8 too small.
CAIRN_INLINE void from_e4m3(const std::byte* x, V* to) {
    const __m512i wide = _mm512_slli_epi16(_mm512_cvtepi8_epi16(thirty_two(x)), 7);
    const __m512i ones = _mm512_set1_epi16(0x3F80);
    const __mmask32 nan = _mm512_cmpeq_epi16_mask(_mm512_and_si512(wide, ones), ones);
    const __m512i half = _mm512_and_si512(wide, _mm512_set1_epi16(static_cast<short>(0xBF80)));
    from_halves(_mm512_mask_mov_epi16(half, nan, _mm512_set1_epi16(0x7E00)), to);
    to[0].r = _mm512_mul_ps(to[0].r, _mm512_set1_ps(256.0F));
    to[1].r = _mm512_mul_ps(to[1].r, _mm512_set1_ps(256.0F));
}
CAIRN_INLINE void from_e5m2(const std::byte* x, V* to) {
    from_halves(_mm512_slli_epi16(_mm512_cvtepu8_epi16(thirty_two(x)), 8), to);
}

// Four bytes each of 16 positions, from bytes [4][16].
struct B {
    __m512i r;
};
CAIRN_INLINE B quads(const std::byte* x) {
    const __m512i columns = _mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
        _mm512_loadu_si512(x));
    return {
        _mm512_shuffle_epi8(columns, _mm512_broadcast_i32x4(_mm_setr_epi8(
                                         0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)))};
}
CAIRN_INLINE B low_half(B x) { return {_mm512_and_si512(x.r, _mm512_set1_epi8(15))}; }
CAIRN_INLINE B high_half(B x) { return low_half({_mm512_srli_epi16(x.r, 4)}); }
CAIRN_INLINE I splat_int(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
CAIRN_INLINE I in_order(I x) { return x; }

#include "cairn/kernels/body/cached.inl"

}}}  // namespace cairn::kernels::avx512::cached

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
