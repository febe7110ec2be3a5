// The codecs that store every number by itself: f32, f16, bf16. f32 keeps rows, so the cache can be
// seen as an Eigen matrix; 16-bit keys lie in tiles [dim][16 positions], which need no horizontal
// sums. The layout fixes the summation order of q.k, so f32 and f16 differ in order by nature.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "cairn/cache/codec/codec.hpp"
#include "cairn/kernels/dispatch.hpp"
#include "cairn/numeric/plain_format.hpp"

namespace cairn::inline CAIRN_ABI {

namespace detail {

template <ElementType type>
struct PlainCodec {
    static constexpr std::size_t size = type == ElementType::f32 ? 4 : 2;
    static constexpr int tile = kernels::key_tile;
    static constexpr std::string_view name = plain_format<type>.name;

    static std::size_t row_bytes(int dims) { return static_cast<std::size_t>(dims) * size; }
    static std::size_t tile_bytes(int dims) { return row_bytes(dims) * tile; }
    static kernels::RowsIn in(const Rows& rows, int dims) {
        return {rows.unit, rows.stride, rows.lane, rows.count, dims};
    }

    static void encode_rows(const float* x, std::ptrdiff_t stride, int dims, const Rows& to) {
        const kernels::Table& kernel = kernels::active();
        for (int r = 0; r < to.count; ++r)
            kernel.encode<type>(x + r * stride, dims, to.unit + r * to.stride);
    }
    static void decode_rows(const Rows& from, int dims, float* x, std::ptrdiff_t stride) {
        const kernels::Table& kernel = kernels::active();
        for (int r = 0; r < from.count; ++r)
            kernel.decode<type>(from.unit + r * from.stride, dims, x + r * stride);
    }
    static void weigh_rows(const Rows& values, int dims, const float* p, std::ptrdiff_t p_stride,
                           int queries, float* o, std::ptrdiff_t o_stride) {
        kernels::active().weigh_rows<type>(in(values, dims), p, p_stride, queries, o, o_stride);
    }
    static void scores_rows(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride,
                            int queries, float* s, std::ptrdiff_t s_stride) {
        kernels::active().scores_rows<type>(in(keys, dims), q, q_stride, queries, s, s_stride);
    }
    static void scores_tiles(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride,
                             int queries, float* s, std::ptrdiff_t s_stride) {
        kernels::active().scores_tiles<type>(in(keys, dims), q, q_stride, queries, s, s_stride);
    }

    // Unit [dim][16]: row `lane` of it is a column.
    static std::uint16_t* column(const Rows& rows, int row) {
        const int lane = rows.lane + row;
        return reinterpret_cast<std::uint16_t*>(rows.unit + lane / tile * rows.stride) +
               lane % tile;
    }
    static constexpr int piece = 64;
    static void encode_tiles(const float* x, std::ptrdiff_t stride, int dims, const Rows& to) {
        const kernels::Table& kernel = kernels::active();
        std::uint16_t packed[piece];
        for (int r = 0; r < to.count; ++r) {
            std::uint16_t* at = column(to, r);
            for (int d = 0; d < dims; d += piece) {
                const int n = dims - d < piece ? dims - d : piece;
                kernel.encode<type>(x + r * stride + d, n, reinterpret_cast<std::byte*>(packed));
                for (int i = 0; i < n; ++i) at[(d + i) * tile] = packed[i];
            }
        }
    }
    static void decode_tiles(const Rows& from, int dims, float* x, std::ptrdiff_t stride) {
        const kernels::Table& kernel = kernels::active();
        std::uint16_t packed[piece];
        for (int r = 0; r < from.count; ++r) {
            const std::uint16_t* at = column(from, r);
            for (int d = 0; d < dims; d += piece) {
                const int n = dims - d < piece ? dims - d : piece;
                for (int i = 0; i < n; ++i) packed[i] = at[(d + i) * tile];
                kernel.decode<type>(reinterpret_cast<const std::byte*>(packed), n,
                                    x + r * stride + d);
            }
        }
    }

    static void copy_row(const Rows& from, const Rows& to, int dims) {
        std::memcpy(to.unit, from.unit, row_bytes(dims));
    }
    static void copy_column(const Rows& from, const Rows& to, int dims) {
        const std::uint16_t* source = column(from, 0);
        std::uint16_t* target = column(to, 0);
        for (int d = 0; d < dims; ++d) target[d * tile] = source[d * tile];
    }

    static constexpr Codec row_codec{name,        1,          row_bytes, encode_rows, decode_rows,
                                     scores_rows, weigh_rows, row_bytes, copy_row};
    static constexpr Codec row_values{name,    1,          row_bytes, encode_rows, decode_rows,
                                      nullptr, weigh_rows, row_bytes, copy_row};
    static constexpr Codec tile_keys{name,         tile,    tile_bytes, encode_tiles, decode_tiles,
                                     scores_tiles, nullptr, row_bytes,  copy_column};
};

}  // namespace detail

/// 4 bytes a number, no loss; rows, so `key_view` and `value_view` work.
struct F32 {
    static const Codec& keys() noexcept { return detail::PlainCodec<ElementType::f32>::row_codec; }
    static const Codec& values() noexcept {
        return detail::PlainCodec<ElementType::f32>::row_codec;
    }
};
/// 2 bytes a number, 11 significant bits, saturating at +-65504.
struct F16 {
    static const Codec& keys() noexcept { return detail::PlainCodec<ElementType::f16>::tile_keys; }
    static const Codec& values() noexcept {
        return detail::PlainCodec<ElementType::f16>::row_values;
    }
};
/// 2 bytes a number, 8 significant bits, the range of f32.
struct BF16 {
    static const Codec& keys() noexcept { return detail::PlainCodec<ElementType::bf16>::tile_keys; }
    static const Codec& values() noexcept {
        return detail::PlainCodec<ElementType::bf16>::row_values;
    }
};

}  // namespace cairn::inline CAIRN_ABI
