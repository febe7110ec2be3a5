// Weight matrices of block types: packed from a file's blocks, multiplied as they are. Include it
// where models with quantised weights are made; nothing else has to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cairn/core/parallel_for.hpp"
#include "cairn/kernels/quantised/kernels.hpp"
#include "cairn/layers/decoded_product.hpp"
#include "cairn/numeric/quantised/formats.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

using kernels::quantised::code_bytes;
using kernels::quantised::group_bytes;
using kernels::quantised::panel_bytes;
using kernels::quantised::scale_bytes;
using quantised::BlockLayout;

inline const BlockLayout& layout_of(const WeightMatrix& weights) {
    return quantised::block_format(weights.type()).layout;
}

// Where the code of column quad j and byte t of a lane lies in the planes of 32 columns: unit and
// shift (kernels/quantised/packed.hpp has the drawing).
struct PackedCode {
    int unit;
    int shift;
};
constexpr PackedCode low_place(const BlockLayout& layout, int j) {
    if (layout.low_bits == 8) return {j, 0};
    if (layout.low_bits == 4) return {j % 4, 4 * (j / 4)};
    return {j % 2, 2 * (j / 2)};
}
constexpr PackedCode high_place(const BlockLayout& layout, int j) {
    return layout.high_bits == 1 ? PackedCode{layout.low_bits, j}
                                 : PackedCode{layout.low_bits + j % 2, 2 * (j / 2)};
}
inline void merge_bits(std::byte& at, unsigned bits) {
    at = static_cast<std::byte>(std::to_integer<unsigned>(at) | bits);
}

// Packs the block of one row into lane `lane`; `to` is zero there.
inline void pack_block(const BlockLayout& layout, const quantised::Fields& fields, int lane,
                       std::byte* codes, std::byte* scales) {
    for (int span = 0; span < layout.values / 32; ++span, codes += code_bytes(layout)) {
        const std::uint8_t* code = fields.codes.data() + 32 * span;
        const unsigned low_mask = (1U << layout.low_bits) - 1U;
        for (int j = 0; j < 8; ++j) {
            const PackedCode low = low_place(layout, j);
            std::byte* at = codes + 64 * low.unit + 4 * lane;
            for (int t = 0; t < 4; ++t)
                merge_bits(at[t], (code[4 * j + t] & low_mask) << low.shift);
            if (layout.high_bits == 0) continue;
            const PackedCode high = high_place(layout, j);
            at = codes + 64 * high.unit + 4 * lane;
            for (int t = 0; t < 4; ++t)
                merge_bits(at[t], unsigned{code[4 * j + t]} >> layout.low_bits << high.shift);
        }
    }
    std::memcpy(scales + 2 * lane, &fields.d, 2);
    scales += 32;
    if (layout.minimum) {
        std::memcpy(scales + 2 * lane, &fields.m, 2);
        scales += 32;
    }
    if (group_bytes(layout) == 0) return;
    for (int g = 0; g < layout.groups(); ++g, scales += group_bytes(layout)) {
        const auto i = static_cast<std::size_t>(g);
        unsigned factor = fields.scales[i];
        if (layout.scales == quantised::GroupScales::nibbles)
            factor |= unsigned{fields.minima[i]} << 4U;
        scales[lane] = static_cast<std::byte>(factor);
        if (layout.scales == quantised::GroupScales::bytes && layout.minimum)
            scales[16 + lane] = static_cast<std::byte>(fields.minima[i]);
    }
}
inline void unpack_block(const BlockLayout& layout, const std::byte* codes, const std::byte* scales,
                         int lane, quantised::Fields& fields) {
    for (int span = 0; span < layout.values / 32; ++span, codes += code_bytes(layout)) {
        const unsigned low_mask = (1U << layout.low_bits) - 1U;
        const unsigned high_mask = (1U << layout.high_bits) - 1U;
        for (int k = 0; k < 32; ++k) {
            const PackedCode low = low_place(layout, k / 4);
            const int byte = 4 * lane + k % 4;
            unsigned code =
                std::to_integer<unsigned>(codes[64 * low.unit + byte]) >> low.shift & low_mask;
            if (layout.high_bits > 0) {
                const PackedCode high = high_place(layout, k / 4);
                code |= (std::to_integer<unsigned>(codes[64 * high.unit + byte]) >> high.shift &
                         high_mask)
                        << layout.low_bits;
            }
            fields.codes[static_cast<std::size_t>(32 * span + k)] = static_cast<std::uint8_t>(code);
        }
    }
    std::memcpy(&fields.d, scales + 2 * lane, 2);
    scales += 32;
    if (layout.minimum) {
        std::memcpy(&fields.m, scales + 2 * lane, 2);
        scales += 32;
    }
    if (group_bytes(layout) == 0) return;
    const bool nibbles = layout.scales == quantised::GroupScales::nibbles;
    for (int g = 0; g < layout.groups(); ++g, scales += group_bytes(layout)) {
        const auto i = static_cast<std::size_t>(g);
        const auto factor = std::to_integer<std::uint8_t>(scales[lane]);
        fields.scales[i] = nibbles ? factor & 15U : factor;
        if (nibbles)
            fields.minima[i] = factor >> 4U;
        else if (layout.minimum)
            fields.minima[i] = std::to_integer<std::uint8_t>(scales[16 + lane]);
    }
}

// Whether a block's scales are finite; its numbers are then.
inline bool finite_scales(const quantised::Fields& fields, const BlockLayout& layout) noexcept {
    const unsigned exponent = layout.scales == quantised::GroupScales::powers ? 0x7F80 : 0x7C00;
    return (fields.d & exponent) != exponent &&
           (!layout.minimum || (fields.m & exponent) != exponent);
}

inline void put_quantised(const WeightMatrix& to, std::byte* data, std::ptrdiff_t row,
                          const std::byte* from) {
    const quantised::Format& format = quantised::block_format(to.type());
    const BlockLayout& layout = format.layout;
    std::byte* codes = data + row / kernels::panel * panel_bytes(layout, to.in());
    std::byte* scales = codes + to.in() / 32 * code_bytes(layout);
    quantised::Fields fields;
    for (std::ptrdiff_t block = 0; block < to.in() / layout.values; ++block) {
        format.parse(from, fields);
        require(finite_scales(fields, layout), ErrorCode::non_finite,
                "weights: the scale of block ", block, " of row ", row, " is NaN or infinite");
        pack_block(layout, fields, static_cast<int>(row % kernels::panel), codes, scales);
        from += block_size(to.type()).bytes;
        codes += layout.values / 32 * code_bytes(layout);
        scales += scale_bytes(layout);
    }
}
inline void quantised_row(const WeightMatrix& from, std::ptrdiff_t row, float* to) {
    const BlockLayout& layout = layout_of(from);
    const std::byte* codes = from.data() + row / kernels::panel * panel_bytes(layout, from.in());
    const std::byte* scales = codes + from.in() / 32 * code_bytes(layout);
    quantised::Fields fields{};
    for (std::ptrdiff_t block = 0; block < from.in() / layout.values; ++block) {
        unpack_block(layout, codes, scales, static_cast<int>(row % kernels::panel), fields);
        for (int i = 0; i < layout.values; ++i) *to++ = value_of(layout, fields, i);
        codes += layout.values / 32 * code_bytes(layout);
        scales += scale_bytes(layout);
    }
}

// Integer products.
struct FastProduct {
    kernels::quantised::BlockProduct call;
    void (*gemv)(const kernels::quantised::BlockProduct&);
    void (*gemm)(const kernels::quantised::BlockProduct&, float*);
    float* scratch;
    std::ptrdiff_t scratch_floats;  // of one worker
    std::ptrdiff_t groups;          // of a row
    std::ptrdiff_t bytes_of_panel;
};
// So few rows are products of one row each: up to here unpacking a panel for tiles costs more. A
// piece of the panels stays in the processor's caches until the last row has read it, so weights
// come from memory once.
inline constexpr std::ptrdiff_t few_rows = 8;
inline constexpr std::ptrdiff_t bytes_of_piece = 40 << 10;
inline void run_few(const FastProduct& product, kernels::quantised::BlockProduct part) {
    const kernels::quantised::BlockProduct& all = product.call;
    const std::ptrdiff_t piece =
        all.rows == 1 ? part.panel_end - part.panel_begin
                      : std::max<std::ptrdiff_t>(1, bytes_of_piece / product.bytes_of_panel);
    const std::ptrdiff_t end = part.panel_end;
    part.rows = 1;
    for (; part.panel_begin < end; part.panel_begin = part.panel_end) {
        part.panel_end = std::min(part.panel_begin + piece, end);
        for (std::ptrdiff_t row = 0; row < all.rows; ++row) {
            part.x = {all.x.q + row * (all.in / 4), all.x.d + row * (all.in / 32),
                      all.x.start + row * product.groups, all.x.sums + row * product.groups};
            part.y = all.y + row * all.y_stride;
            product.gemv(part);
        }
    }
}
inline void run_fast(const void* state, std::ptrdiff_t begin, std::ptrdiff_t end, int worker) {
    const auto* product = static_cast<const FastProduct*>(state);
    kernels::quantised::BlockProduct part = product->call;
    part.panel_begin = begin;
    part.panel_end = end;
    if (part.rows <= few_rows)
        run_few(*product, part);
    else
        product->gemm(part, product->scratch + worker * product->scratch_floats);
}

// Decodes a panel with the kernel that `how` points to.
inline void decode_panel(const DecodedProduct& product, std::ptrdiff_t panel, float* to, float*) {
    using Decode = std::remove_extent_t<decltype(kernels::quantised::BlockKernels::decode)>;
    const WeightMatrix& weights = *product.weights;
    const Decode decode = *static_cast<const Decode*>(product.how);
    decode(weights.data() + panel * panel_bytes(layout_of(weights), weights.in()), weights.in(),
           to);
}

inline const kernels::quantised::QuantisedRows& quantise_for(
    const BlockLayout& layout, const Activations& x, std::ptrdiff_t in, SharedActivations& shared,
    Context& context, Workspace::Frame& frame) {
    for (std::size_t i = 0; i < shared.count; ++i)
        if (shared.entries[i].zero == layout.zero && shared.entries[i].group == layout.group)
            return *static_cast<const kernels::quantised::QuantisedRows*>(
                shared.entries[i].quantised);
    const kernels::quantised::BlockKernels& kernel = kernels::quantised::active();
    const std::ptrdiff_t tile = x.rows <= few_rows ? 1 : kernel.tile_rows;
    const std::ptrdiff_t tiles = (x.rows + tile - 1) / tile;
    const auto rows = static_cast<std::size_t>(tiles * tile);
    const auto columns = static_cast<std::size_t>(in);
    auto* q = frame.array<std::int32_t>(rows * columns / 4);
    float* d = frame.floats(rows * columns / 32);
    const std::size_t groups = columns / static_cast<std::size_t>(layout.group);
    auto* start = frame.array<std::int32_t>(rows * groups);
    float* sums = frame.floats(rows * groups);
    parallel_for(context.executor(), tiles, 1, [&](std::ptrdiff_t begin, std::ptrdiff_t end, int) {
        const std::ptrdiff_t first = begin * tile;
        const auto group_at = first * static_cast<std::ptrdiff_t>(groups);
        kernel.quantise({x.row(first), x.stride, std::min(end * tile, x.rows) - first, in,
                         static_cast<int>(tile), layout.zero, layout.group, q + first * (in / 4),
                         d + first * (in / 32), start + group_at, sums + group_at});
    });
    auto* result = frame.array<kernels::quantised::QuantisedRows>(1);
    *result = {q, d, start, sums};
    shared.entries[shared.count++] = {layout.zero, layout.group, result};
    return *result;
}

inline PreparedProduct prepare_quantised(const Product& product, const Activations& x,
                                         SharedActivations& shared, Context& context,
                                         Workspace::Frame& frame) {
    const WeightMatrix& weights = *product.weights;
    const BlockLayout& layout = layout_of(weights);
    const kernels::quantised::BlockKernels& kernel = kernels::quantised::active();
    const std::size_t index = quantised::format_index(weights.type());
    const std::ptrdiff_t in = weights.in();
    const std::ptrdiff_t panels = (weights.out() + kernels::panel - 1) / kernels::panel;
    const std::ptrdiff_t workers = context.executor().workers();
    if (context.compute == Compute::accurate) {
        return prepare_decoded(product, x, shared, context, frame, decode_panel,
                               &kernel.decode[index]);
    }
    const kernels::quantised::QuantisedRows& activations =
        quantise_for(layout, x, in, shared, context, frame);
    const bool few = x.rows <= few_rows;
    const std::ptrdiff_t scratch = few ? 0 : kernel.gemm_scratch(in);
    auto* state = frame.array<FastProduct>(1);
    *state = {{weights.data(), product.bias, in, weights.out(), activations, product.y.data,
               product.y.stride, x.rows, 0, 0},
              kernel.gemv[index],
              kernel.gemm[index],
              frame.floats(static_cast<std::size_t>(workers * scratch)),
              scratch,
              in / layout.group,
              panel_bytes(layout, in)};
    return {state, run_fast, panels, few ? 1 : kernels::quantised::tile_group};
}

inline constexpr BlockOperations quantised_operations{put_quantised, quantised_row,
                                                      prepare_quantised};

}  // namespace internal

/// A matrix of a block type, all zeros. `in` is a multiple of the format's block. Throws
/// Error{invalid_argument, shape_mismatch, limit, out_of_memory}.
inline WeightMatrix quantised_matrix(std::ptrdiff_t out, std::ptrdiff_t in, ElementType type) {
    require(out > 0 && in > 0 && !is_plain(type), ErrorCode::invalid_argument,
            "quantised matrix of ", out, " x ", in, ", type ", block_size(type).name);
    const quantised::BlockLayout& layout = quantised::block_format(type).layout;
    require(in % layout.values == 0, ErrorCode::shape_mismatch, "quantised matrix: ", in,
            " columns are no multiple of the ", layout.values, " of ", block_size(type).name);
    const auto panels = static_cast<std::size_t>((out + kernels::panel - 1) / kernels::panel);
    checked_mul(static_cast<std::size_t>(in), 64, "weight matrix");  // panel_bytes cannot overflow
    return {
        out, in, type,
        checked_mul(panels, static_cast<std::size_t>(kernels::quantised::panel_bytes(layout, in)),
                    "weight matrix"),
        internal::quantised_operations};
}
/// A matrix of any type.
inline WeightMatrix weight_matrix(std::ptrdiff_t out, std::ptrdiff_t in, ElementType type) {
    return is_plain(type) ? WeightMatrix(out, in, type) : quantised_matrix(out, in, type);
}

}}  // namespace cairn
