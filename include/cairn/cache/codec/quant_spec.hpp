// QuantSpec (Tiwari et al. 2025, arXiv 2502.10424): old rows in 8 bits that lie as two planes of 4.
// Whoever drafts reads the upper plane alone, x4 = u * s + least; whoever checks reads both,
// x8 = (16 u + l) * s / 16 + least - s / 2. Keys share a scale and a least value a channel over 32
// tokens, values a token over 32 channels. Recent tokens stay in f16, between `buffer` and twice as
// many: the elder half is written old when both are full, so what is taken back never was.
#pragma once

#include "cairn/cache/codec/block.hpp"
#include "cairn/cache/codec/kivi.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// What is left of up to 32 numbers behind their upper halves, in 16ths of the scale: 0 to 15, of
// which 8 is nothing.
inline void quantise_rest(const float* x, int n, const CodeBlock& upper, std::uint8_t* lower) {
    float rest[32];
    float codes[32];
    for (int i = 0; i < n; ++i)
        rest[i] =
            x[i] - block_value(kernels::cached::q4_1, upper.scale, upper.least, upper.code[i]);
    const float scale = f16_to_f32(upper.scale);
    kernels::active().codes(rest, n, 0.0F, scale > 0.0F ? 16.0F / scale : 0.0F, codes);
    for (int i = 0; i < n; ++i)
        lower[i] = static_cast<std::uint8_t>(std::clamp(codes[i], -8.0F, 7.0F) + 8.0F);
}
// What both halves stand for; exact in double, rounded once, as the kernels' fma.
inline float plane_value(f16_bits scale, f16_bits least, unsigned upper, unsigned lower) {
    const float s = f16_to_f32(scale);
    const auto origin = static_cast<float>(
        std::fma(static_cast<double>(s), -0.5, static_cast<double>(f16_to_f32(least))));
    return static_cast<float>(std::fma(static_cast<double>(16 * upper + lower),
                                       static_cast<double>(s * 0.0625F),
                                       static_cast<double>(origin)));
}

// One number's place in a unit of 32 rows, keys by channel or values by token.
struct PlanePlace {
    std::ptrdiff_t scale, least;  // bytes into the unit
    std::ptrdiff_t upper, lower;  // bytes into the unit
    unsigned shift;
};
template <bool of_keys>
PlanePlace plane_place(int dims, int row, int d) {
    const int blocks = (dims + 31) / 32;
    if constexpr (of_keys)
        return {2 * d, 2 * (dims + d), 4 * dims + d * 16 + row % 16, 20 * dims + d * 16 + row % 16,
                static_cast<unsigned>(row / 16 * 4)};
    const int block = (row * blocks + d / 32) * 20;
    return {block, block + 2, block + 4 + d % 16,
            640 * blocks + (row * blocks + d / 32) * 16 + d % 16,
            static_cast<unsigned>(d % 32 / 16 * 4)};
}

// Both planes, or the upper one of the same units.
template <bool of_keys, bool upper_only>
class PlaneCodec final : public Codec {
  public:
    static constexpr int group = kernels::cached::channel_group;
    constexpr explicit PlaneCodec(const Codec* rough)
        : Codec({.name = "quantspec",
                 .rows_per_unit = group,
                 .movable = false,
                 .whole_units = true,
                 .finite_only = true,
                 .coarse = rough}) {}
    constexpr ~PlaneCodec() override = default;
    std::size_t unit_bytes(int dims) const override {
        const auto width = static_cast<std::size_t>(checked_width(dims, max_row));
        return 36 * (of_keys ? width : (width + 31) / 32 * 32);
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        CodeBlock block;
        float numbers[group];
        std::uint8_t lower[group];
        for (int first = 0; first + group <= to.count; first += group) {
            std::byte* unit = to.unit + first / group * to.stride;
            // Groups of numbers that share a scale: a channel of all rows, or a stretch of one row.
            const int groups = of_keys ? dims : group * ((dims + group - 1) / group);
            for (int g = 0; g < groups; ++g) {
                const int row = of_keys ? 0 : g % group;
                const int d = of_keys ? g : g / group * group;
                const int n = of_keys ? group : std::min(group, dims - d);
                for (int i = 0; i < n; ++i)
                    numbers[i] =
                        of_keys ? x[(first + i) * stride + d] : x[(first + row) * stride + d + i];
                quantise_block(kernels::cached::q4_1, numbers, n, block);
                quantise_rest(numbers, n, block, lower);
                for (int i = 0; i < n; ++i) {
                    const PlanePlace at = of_keys ? plane_place<of_keys>(dims, i, d)
                                                  : plane_place<of_keys>(dims, row, d + i);
                    std::memcpy(unit + at.scale, &block.scale, 2);
                    std::memcpy(unit + at.least, &block.least, 2);
                    put_bits(unit + at.upper, at.shift, 15, block.code[i]);
                    put_bits(unit + at.lower, at.shift, 15, lower[i]);
                }
            }
        }
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        for (int r = 0; r < from.count; ++r) {
            const int lane = from.lane + r;
            const std::byte* unit = from.unit + lane / group * from.stride;
            for (int d = 0; d < dims; ++d) {
                const PlanePlace at = plane_place<of_keys>(dims, lane % group, d);
                f16_bits s;
                f16_bits m;
                std::memcpy(&s, unit + at.scale, 2);
                std::memcpy(&m, unit + at.least, 2);
                const unsigned upper = get_bits(unit + at.upper, at.shift, 15);
                x[r * stride + d] =
                    upper_only
                        ? block_value(kernels::cached::q4_1, s, m, static_cast<std::uint8_t>(upper))
                        : plane_value(s, m, upper, get_bits(unit + at.lower, at.shift, 15));
            }
        }
    }
    void scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride, int queries,
                float* s, std::ptrdiff_t s_stride, Scratch scratch) const override {
        if constexpr (of_keys)
            kernels::cached::channel_products_for<upper_only ? 4 : 8>(kernels::active())
                .scores({keys.unit, keys.stride, keys.lane, keys.count, dims, keys.ahead}, q,
                        q_stride, queries, s, s_stride);
        else
            Codec::scores(keys, dims, q, q_stride, queries, s, s_stride, scratch);
    }
    void weigh(const Rows& values, int dims, int lead, const float* p, std::ptrdiff_t p_stride,
               int queries, float* o, std::ptrdiff_t o_stride, Scratch scratch) const override {
        if constexpr (of_keys) {
            Codec::weigh(values, dims, lead, p, p_stride, queries, o, o_stride, scratch);
        } else {
            require(lead == dims, ErrorCode::unsupported, "rows of ", name, " are weighed whole");
            if constexpr (upper_only)
                weigh_upper(values, dims, p, p_stride, queries, o, o_stride);
            else
                kernels::cached::channel_products_for<8>(kernels::active())
                    .weigh({values.unit, values.stride, values.lane, values.count, dims}, p,
                           p_stride, queries, o, o_stride);
        }
    }

  private:
    // The upper plane of a unit is 32 rows of q4_1.
    void weigh_upper(const Rows& values, int dims, const float* p, std::ptrdiff_t p_stride,
                     int queries, float* o, std::ptrdiff_t o_stride) const {
        const auto weigh_rows =
            kernels::cached::products_for<kernels::cached::q4_1>(kernels::active()).weigh;
        const std::ptrdiff_t row = kernels::cached::q4_1.row_bytes(dims);
        for (int at = 0; at < values.count;) {
            const int lane = (values.lane + at) % group;
            const int n = std::min(group - lane, values.count - at);
            const std::byte* unit =
                values.unit + (values.lane + at) / group * values.stride + lane * row;
            weigh_rows({unit, row, 0, n, dims, unit + values.stride}, p + at, p_stride, queries, o,
                       o_stride);
            at += n;
        }
    }
};

template <bool of_keys>
inline constexpr PlaneCodec<of_keys, true> upper_plane{nullptr};
template <bool of_keys>
inline constexpr PlaneCodec<of_keys, false> both_planes{&upper_plane<of_keys>};

}  // namespace internal

/// QuantSpec's cache: 9 bits a number, of which a draft reads 5; `buffer` to twice as many recent
/// tokens stay in f16. `buffer` is a multiple of 32.
template <int buffer = 128>
struct QuantSpec {
    static constexpr std::string_view word = "quantspec";
    static constexpr CodecFacts facts{.key_unit = kernels::cached::channel_group,
                                      .value_unit = kernels::cached::channel_group,
                                      .movable = false,
                                      .ages = true};
    static_assert(buffer > 0 && buffer % kernels::cached::channel_group == 0,
                  "QuantSpec<buffer>: rows are quantised in groups of 32 tokens.");
    static StreamPlan keys() {
        return StreamPlan(
            {{lasting(F16::keys()), buffer, 2}, {lasting(internal::both_planes<true>)}});
    }
    static StreamPlan values() {
        return StreamPlan(
            {{lasting(F16::values()), buffer, 2}, {lasting(internal::both_planes<false>)}});
    }
};

}}  // namespace cairn
