// The quantised kernels that belong to the kernels in use.
#pragma once

#include <string_view>

#include "cairn/kernels/dispatch.hpp"
#include "cairn/kernels/quantised/packed.hpp"

#if !defined(CAIRN_EXTERN_KERNELS) || defined(CAIRN_KERNELS_IMPLEMENTATION)
#include "cairn/kernels/quantised/avx2.hpp"
#include "cairn/kernels/quantised/avx512.hpp"
#include "cairn/kernels/quantised/neon.hpp"
#include "cairn/kernels/quantised/portable.hpp"
#endif

namespace cairn::inline CAIRN_ABI::kernels::quantised {

#if defined(CAIRN_EXTERN_KERNELS) && !defined(CAIRN_KERNELS_IMPLEMENTATION)
/// The table with the name of `base`. Compiled in the library `cairn::kernels`.
const Table& table_for(const kernels::Table& base) noexcept;
#else
#if defined(CAIRN_KERNELS_IMPLEMENTATION)
const Table& table_for(const kernels::Table& base) noexcept;
#define CAIRN_KERNELS_LINKAGE
#else
#define CAIRN_KERNELS_LINKAGE inline
#endif
/// The table with the name of `base`.
CAIRN_KERNELS_LINKAGE const Table& table_for(const kernels::Table& base) noexcept {
    [[maybe_unused]] const std::string_view name = base.name;
#if defined(__x86_64__)
    if (name == "avx2") return avx2::blocks::table("avx2");
    if (name == "avx512") return avx512::blocks::table("avx512");
    if (name == "avx512vnni") return avx512vnni::blocks::table("avx512vnni");
#elif defined(__aarch64__)
    if (name == "neon") return neon::blocks::table("neon");
    if (name == "neondot") return neondot::blocks::table("neondot");
#endif
    return portable::blocks::table("portable");
}
#undef CAIRN_KERNELS_LINKAGE
#endif

/// The table in use.
inline const Table& active() { return table_for(kernels::active()); }

}  // namespace cairn::inline CAIRN_ABI::kernels::quantised
