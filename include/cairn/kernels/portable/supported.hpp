// Plain C++ runs everywhere.
#pragma once

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::portable {

inline bool supported() noexcept { return true; }

}}}  // namespace cairn::kernels::portable
