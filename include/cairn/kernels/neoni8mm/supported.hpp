// Whether this processor has the matrix instructions for bytes (FEAT_I8MM).
#pragma once

#include "cairn/core/config.hpp"

#if defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>

#include <cstddef>
#endif

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neoni8mm {

inline bool supported() noexcept {
#if defined(__linux__)
    return (getauxval(AT_HWCAP2) >> 13 & 1U) != 0;  // HWCAP2_I8MM, which older headers do not name
#elif defined(__APPLE__)
    int there = 0;
    std::size_t bytes = sizeof there;
    return sysctlbyname("hw.optional.arm.FEAT_I8MM", &there, &bytes, nullptr, 0) == 0 && there != 0;
#else
    return false;
#endif
}

}}}  // namespace cairn::kernels::neoni8mm

#endif  // __aarch64__
