// The codecs that store every number by itself: f32, f16, bf16. f32 keeps rows, so the cache can be
// seen as an Eigen matrix; 16-bit keys lie in tiles [dim][16 positions], which need no horizontal
// sums. The layout fixes the summation order of q.k, so f32 and f16 differ in order by nature.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "cairn/cache/seam/codec_policy.hpp"
#include "cairn/kernels/dispatch.hpp"
#include "cairn/numeric/plain_format.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Row after row: keys and values.
template <ElementType type>
class PlainRows final : public Codec {
  public:
    constexpr PlainRows()
        : Codec({.name = plain_format<type>.name, .rounds = type == ElementType::bf16}) {}
    constexpr ~PlainRows() override = default;
    constexpr std::size_t unit_bytes(int dims) const override {
        return static_cast<std::size_t>(dims) * (type == ElementType::f32 ? 4 : 2);
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        const kernels::Table& kernel = kernels::active();
        for (int r = 0; r < to.count; ++r)
            kernel.encode<type>(x + r * stride, dims, to.unit + r * to.stride);
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        const kernels::Table& kernel = kernels::active();
        for (int r = 0; r < from.count; ++r)
            kernel.decode<type>(from.unit + r * from.stride, dims, x + r * stride);
    }
    void scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride, int queries,
                float* s, std::ptrdiff_t s_stride, Scratch scratch) const override {
        // Who stores 16-bit values compiles no product of them with queries.
        if constexpr (type == ElementType::f32)
            kernels::active().scores_rows<type>(
                {keys.unit, keys.stride, 0, keys.count, dims, keys.ahead}, q, q_stride, queries, s,
                s_stride);
        else
            Codec::scores(keys, dims, q, q_stride, queries, s, s_stride, scratch);
    }
    void weigh(const Rows& values, int, int lead, const float* p, std::ptrdiff_t p_stride,
               int queries, float* o, std::ptrdiff_t o_stride, Scratch) const override {
        kernels::active().weigh_rows<type>({values.unit, values.stride, 0, values.count, lead,
                                            values.ahead, values.beside, values.beside_bytes},
                                           p, p_stride, queries, o, o_stride);
    }
    void rounded_weigh(const Rows& values, int lead, const float* p, std::ptrdiff_t p_stride,
                       int queries, float* o, std::ptrdiff_t o_stride) const override {
        if constexpr (type == ElementType::bf16)
            kernels::active().weigh_rounded({values.unit, values.stride, 0, values.count, lead,
                                             values.ahead, values.beside, values.beside_bytes},
                                            p, p_stride, queries, o, o_stride);
        else
            Codec::rounded_weigh(values, lead, p, p_stride, queries, o, o_stride);
    }
};

// Keys of 16 bits in tiles [dim][16 positions]: row `lane` of a unit is a column.
template <ElementType type>
class PlainTiles final : public Codec {
  public:
    static constexpr int tile = kernels::key_tile;
    constexpr PlainTiles()
        : Codec({.name = plain_format<type>.name,
                 .rows_per_unit = tile,
                 .rounds = type == ElementType::bf16}) {}
    constexpr ~PlainTiles() override = default;
    constexpr std::size_t unit_bytes(int dims) const override { return row_bytes(dims) * tile; }
    constexpr std::size_t row_bytes(int dims) const override {
        return static_cast<std::size_t>(dims) * 2;
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
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
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
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
    void scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride, int queries,
                float* s, std::ptrdiff_t s_stride, Scratch) const override {
        kernels::active().scores_tiles<type>(
            {keys.unit, keys.stride, keys.lane, keys.count, dims, keys.ahead}, q, q_stride, queries,
            s, s_stride);
    }
    void rounded_scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride,
                        int queries, float* s, std::ptrdiff_t s_stride) const override {
        if constexpr (type == ElementType::bf16)
            kernels::active().scores_rounded(
                {keys.unit, keys.stride, keys.lane, keys.count, dims, keys.ahead}, q, q_stride,
                queries, s, s_stride);
        else
            Codec::rounded_scores(keys, dims, q, q_stride, queries, s, s_stride);
    }
    void copy_row(const Rows& from, const Rows& to, int dims) const override {
        const std::uint16_t* source = column(from, 0);
        std::uint16_t* target = column(to, 0);
        for (int d = 0; d < dims; ++d) target[d * tile] = source[d * tile];
    }

  private:
    static constexpr int piece = 64;
    static std::uint16_t* column(const Rows& rows, int row) {
        const int lane = rows.lane + row;
        return reinterpret_cast<std::uint16_t*>(rows.unit + lane / tile * rows.stride) +
               lane % tile;
    }
};

// The codecs themselves: they hold nothing.
template <class C>
inline constexpr C codec_of{};
/// Rows of floats as they are: what attention makes rows into, and views show. A template, as the
/// policies below, so that programs compile only the codecs that they name.
template <ElementType type = ElementType::f32>
const Codec& float_rows() noexcept {
    return codec_of<PlainRows<type>>;
}

template <ElementType type>
struct PlainPolicy {
    static constexpr bool tiled = type != ElementType::f32;
    static constexpr CodecFacts facts{.key_unit = tiled ? kernels::key_tile : 1};
    static constexpr const Codec& keys() noexcept {
        return codec_of<std::conditional_t<tiled, PlainTiles<type>, PlainRows<type>>>;
    }
    static constexpr const Codec& values() noexcept { return codec_of<PlainRows<type>>; }
};

}  // namespace internal

/// 4 bytes a number, no loss; rows, so `key_view` and `value_view` work.
struct F32 : internal::PlainPolicy<ElementType::f32> {
    static constexpr std::string_view word = "f32";
};
/// 2 bytes a number, 11 significant bits, saturating at +-65504.
struct F16 : internal::PlainPolicy<ElementType::f16> {
    static constexpr std::string_view word = "f16";
};
/// 2 bytes a number, 8 significant bits, the range of f32.
struct BF16 : internal::PlainPolicy<ElementType::bf16> {
    static constexpr std::string_view word = "bf16";
};

}}  // namespace cairn
