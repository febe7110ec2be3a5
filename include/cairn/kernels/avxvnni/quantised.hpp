// Products with quantised weights for AVX2 with AVX-VNNI: vpdpbusd takes unsigned codes as they
// are; what their zero point adds is in the start.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/avx2/quantised.hpp"

#include "cairn/kernels/avxvnni/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avxvnni::blocks {

using namespace avx2;
using namespace avx2::bytes;

inline constexpr int gemm_rows = 4;
inline constexpr int gemm_panels = 1;

CAIRN_INLINE I wide_start(std::int32_t start) { return splat_int(start); }
CAIRN_INLINE I dot_narrow(I sum, B codes, std::int32_t four) {
    const __m256i q = _mm256_set1_epi32(four);
    return {_mm256_dpbusd_avx_epi32(sum.a, codes.a, q), _mm256_dpbusd_avx_epi32(sum.b, codes.b, q)};
}
CAIRN_INLINE I dot_wide(I sum, B codes, std::int32_t four) { return dot_narrow(sum, codes, four); }

#include "cairn/kernels/body/quantised_parts.inl"
#include "cairn/kernels/body/quantised_group.inl"
#include "cairn/kernels/body/quantised.inl"

}}}  // namespace cairn::kernels::avxvnni::blocks

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
