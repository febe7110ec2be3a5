// Scores in integers for AArch64 with the matrix instructions for bytes.
#pragma once

#if defined(__aarch64__)

#include "cairn/kernels/cached/query.hpp"
#include "cairn/kernels/neon/cached.hpp"
#include "cairn/kernels/neoni8mm/quantised.hpp"

#include "cairn/kernels/neoni8mm/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neoni8mm::integers {

using namespace neon;
using namespace neon::cached;

// usdot takes keys without a sign: shifted by 128, which the start takes back.
inline constexpr int byte_zero = 128;
CAIRN_INLINE B shifted_bytes(const B& x) {
    B to;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) to.r[i] = veorq_s8(x.r[i], vdupq_n_s8(-128));
    return to;
}
CAIRN_INLINE I dot_bytes(const I& sum, const B& keys, std::int32_t four) {
    const int8x16_t query = vreinterpretq_s8_s32(vdupq_n_s32(four));
    I to;
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i)
        to.r[i] = neoni8mm::blocks::usdot(sum.r[i], vreinterpretq_u8_s8(keys.r[i]), query);
    return to;
}
CAIRN_INLINE I dot_halves(const I& sum, const B& keys, std::int32_t four) {
    return dot_bytes(sum, keys, four);
}

#include "cairn/kernels/body/integer_scores.inl"

}}}  // namespace cairn::kernels::neoni8mm::integers

#include "cairn/kernels/body/target_end.inl"

#endif  // __aarch64__
