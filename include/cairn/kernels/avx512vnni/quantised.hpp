// Products with quantised weights for AVX-512 with VNNI: vpdpbusd takes unsigned codes as they are;
// what their zero point adds is in the start.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/avx512/quantised.hpp"

#include "cairn/kernels/avx512vnni/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512vnni::blocks {

using namespace avx512;
using namespace avx512::bytes;

inline constexpr int gemm_rows = 6;
inline constexpr int gemm_panels = 2;

CAIRN_INLINE I wide_start(std::int32_t start) { return splat_int(start); }
CAIRN_INLINE I dot_narrow(I sum, B codes, std::int32_t four) {
    return {_mm512_dpbusd_epi32(sum.r, codes.r, _mm512_set1_epi32(four))};
}
CAIRN_INLINE I dot_wide(I sum, B codes, std::int32_t four) { return dot_narrow(sum, codes, four); }

#include "cairn/kernels/body/quantised_parts.inl"
#include "cairn/kernels/body/quantised_group.inl"
#include "cairn/kernels/body/quantised.inl"

}}}  // namespace cairn::kernels::avx512vnni::blocks

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
