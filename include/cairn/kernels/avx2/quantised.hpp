// Products with quantised weights for AVX2: two registers are the 64 bytes. pmaddubsw takes
// unsigned times signed bytes to sums of pairs in 16 bits.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/avx2/floats.hpp"
#include "cairn/kernels/quantised/packed.hpp"

#include "cairn/kernels/avx2/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx2 {

// What every set of 256 bits has in common.
namespace bytes {

#include "cairn/kernels/body/quantised_names.inl"

struct B {
    __m256i a;
    __m256i b;
};
struct I {
    __m256i a;
    __m256i b;
};

CAIRN_INLINE B load_bytes(const std::byte* x) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 32))};
}
CAIRN_INLINE void store_bytes(std::byte* x, B b) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(x), b.a);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(x + 32), b.b);
}
template <int n>
CAIRN_INLINE B shift(B x) {
    if constexpr (n > 0)
        return {_mm256_slli_epi16(x.a, n), _mm256_slli_epi16(x.b, n)};
    else if constexpr (n < 0)
        return {_mm256_srli_epi16(x.a, -n), _mm256_srli_epi16(x.b, -n)};
    else
        return x;
}
CAIRN_INLINE B mask(B x, int bits) {
    const __m256i m = _mm256_set1_epi8(static_cast<char>(bits));
    return {_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
CAIRN_INLINE B either(B x, B y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
CAIRN_INLINE B lookup(const std::uint8_t* table, B x) {
    const __m256i t =
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    return {_mm256_shuffle_epi8(t, x.a), _mm256_shuffle_epi8(t, x.b)};
}
CAIRN_INLINE I splat_int(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
CAIRN_INLINE V to_float(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
template <int t>
CAIRN_INLINE V byte_lanes(B x) {
    const __m256i low = _mm256_set1_epi32(255);
    return to_float({_mm256_and_si256(_mm256_srli_epi32(x.a, 8 * t), low),
                     _mm256_and_si256(_mm256_srli_epi32(x.b, 8 * t), low)});
}
CAIRN_INLINE __m128i eight(const std::byte* x) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
}
CAIRN_INLINE V from_unsigned(const std::byte* x) {
    return to_float({_mm256_cvtepu8_epi32(eight(x)), _mm256_cvtepu8_epi32(eight(x + 8))});
}
CAIRN_INLINE V from_signed(const std::byte* x) {
    return to_float({_mm256_cvtepi8_epi32(eight(x)), _mm256_cvtepi8_epi32(eight(x + 8))});
}
CAIRN_INLINE V from_nibbles(const std::byte* x, int shift) {
    const __m256i low = _mm256_set1_epi32(15);
    return to_float(
        {_mm256_and_si256(_mm256_srli_epi32(_mm256_cvtepu8_epi32(eight(x)), shift), low),
         _mm256_and_si256(_mm256_srli_epi32(_mm256_cvtepu8_epi32(eight(x + 8)), shift), low)});
}
// The low bytes of 16 floats.
CAIRN_INLINE void pack_bytes(std::int8_t* to, V shifted) {
    const __m256i low = _mm256_set1_epi32(255);
    const __m256i words =
        _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(shifted.a), low),
                            _mm256_and_si256(_mm256_castps_si256(shifted.b), low));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(to),
        _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
}
CAIRN_INLINE __m256i magnitude(__m256 x) {
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7FFFFFFF));
}
CAIRN_INLINE std::uint32_t largest_bits(V x, V y) {
    const __m256i m8 = _mm256_max_epu32(_mm256_max_epu32(magnitude(x.a), magnitude(x.b)),
                                        _mm256_max_epu32(magnitude(y.a), magnitude(y.b)));
    const __m128i m4 = _mm_max_epu32(_mm256_castsi256_si128(m8), _mm256_extracti128_si256(m8, 1));
    const __m128i m2 = _mm_max_epu32(m4, _mm_shuffle_epi32(m4, 0x4E));
    return static_cast<std::uint32_t>(
        _mm_cvtsi128_si32(_mm_max_epu32(m2, _mm_shuffle_epi32(m2, 0xB1))));
}

#include "cairn/kernels/body/quantised_bytes.inl"

}  // namespace bytes

namespace blocks {

using namespace bytes;

inline constexpr int gemm_rows = 3;
inline constexpr int gemm_panels = 1;

// Sums of pairs in 16 bits.
struct Part {
    __m256i a;
    __m256i b;
};
CAIRN_INLINE Part start_part(I) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
// A compiler would turn the chain of sums into a tree, which takes more registers than there are.
CAIRN_INLINE __m256i in_turn(__m256i sum) {
    asm("" : "+x"(sum));
    return sum;
}
template <bool>
CAIRN_INLINE I first_sum(std::int32_t start) {
    return splat_int(start);
}
template <int by>
CAIRN_INLINE I add_part(I sum, Part part) {
    const __m256i factor = _mm256_set1_epi16(by);
    return {in_turn(_mm256_add_epi32(sum.a, _mm256_madd_epi16(part.a, factor))),
            in_turn(_mm256_add_epi32(sum.b, _mm256_madd_epi16(part.b, factor)))};
}
template <bool>
CAIRN_INLINE Part dot(Part part, B codes, std::int32_t four) {
    const __m256i q = _mm256_set1_epi32(four);
    return {in_turn(_mm256_add_epi16(part.a, _mm256_maddubs_epi16(codes.a, q))),
            in_turn(_mm256_add_epi16(part.b, _mm256_maddubs_epi16(codes.b, q)))};
}

#include "cairn/kernels/body/quantised_group.inl"
#include "cairn/kernels/body/quantised.inl"

}  // namespace blocks
}}}  // namespace cairn::kernels::avx2

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
