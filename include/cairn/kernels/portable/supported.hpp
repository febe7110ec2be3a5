// Plain C++ runs everywhere.
#pragma once

#include "cairn/core/config.hpp"

namespace cairn::inline CAIRN_ABI::kernels::portable {

inline bool supported() noexcept { return true; }

}  // namespace cairn::inline CAIRN_ABI::kernels::portable
