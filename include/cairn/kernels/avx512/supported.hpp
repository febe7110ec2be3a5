// Whether this processor has AVX-512 F, BW, DQ and VL.
#pragma once

#include "cairn/kernels/avx2/supported.hpp"

#if defined(__x86_64__)

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512 {

inline bool supported() noexcept {
    return avx2::supported() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

}}}  // namespace cairn::kernels::avx512

#endif  // __x86_64__
