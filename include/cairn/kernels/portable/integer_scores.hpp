// Scores in integers in plain C++.
#pragma once

#include "cairn/kernels/cached/query.hpp"
#include "cairn/kernels/portable/cached.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::portable::integers {

using namespace portable::cached;

#undef CAIRN_INLINE
#undef CAIRN_UNROLL
#define CAIRN_INLINE inline
#define CAIRN_UNROLL

inline constexpr int byte_zero = 0;
inline B shifted_bytes(const B& x) { return x; }
inline I dot_bytes(const I& sum, const B& keys, std::int32_t four) {
    std::int8_t query[4];
    std::memcpy(query, &four, 4);
    I to = sum;
    for (int i = 0; i < 64; ++i) to.at[i / 4] += keys.at[i] * query[i % 4];
    return to;
}
inline I dot_halves(const I& sum, const B& keys, std::int32_t four) {
    return dot_bytes(sum, keys, four);
}

#include "cairn/kernels/body/integer_scores.inl"

#undef CAIRN_INLINE
#undef CAIRN_UNROLL
#define CAIRN_INLINE CAIRN_FORCE_INLINE
#define CAIRN_UNROLL CAIRN_FULL_UNROLL

}}}  // namespace cairn::kernels::portable::integers
