// Scores in integers for AVX-512 with VNNI.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/cached/query.hpp"
#include "cairn/kernels/avx512/cached.hpp"

#include "cairn/kernels/avx512vnni/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512vnni::integers {

using namespace avx512;
using namespace avx512::cached;

// vpdpbusd takes keys without a sign: shifted by 128, which the start takes back.
inline constexpr int byte_zero = 128;
CAIRN_INLINE B shifted_bytes(B x) { return {_mm512_xor_si512(x.r, _mm512_set1_epi8(-128))}; }
CAIRN_INLINE I dot_halves(I sum, B keys, std::int32_t four) {
    return {_mm512_dpbusd_epi32(sum.r, keys.r, _mm512_set1_epi32(four))};
}
CAIRN_INLINE I dot_bytes(I sum, B keys, std::int32_t four) { return dot_halves(sum, keys, four); }

#include "cairn/kernels/body/integer_scores.inl"

}}}  // namespace cairn::kernels::avx512vnni::integers

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
