// Whether this processor has the dot product instructions. Every Apple machine has.
#pragma once

#include "cairn/core/config.hpp"

#if defined(__aarch64__)

#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neondot {

inline bool supported() noexcept {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return true;
#endif
}

}}}  // namespace cairn::kernels::neondot

#endif  // __aarch64__
