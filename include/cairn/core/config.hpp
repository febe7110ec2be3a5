// Version, configuration macros and the few requirements on the host's compiler.
//
// Configuration (define before including any Cairn header, the same in the whole program):
//   CAIRN_EXTERN_KERNELS  the SIMD kernels come from the compiled library `cairn::kernels`
//                         instead of being instantiated in every translation unit.
//   CAIRN_EXTERN_IO       and loading a model, the words for caches and the tokenizer's encoding
//                         from the compiled library `cairn::io_compiled`.
#pragma once

// What the compiler must be. An error would not end its work, and what follows would be hundreds of
// lines nobody wants; a header that does not exist does end it.
#if !defined(__GNUC__)
#error \
    "Cairn needs g++ 12, clang 14 or newer: its kernels use their per-function target attributes."
#include "cairn/see_the_error_above"
#elif __cplusplus < 202002L
#error "Cairn needs C++20: compile with -std=c++20, or newer."
#include "cairn/see_the_error_above"
#elif !defined(__cpp_exceptions)
#error "Cairn reports errors by exceptions and cannot be compiled with -fno-exceptions."
#include "cairn/see_the_error_above"
#elif defined(CAIRN_EXTERN_IO) && !defined(CAIRN_EXTERN_KERNELS)
#error "CAIRN_EXTERN_IO needs CAIRN_EXTERN_KERNELS: cairn::io_compiled is built on cairn::kernels."
#include "cairn/see_the_error_above"
#endif

// How functions are defined that a compiled library has and headers alone have inline.
#if defined(CAIRN_KERNELS_IMPLEMENTATION)
#define CAIRN_KERNELS_LINKAGE
#else
#define CAIRN_KERNELS_LINKAGE inline
#endif
#if defined(CAIRN_IO_IMPLEMENTATION)
#define CAIRN_IO_LINKAGE
#else
#define CAIRN_IO_LINKAGE inline
#endif

#include <bit>
#include <climits>

#define CAIRN_VERSION_MAJOR 0
#define CAIRN_VERSION_MINOR 1
#define CAIRN_VERSION_PATCH 0

// The inline namespace carries the version and every macro that changes an inline body, so that
// two copies of the library, vendored by two parts of one program, do not collide at link time.
// CAIRN_EXTERN_IO changes none: it only leaves out functions that are the same in the library.
#if defined(CAIRN_EXTERN_KERNELS)
#define CAIRN_ABI v0_1_0_extern
#else
#define CAIRN_ABI v0_1_0
#endif

namespace cairn { inline namespace CAIRN_ABI {

static_assert(std::endian::native == std::endian::little,
              "Cairn stores little-endian data and is not ported to big-endian machines.");
static_assert(sizeof(void*) * CHAR_BIT == 64, "Cairn is not ported to 32-bit machines.");

/// Raised whenever a change alters a digest (tests/exactness/digests.txt); session files store it.
inline constexpr int numerics_version = 1;

}}  // namespace cairn
