// The instruction sets of this architecture, slowest first: a folder and a line each.
//
// A folder is also the name of a namespace, of an enumerator of Isa and of a table (CAIRN_ISA). It
// holds
//   supported.hpp        whether this processor has the set
//   quantised.hpp        products with quantised weights
//   integer_scores.hpp   products of quantised keys with quantised queries
//   floats.hpp           the kernels of floats          } or the line names the set that has them:
//   cached.hpp           products with quantised rows   } sets may differ in integer products alone
// What a set has from another one, its namespace takes from there.
#pragma once

#include <cstdint>

#include "cairn/core/config.hpp"

//  SET(folder, folder of the kernels of floats, ...)
#if defined(__x86_64__)
#define CAIRN_KERNEL_SETS(SET, ...)      \
    SET(portable, portable, __VA_ARGS__) \
    SET(avx2, avx2, __VA_ARGS__)         \
    SET(avxvnni, avx2, __VA_ARGS__)      \
    SET(avx512, avx512, __VA_ARGS__)     \
    SET(avx512vnni, avx512, __VA_ARGS__) \
    SET(avx512bf16, avx512bf16, __VA_ARGS__)
#elif defined(__aarch64__)
#define CAIRN_KERNEL_SETS(SET, ...)      \
    SET(portable, portable, __VA_ARGS__) \
    SET(neon, neon, __VA_ARGS__)         \
    SET(neondot, neon, __VA_ARGS__)      \
    SET(neoni8mm, neon, __VA_ARGS__)
#else
#define CAIRN_KERNEL_SETS(SET, ...) SET(portable, portable, __VA_ARGS__)
#endif

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

/// The instruction sets of this architecture, slowest first.
#define CAIRN_ENUMERATOR(set, floats, ...) set,
enum class Isa : std::uint8_t { CAIRN_KERNEL_SETS(CAIRN_ENUMERATOR) };
#undef CAIRN_ENUMERATOR

}}}  // namespace cairn::kernels
