// Scores in integers for AVX2.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/cached/query.hpp"
#include "cairn/kernels/avx2/cached.hpp"

#include "cairn/kernels/avx2/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx2::integers {

using namespace avx2::cached;

// The product of magnitudes of keys with bytes of the query that take over the keys' signs: 16 bits
// hold a pair of them.
inline constexpr int byte_zero = 0;
CAIRN_INLINE B shifted_bytes(B x) { return x; }
CAIRN_INLINE __m256i dot_pairs(__m256i sum, __m256i keys, __m256i query) {
    return _mm256_add_epi32(
        sum, _mm256_madd_epi16(_mm256_maddubs_epi16(keys, query), _mm256_set1_epi16(1)));
}
CAIRN_INLINE I dot_halves(I sum, B keys, std::int32_t four) {
    const __m256i query = _mm256_set1_epi32(four);
    return {dot_pairs(sum.a, keys.a, query), dot_pairs(sum.b, keys.b, query)};
}
CAIRN_INLINE I dot_bytes(I sum, B keys, std::int32_t four) {
    const __m256i query = _mm256_set1_epi32(four);
    return {dot_pairs(sum.a, _mm256_abs_epi8(keys.a), _mm256_sign_epi8(query, keys.a)),
            dot_pairs(sum.b, _mm256_abs_epi8(keys.b), _mm256_sign_epi8(query, keys.b))};
}

#include "cairn/kernels/body/integer_scores.inl"

}}}  // namespace cairn::kernels::avx2::integers

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
