// Whether this processor has AVX-512 with VNNI and BF16: Zen 4, Sapphire Rapids and newer ones.
#pragma once

#include "cairn/kernels/avx512vnni/supported.hpp"

#if defined(__x86_64__)

#include <cpuid.h>

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512bf16 {

inline bool supported() noexcept {
    // By hand, as for AVX-VNNI: compilers disagree on the name.
    unsigned a = 0, b = 0, c = 0, d = 0;
    return avx512vnni::supported() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 &&
           (a >> 5 & 1U) != 0;
}

}}}  // namespace cairn::kernels::avx512bf16

#endif  // __x86_64__
