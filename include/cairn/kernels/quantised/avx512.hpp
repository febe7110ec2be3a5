// Products with quantised weights for AVX-512, without and with VNNI: one register is the 64 bytes.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/isa/avx512.hpp"
#include "cairn/kernels/quantised/packed.hpp"

#if defined(__clang__)
#pragma clang attribute push(                                                    \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
    apply_to = function)
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

namespace cairn::inline CAIRN_ABI::kernels::avx512 {

// What both have in common.
namespace bytes {

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

}  // namespace bytes

namespace blocks {

#include "cairn/kernels/body/quantised_names.inl"
using namespace bytes;

inline constexpr int gemv_streams = 4;
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

#include "cairn/kernels/body/quantised.inl"

}  // namespace blocks
}  // namespace cairn::inline CAIRN_ABI::kernels::avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif

#if defined(__clang__)
#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
    apply_to = function)
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
#endif

namespace cairn::inline CAIRN_ABI::kernels::avx512vnni {

using namespace avx512;

namespace blocks {

#include "cairn/kernels/body/quantised_names.inl"
using namespace avx512::bytes;

inline constexpr int gemv_streams = 4;
inline constexpr int gemm_rows = 6;
inline constexpr int gemm_panels = 2;

// vpdpbusd takes unsigned codes as they are; what the zero point adds is in the start.
CAIRN_INLINE I wide_start(std::int32_t start) { return splat_int(start); }
CAIRN_INLINE I dot_narrow(I sum, B codes, std::int32_t four) {
    return {_mm512_dpbusd_epi32(sum.r, codes.r, _mm512_set1_epi32(four))};
}
CAIRN_INLINE I dot_wide(I sum, B codes, std::int32_t four) { return dot_narrow(sum, codes, four); }

#include "cairn/kernels/body/quantised_parts.inl"
#include "cairn/kernels/body/quantised.inl"

}  // namespace blocks
}  // namespace cairn::inline CAIRN_ABI::kernels::avx512vnni

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif

#endif  // __x86_64__
