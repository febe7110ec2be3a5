// Scores in integers for AVX-512 without VNNI.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/cached/query.hpp"
#include "cairn/kernels/avx512/cached.hpp"

#include "cairn/kernels/avx512/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512::integers {

using namespace avx512::cached;

// The product of magnitudes of keys with bytes of the query that take over the keys' signs: 16 bits
// hold a pair of them.
inline constexpr int byte_zero = 0;
CAIRN_INLINE B shifted_bytes(B x) { return x; }
CAIRN_INLINE I dot_pairs(I sum, __m512i keys, __m512i query) {
    return {_mm512_add_epi32(
        sum.r, _mm512_madd_epi16(_mm512_maddubs_epi16(keys, query), _mm512_set1_epi16(1)))};
}
CAIRN_INLINE I dot_halves(I sum, B keys, std::int32_t four) {
    return dot_pairs(sum, keys.r, _mm512_set1_epi32(four));
}
CAIRN_INLINE I dot_bytes(I sum, B keys, std::int32_t four) {
    const __m512i query = _mm512_set1_epi32(four);
    return dot_pairs(
        sum, _mm512_abs_epi8(keys.r),
        _mm512_mask_sub_epi8(query, _mm512_movepi8_mask(keys.r), _mm512_setzero_si512(), query));
}

#include "cairn/kernels/body/integer_scores.inl"

}}}  // namespace cairn::kernels::avx512::integers

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
