// The products with quantised cache rows that belong to the kernels in use. A format is compiled
// only where it is named: a program pays for the codecs it uses.
#pragma once

#include "cairn/kernels/cached/layout.hpp"
#include "cairn/kernels/cached/query.hpp"
#include "cairn/kernels/dispatch.hpp"

#if !defined(CAIRN_EXTERN_KERNELS) || defined(CAIRN_KERNELS_IMPLEMENTATION)
#define CAIRN_FOLDER floats
#define CAIRN_FILE cached.hpp
#include "cairn/kernels/each.inl"

#define CAIRN_FOLDER set
#define CAIRN_FILE integer_scores.hpp
#include "cairn/kernels/each.inl"
#endif

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::cached {

/// s[i][j] = quantised query i . key j; queries one after another, `query_blocks(dims)` each.
using IntegerScores = void (*)(const RowsIn&, const QueryBlock* q, int queries, float* s,
                               std::ptrdiff_t s_stride);

#if defined(CAIRN_EXTERN_KERNELS) && !defined(CAIRN_KERNELS_IMPLEMENTATION)
/// The products of a format for the instruction set of `base`; the formats of the library are
/// compiled in `cairn::kernels`.
template <RowLayout F>
const Products& products_for(const Table& base) noexcept;
/// The same for keys by channel.
template <int bits>
const Products& channel_products_for(const Table& base) noexcept;
/// Scores in integers of a format for the instruction set of `base`.
template <RowLayout F>
IntegerScores integer_scores_for(const Table& base) noexcept;
#else
#define CAIRN_PRODUCTS(set, floats, ...) &floats::cached::products<F>,
/// The products of a format for the instruction set of `base`.
template <RowLayout F>
const Products& products_for(const Table& base) noexcept {
    static constexpr const Products* all[] = {CAIRN_KERNEL_SETS(CAIRN_PRODUCTS)};
    return *all[static_cast<std::size_t>(base.isa)];
}
#undef CAIRN_PRODUCTS
#define CAIRN_PRODUCTS(set, floats, ...) &floats::cached::channel_products<bits>,
/// The same for keys by channel.
template <int bits>
const Products& channel_products_for(const Table& base) noexcept {
    static constexpr const Products* all[] = {CAIRN_KERNEL_SETS(CAIRN_PRODUCTS)};
    return *all[static_cast<std::size_t>(base.isa)];
}
#undef CAIRN_PRODUCTS
#define CAIRN_PRODUCTS(set, ...) set::integers::integer_scores<F>,
/// Scores in integers of a format for the instruction set of `base`.
template <RowLayout F>
IntegerScores integer_scores_for(const Table& base) noexcept {
    static constexpr IntegerScores all[] = {CAIRN_KERNEL_SETS(CAIRN_PRODUCTS)};
    return all[static_cast<std::size_t>(base.isa)];
}
#undef CAIRN_PRODUCTS
#endif

// The formats of the library.
inline constexpr RowLayout q8_0{8, 32, false, 0, Meaning::signed_byte};
inline constexpr RowLayout q5_1{5, 32, true, 0, Meaning::plain};
inline constexpr RowLayout q5_0{5, 32, false, 16, Meaning::plain};
inline constexpr RowLayout q4_1{4, 32, true, 0, Meaning::plain};
inline constexpr RowLayout q4_0{4, 32, false, 8, Meaning::plain};
inline constexpr RowLayout iq4_nl{4, 32, false, 0, Meaning::iq4_nl};
inline constexpr RowLayout int8{8, 0, false, 0, Meaning::signed_byte};
inline constexpr RowLayout int2{2, 32, true, 0, Meaning::plain};
inline constexpr RowLayout fp8_e4m3{8, 0, false, 0, Meaning::e4m3};
inline constexpr RowLayout fp8_e5m2{8, 0, false, 0, Meaning::e5m2};

}}}  // namespace cairn::kernels::cached
