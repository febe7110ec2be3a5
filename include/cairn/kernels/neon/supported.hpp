// Every AArch64 processor has NEON.
#pragma once

#include "cairn/core/config.hpp"

#if defined(__aarch64__)

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::neon {

inline bool supported() noexcept { return true; }

}}}  // namespace cairn::kernels::neon

#endif  // __aarch64__
