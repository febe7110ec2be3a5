// Whether this processor has AVX-512 with VNNI.
#pragma once

#include "cairn/kernels/avx512/supported.hpp"

#if defined(__x86_64__)

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512vnni {

inline bool supported() noexcept {
    return avx512::supported() && __builtin_cpu_supports("avx512vnni");
}

}}}  // namespace cairn::kernels::avx512vnni

#endif  // __x86_64__
