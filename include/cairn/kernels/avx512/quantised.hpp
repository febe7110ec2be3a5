// Products with quantised weights for AVX-512: one register is the 64 bytes.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/avx512/floats.hpp"
#include "cairn/kernels/quantised/packed.hpp"

#include "cairn/kernels/avx512/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512 {

// What every set of 512 bits has in common.
namespace bytes {

#include "cairn/kernels/body/quantised_names.inl"

struct B {
    __m512i r;
};
struct I {
    __m512i r;
};

CAIRN_INLINE B load_bytes(const std::byte* x) { return {_mm512_loadu_si512(x)}; }
CAIRN_INLINE void store_bytes(std::byte* x, B b) { _mm512_storeu_si512(x, b.r); }
template <int n>
CAIRN_INLINE B shift(B x) {
    if constexpr (n > 0)
        return {_mm512_slli_epi16(x.r, n)};
    else if constexpr (n < 0)
        return {_mm512_srli_epi16(x.r, -n)};
    else
        return x;
}
CAIRN_INLINE B mask(B x, int bits) {
    return {_mm512_and_si512(x.r, _mm512_set1_epi8(static_cast<char>(bits)))};
}
CAIRN_INLINE B either(B x, B y) { return {_mm512_or_si512(x.r, y.r)}; }
CAIRN_INLINE B lookup(const std::uint8_t* table, B x) {
    const __m512i t =
        _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    return {_mm512_shuffle_epi8(t, x.r)};
}
CAIRN_INLINE I splat_int(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
CAIRN_INLINE V to_float(I x) { return {_mm512_cvtepi32_ps(x.r)}; }
template <int t>
CAIRN_INLINE V byte_lanes(B x) {
    return to_float({_mm512_and_si512(_mm512_srli_epi32(x.r, 8 * t), _mm512_set1_epi32(255))});
}
CAIRN_INLINE __m128i sixteen(const std::byte* x) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
}
CAIRN_INLINE V from_unsigned(const std::byte* x) {
    return to_float({_mm512_cvtepu8_epi32(sixteen(x))});
}
CAIRN_INLINE V from_signed(const std::byte* x) {
    return to_float({_mm512_cvtepi8_epi32(sixteen(x))});
}
CAIRN_INLINE V from_nibbles(const std::byte* x, int shift) {
    return to_float({_mm512_and_si512(
        _mm512_srli_epi32(_mm512_cvtepu8_epi32(sixteen(x)), static_cast<unsigned>(shift)),
        _mm512_set1_epi32(15))});
}
// The low bytes of 16 floats.
CAIRN_INLINE void pack_bytes(std::int8_t* to, V shifted) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm512_cvtepi32_epi8(_mm512_castps_si512(shifted.r)));
}
CAIRN_INLINE __m512i magnitude(V x) {
    return _mm512_and_si512(_mm512_castps_si512(x.r), _mm512_set1_epi32(0x7FFFFFFF));
}
CAIRN_INLINE std::uint32_t largest_bits(V x, V y) {
    return _mm512_reduce_max_epu32(_mm512_max_epu32(magnitude(x), magnitude(y)));
}

#include "cairn/kernels/body/quantised_bytes.inl"

}  // namespace bytes

namespace blocks {

using namespace bytes;

inline constexpr int gemm_rows = 6;
inline constexpr int gemm_panels = 2;

// Sums of pairs in 16 bits.
struct Part {
    __m512i r;
};
CAIRN_INLINE Part start_part(I) { return {_mm512_setzero_si512()}; }
template <bool>
CAIRN_INLINE I first_sum(std::int32_t start) {
    return splat_int(start);
}
// A compiler would turn the chain of sums into a tree, which takes more registers than there are.
CAIRN_INLINE __m512i in_turn(__m512i sum) {
    asm("" : "+v"(sum));
    return sum;
}
template <int by>
CAIRN_INLINE I add_part(I sum, Part part) {
    return {in_turn(_mm512_add_epi32(sum.r, _mm512_madd_epi16(part.r, _mm512_set1_epi16(by))))};
}
template <bool>
CAIRN_INLINE Part dot(Part part, B codes, std::int32_t four) {
    return {
        in_turn(_mm512_add_epi16(part.r, _mm512_maddubs_epi16(codes.r, _mm512_set1_epi32(four))))};
}

#include "cairn/kernels/body/quantised_group.inl"
#include "cairn/kernels/body/quantised.inl"

}  // namespace blocks
}}}  // namespace cairn::kernels::avx512

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
