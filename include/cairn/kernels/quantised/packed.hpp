// How a quantised matrix lies in memory: panels of 16 rows, and in a panel first the codes, then
// the scales. The file's bits are kept; only their order changes.
//
//   codes of 32 columns k, row lane r:     unit = 64 bytes, byte 4 r + k % 4 of a unit, j = k / 4
//     8 bits:  unit j
//     4 bits:  unit j % 4, nibble j / 4
//     2 bits:  unit j % 2, bits 2 (j / 2)
//     then the plane of high bits, if any: 1 bit: one unit, bit j; 2 bits: as above
//   scales of a block: f16 d[16] (bf16 where they are powers of two) (f16 m[16]), then for each
//   group scales[16] (minima[16])
#pragma once

#include <cstddef>

#include "cairn/kernels/table.hpp"
#include "cairn/numeric/quantised/formats.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::quantised {

using cairn::quantised::BlockLayout;
using cairn::quantised::GroupScales;

/// Columns whose codes lie together.
inline constexpr int span_columns = 32;
/// Bytes of one unit: four codes of each of the 16 rows.
inline constexpr int unit_bytes = 64;
/// Panels to hand a product of many rows in multiples of: no kernel covers more at once.
inline constexpr int tile_group = 2;

/// Bytes of the codes of 32 columns.
constexpr std::ptrdiff_t code_bytes(const BlockLayout& layout) {
    return std::ptrdiff_t{unit_bytes} * (layout.low_bits + layout.high_bits);
}
/// Bytes of the scales of one group.
constexpr std::ptrdiff_t group_bytes(const BlockLayout& layout) {
    if (layout.scales == GroupScales::none || layout.scales == GroupScales::powers) return 0;
    return layout.scales == GroupScales::bytes && layout.minimum ? 2 * panel : panel;
}
/// Bytes of the scales of one block of 16 rows.
constexpr std::ptrdiff_t scale_bytes(const BlockLayout& layout) {
    return (layout.minimum ? 4 : 2) * panel + layout.groups() * group_bytes(layout);
}
/// Bytes of a panel with `in` columns, a multiple of the block.
constexpr std::ptrdiff_t panel_bytes(const BlockLayout& layout, std::ptrdiff_t in) {
    const std::ptrdiff_t bytes =
        in / span_columns * code_bytes(layout) + in / layout.values * scale_bytes(layout);
    return (bytes + unit_bytes - 1) / unit_bytes * unit_bytes;
}

/// Activations of some rows, quantised for one layout: x = d * q, |q| <= 127, one d for 32 columns.
/// Rows come in tiles of `tile` (the last one filled with zeros); all arrays are [tile][..][row].
struct QuantisedRows {
    const std::int32_t* q;      ///< [in/4]: four bytes each
    const float* d;             ///< [in/32]
    const std::int32_t* start;  ///< [in/group]: -zero * sum of the group's q
    const float* sums;          ///< [in/group]: d * sum of the group's q
};

/// y = W x + bias for panels [panel_begin, panel_end).
struct BlockProduct {
    const std::byte* weights;
    const float* bias;  ///< [out] or null
    std::ptrdiff_t in;
    std::ptrdiff_t out;
    QuantisedRows x;  ///< gemv: tiles of one row; gemm: of BlockKernels::tile_rows
    float* y;
    std::ptrdiff_t y_stride;
    std::ptrdiff_t rows;
    std::ptrdiff_t panel_begin;
    std::ptrdiff_t panel_end;
};

/// Where `quantise` reads and writes.
struct Quantise {
    const float* x;
    std::ptrdiff_t stride;
    std::ptrdiff_t rows;
    std::ptrdiff_t in;
    int tile;
    int zero;
    int group;
    std::int32_t* q;
    float* d;
    std::int32_t* start;
    float* sums;
};

/// The products with quantised weights of one instruction set; formats in the order of
/// quantised::formats.
struct BlockKernels {
    static constexpr std::size_t formats = cairn::quantised::formats.size();
    int tile_rows;
    void (*quantise)(const Quantise&);
    void (*gemv[formats])(const BlockProduct&);
    /// `scratch` holds gemm_scratch floats.
    void (*gemm[formats])(const BlockProduct&, float* scratch);
    /// One panel as f32 [in][16].
    void (*decode[formats])(const std::byte* weights, std::ptrdiff_t in, float* to);
    /// Floats of scratch that gemm needs for `in` columns.
    std::ptrdiff_t (*gemm_scratch)(std::ptrdiff_t in);
};

}}}  // namespace cairn::kernels::quantised
