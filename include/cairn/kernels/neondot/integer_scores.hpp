// Scores in integers for AArch64 with the dot product instructions.
#pragma once

#if defined(__aarch64__)

#include "cairn/kernels/cached/query.hpp"
#include "cairn/kernels/neon/cached.hpp"
#include "cairn/kernels/neondot/quantised.hpp"

#include "cairn/kernels/neondot/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neondot::integers {

using namespace neon;
using namespace neon::cached;

inline constexpr int byte_zero = 0;
CAIRN_INLINE B shifted_bytes(const B& x) { return x; }
CAIRN_INLINE I dot_bytes(const I& sum, const B& keys, std::int32_t four) {
    const int8x16_t query = vreinterpretq_s8_s32(vdupq_n_s32(four));
    I to;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) to.r[i] = neondot::blocks::dot_16(sum.r[i], keys.r[i], query);
    return to;
}
CAIRN_INLINE I dot_halves(const I& sum, const B& keys, std::int32_t four) {
    return dot_bytes(sum, keys, four);
}

#include "cairn/kernels/body/integer_scores.inl"

}}}  // namespace cairn::kernels::neondot::integers

#include "cairn/kernels/body/target_end.inl"

#endif  // __aarch64__
