// The products with quantised weights that belong to the kernels in use.
#pragma once

#include "cairn/kernels/dispatch.hpp"
#include "cairn/kernels/quantised/packed.hpp"

#if !defined(CAIRN_EXTERN_KERNELS) || defined(CAIRN_KERNELS_IMPLEMENTATION)
#define CAIRN_FOLDER set
#define CAIRN_FILE quantised.hpp
#include "cairn/kernels/each.inl"
#endif

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::quantised {

#if defined(CAIRN_EXTERN_KERNELS) && !defined(CAIRN_KERNELS_IMPLEMENTATION)
/// The products of the instruction set of `base`. Compiled in the library `cairn::kernels`.
const BlockKernels& kernels_for(const Table& base) noexcept;
#else
#if defined(CAIRN_KERNELS_IMPLEMENTATION)
const BlockKernels& kernels_for(const Table& base) noexcept;
#endif
#define CAIRN_BLOCK_KERNELS(set, floats, ...) &set::blocks::block_kernels,
/// The products of the instruction set of `base`.
CAIRN_KERNELS_LINKAGE const BlockKernels& kernels_for(const Table& base) noexcept {
    static constexpr const BlockKernels* all[] = {CAIRN_KERNEL_SETS(CAIRN_BLOCK_KERNELS)};
    return *all[static_cast<std::size_t>(base.isa)];
}
#undef CAIRN_BLOCK_KERNELS
#endif

/// The products in use.
inline const BlockKernels& active() { return kernels_for(kernels::active()); }

}}}  // namespace cairn::kernels::quantised
