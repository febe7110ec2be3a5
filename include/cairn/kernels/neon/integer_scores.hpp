// Scores in integers for AArch64.
#pragma once

#if defined(__aarch64__)

#include "cairn/kernels/cached/query.hpp"
#include "cairn/kernels/neon/cached.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neon::integers {

using namespace neon::cached;

inline constexpr int byte_zero = 0;
CAIRN_INLINE B shifted_bytes(const B& x) { return x; }
CAIRN_INLINE I dot_bytes(const I& sum, const B& keys, std::int32_t four) {
    const int8x16_t query = vreinterpretq_s8_s32(vdupq_n_s32(four));
    I to;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) {
        const int16x8_t low = vmull_s8(vget_low_s8(keys.r[i]), vget_low_s8(query));
        const int16x8_t high = vmull_high_s8(keys.r[i], query);
        to.r[i] = vpadalq_s16(sum.r[i], vpaddq_s16(low, high));  // pairs: 128 * 127 * 2 at most
    }
    return to;
}
CAIRN_INLINE I dot_halves(const I& sum, const B& keys, std::int32_t four) {
    return dot_bytes(sum, keys, four);
}

#include "cairn/kernels/body/integer_scores.inl"

}}}  // namespace cairn::kernels::neon::integers

#endif  // __aarch64__
