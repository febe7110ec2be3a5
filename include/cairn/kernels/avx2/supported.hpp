// Whether this processor has AVX2 and FMA (and F16C: every one of them has).
#pragma once

#include "cairn/core/config.hpp"

#if defined(__x86_64__)

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx2 {

inline bool supported() noexcept {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

}}}  // namespace cairn::kernels::avx2

#endif  // __x86_64__
