// Whether this processor has AVX-VNNI: vpdpbusd on 256 bits without AVX-512.
#pragma once

#include "cairn/kernels/avx2/supported.hpp"

#if defined(__x86_64__)

#include <cpuid.h>

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avxvnni {

inline bool supported() noexcept {
    // By hand: clang's __builtin_cpu_supports learned the name after clang 14.
    unsigned a = 0, b = 0, c = 0, d = 0;
    return avx2::supported() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1U) != 0;
}

}}}  // namespace cairn::kernels::avxvnni

#endif  // __x86_64__
