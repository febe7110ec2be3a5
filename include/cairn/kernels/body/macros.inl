// Internal helpers of the kernels; not part of the interface.
#pragma once

#include <cstdint>

#include "cairn/core/config.hpp"

#define CAIRN_FORCE_INLINE inline __attribute__((always_inline))
#define CAIRN_INLINE CAIRN_FORCE_INLINE
#if defined(__clang__)
#define CAIRN_FULL_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CAIRN_FULL_UNROLL _Pragma("GCC unroll 32")
#endif
#define CAIRN_UNROLL CAIRN_FULL_UNROLL

namespace cairn {
inline namespace CAIRN_ABI {
namespace kernels {

// Storage types of 16-bit numbers, distinct so that load() can be overloaded.
struct half_t {
    std::uint16_t bits;
};
struct brain_t {
    std::uint16_t bits;
};

}
}
}  // namespace cairn::kernels
