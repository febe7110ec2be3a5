// Products with quantised weights for AArch64 with the dot product instructions.
#pragma once

#if defined(__aarch64__)

#include "cairn/kernels/neon/quantised.hpp"

#include "cairn/kernels/neondot/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neondot::blocks {

using namespace neon;
using namespace neon::bytes;

inline constexpr int gemm_rows = 2;
inline constexpr int gemm_panels = 1;

CAIRN_INLINE int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t q) {
#if defined(__clang__)
    // By name: clang before 16 hides the intrinsics of what a whole file is not compiled for.
    asm("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(q));
    return sum;
#else
    return vdotq_s32(sum, w, q);
#endif
}

#include "cairn/kernels/body/quantised_neon.inl"
#include "cairn/kernels/body/quantised_parts.inl"
#include "cairn/kernels/body/quantised_group.inl"
#include "cairn/kernels/body/quantised.inl"

}}}  // namespace cairn::kernels::neondot::blocks

#include "cairn/kernels/body/target_end.inl"

#endif  // __aarch64__
