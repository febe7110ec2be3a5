// Scores in integers for AVX2 with AVX-VNNI.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/cached/query.hpp"
#include "cairn/kernels/avx2/cached.hpp"

#include "cairn/kernels/avxvnni/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avxvnni::integers {

using namespace avx2;
using namespace avx2::cached;

// vpdpbusd takes keys without a sign: shifted by 128, which the start takes back.
inline constexpr int byte_zero = 128;
CAIRN_INLINE B shifted_bytes(B x) {
    const __m256i sign = _mm256_set1_epi8(-128);
    return {_mm256_xor_si256(x.a, sign), _mm256_xor_si256(x.b, sign)};
}
CAIRN_INLINE I dot_halves(I sum, B keys, std::int32_t four) {
    const __m256i query = _mm256_set1_epi32(four);
    return {_mm256_dpbusd_avx_epi32(sum.a, keys.a, query),
            _mm256_dpbusd_avx_epi32(sum.b, keys.b, query)};
}
CAIRN_INLINE I dot_bytes(I sum, B keys, std::int32_t four) { return dot_halves(sum, keys, four); }

#include "cairn/kernels/body/integer_scores.inl"

}}}  // namespace cairn::kernels::avxvnni::integers

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
