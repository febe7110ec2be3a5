// Codecs of 8, 5 and 4 bits a number with scales in the row: q8_0, q5_1, q5_0, q4_1, q4_0 and
// iq4_nl mean the numbers GGUF's formats of these names mean (blocks of 32 along a head's row);
// int8 has one symmetric scale a token and head, int4 a scale and a least value per 32; fp8_e4m3
// and fp8_e5m2 have no scales (OCP OFP8). Keys lie in tiles of 16 positions, values as rows
// (kernels/cached/layout.hpp). Rows are padded to whole blocks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cairn/cache/codec/unpacked.hpp"
#include "cairn/cache/seam/codec_policy.hpp"
#include "cairn/kernels/cached/products.hpp"
#include "cairn/numeric/float8.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

using kernels::cached::Meaning;
using kernels::cached::RowLayout;

// The most dims of a block: a whole row for int8 and fp8.
inline constexpr int max_block = 4096;
// The most dims of a row whose blocks are smaller.
inline constexpr int max_row = 1 << 20;

// A head's width that codes can be computed for. Error{limit}.
constexpr int checked_width(int dims, int most) {
    if (dims <= 0 || dims > most)
        fail(ErrorCode::limit, "rows of ", dims, " numbers a head: this codec takes up to ", most);
    return dims;
}

/// One block before packing.
struct CodeBlock {
    f16_bits scale = 0;
    f16_bits least = 0;
    std::uint8_t code[max_block];  // signed bytes as their bits
};

// The nearest entry of the iq4_nl table.
inline int nearest_iq4(float x) {
    const float* values = kernels::cached::iq4_nl_values;
    int best = 0;
    for (int i = 1; i < 16; ++i)
        if (std::fabs(x - values[i]) < std::fabs(x - values[best])) best = i;
    return best;
}

// Scales as the formats define them; codes are the nearest integers, ties to even.
inline void quantise_block(const RowLayout& f, const float* x, int n, CodeBlock& to) {
    to.scale = to.least = 0;
    if (f.meaning == Meaning::e4m3 || f.meaning == Meaning::e5m2) {
        for (int i = 0; i < n; ++i)
            to.code[i] = f.meaning == Meaning::e4m3 ? f32_to_e4m3(x[i]) : f32_to_e5m2(x[i]);
        return;
    }
    const kernels::Table& kernel = kernels::active();
    float low = 0.0F;
    float high = 0.0F;
    kernel.range(x, n, &low, &high);
    const float extreme = -low > high ? low : high;  // of largest magnitude, with its sign
    const float magnitude = std::fabs(extreme);
    const int levels = (1 << f.bits) - 1;
    float scale = 0.0F;
    float origin = 0.0F;
    if (f.meaning == Meaning::signed_byte) {
        scale = magnitude / 127.0F;
    } else if (f.meaning == Meaning::iq4_nl) {
        scale = extreme / -127.0F;
    } else if (f.least) {
        scale = (high - low) / static_cast<float>(levels);
        origin = low;
        to.least = f32_to_f16_saturated(low);
    } else {
        scale = extreme / -static_cast<float>(f.offset);
    }
    const float inverse = scale != 0.0F ? 1.0F / scale : 0.0F;
    const bool tiny = !(std::fabs(inverse) < 1e38F);  // a scale that binary16 cannot hold anyway
    const float factor = tiny ? 0.0F : inverse;
    to.scale = f32_to_f16_saturated(tiny ? 0.0F : scale);
    float codes[256];
    double xv = 0.0;
    double vv = 0.0;
    for (int at = 0; at < n; at += 256) {
        const int count = std::min(256, n - at);
        kernel.codes(x + at, count, origin, factor, codes);
        for (int i = 0; i < count; ++i) {
            if (f.meaning == Meaning::signed_byte) {
                to.code[at + i] = static_cast<std::uint8_t>(
                    static_cast<std::int8_t>(std::clamp(codes[i], -127.0F, 127.0F)));
            } else if (f.meaning == Meaning::iq4_nl) {
                const int code = nearest_iq4(x[at + i] * factor);
                const double value = kernels::cached::iq4_nl_values[code];
                const double weight =
                    static_cast<double>(x[at + i]) * static_cast<double>(x[at + i]);
                xv = std::fma(weight * value, static_cast<double>(x[at + i]), xv);
                vv = std::fma(weight * value, value, vv);
                to.code[at + i] = static_cast<std::uint8_t>(code);
            } else {
                const float shifted = codes[i] + static_cast<float>(f.offset);
                to.code[at + i] = static_cast<std::uint8_t>(
                    std::clamp(shifted, 0.0F, static_cast<float>(levels)));
            }
        }
    }
    // IQ4_NL: the scale that fits the chosen codes best, large numbers weighing more.
    if (f.meaning == Meaning::iq4_nl && vv > 0.0)
        to.scale = f32_to_f16_saturated(static_cast<float>(xv / vv));
}

// What a code stands for; exact in double, rounded once, as the kernels' fma.
inline float block_value(const RowLayout& f, f16_bits scale, f16_bits least, std::uint8_t code) {
    switch (f.meaning) {
        case Meaning::e4m3: return e4m3_to_f32(code);
        case Meaning::e5m2: return e5m2_to_f32(code);
        case Meaning::signed_byte:
            return static_cast<float>(static_cast<std::int8_t>(code)) * f16_to_f32(scale);
        case Meaning::iq4_nl: return kernels::cached::iq4_nl_values[code & 15] * f16_to_f32(scale);
        case Meaning::plain: break;
    }
    const double d = f16_to_f32(scale);
    const double m = f.least ? static_cast<double>(f16_to_f32(least)) : -f.offset * d;
    return static_cast<float>(std::fma(static_cast<double>(code), d, m));
}

inline void put_bits(std::byte* at, unsigned shift, unsigned mask, unsigned value) {
    *at = static_cast<std::byte>((std::to_integer<unsigned>(*at) & ~(mask << shift)) |
                                 (value << shift));
}
inline unsigned get_bits(const std::byte* at, unsigned shift, unsigned mask) {
    return std::to_integer<unsigned>(*at) >> shift & mask;
}

// Where code i of a block lies: value rows.
struct CodePlace {
    std::ptrdiff_t byte;
    unsigned shift;
    std::ptrdiff_t high_byte;  // of the fifth bit
    unsigned high_shift;
};
inline CodePlace value_place(const RowLayout& f, int i) {
    const int vector = i / 16;
    const int lane = i % 16;
    if (f.bits == 8) return {i, 0, 0, 0};
    if (f.bits == 2) return {vector * 4 + lane / 4, static_cast<unsigned>(lane % 4 * 2), 0, 0};
    return {vector / 2 * 16 + lane, static_cast<unsigned>(vector % 2 * 4), f.group / 2 + lane / 4,
            static_cast<unsigned>(lane % 4 * 2 + vector % 2)};
}
// ... and in a tile of keys, dim d of position `lane`.
inline CodePlace key_place(const RowLayout& f, int d, int lane) {
    if (f.bits == 8) return {d * 16 + lane, 0, 0, 0};
    return {d / 2 * 16 + lane, static_cast<unsigned>(d % 2 * 4), f.group * 8 + d / 8 * 16 + lane,
            static_cast<unsigned>(d % 8)};
}
inline void put_code(const RowLayout& f, std::byte* codes, const CodePlace& at, unsigned code) {
    if (f.bits == 8) {
        codes[at.byte] = static_cast<std::byte>(code);
        return;
    }
    const unsigned mask = f.bits == 2 ? 3U : 15U;
    put_bits(codes + at.byte, at.shift, mask, code & mask);
    if (f.bits == 5) put_bits(codes + at.high_byte, at.high_shift, 1U, code >> 4);
}
inline unsigned get_code(const RowLayout& f, const std::byte* codes, const CodePlace& at) {
    if (f.bits == 8) return std::to_integer<unsigned>(codes[at.byte]);
    const unsigned low = get_bits(codes + at.byte, at.shift, f.bits == 2 ? 3U : 15U);
    return f.bits == 5 ? low | get_bits(codes + at.high_byte, at.high_shift, 1U) << 4 : low;
}

// Calls body(block dims, first dim, scale, least, codes, place) for the blocks of a row: keys (a
// column of a tile) or values.
struct BlockPlace {
    std::byte* scale;
    std::byte* least;
    std::byte* codes;
    int lane;  // -1: values
};
inline BlockPlace place_of(const RowLayout& f, const Rows& rows, int row, int dims, int block,
                           bool keys) {
    if (!keys) {
        std::byte* at =
            rows.unit + row * rows.stride + block * (f.parameter_bytes() + f.code_bytes(dims));
        return {at, at + 2, at + f.parameter_bytes(), -1};
    }
    constexpr int tile = kernels::key_tile;
    const int lane = rows.lane + row;
    std::byte* at = rows.unit + lane / tile * rows.stride +
                    block * (f.parameter_bytes() * tile + f.tile_code_bytes(dims));
    return {at + 2 * (lane % tile), at + 2 * tile + 2 * (lane % tile),
            at + f.parameter_bytes() * tile, lane % tile};
}

inline void encode_blocks(const RowLayout& f, const float* x, std::ptrdiff_t stride, int dims,
                          const Rows& to, bool keys) {
    CodeBlock block;
    for (int r = 0; r < to.count; ++r)
        for (int b = 0; b < f.blocks(dims); ++b) {
            const int n = f.block_dims(dims, b);
            quantise_block(f, x + r * stride + b * f.group, n, block);
            const BlockPlace at = place_of(f, to, r, dims, b, keys);
            if (f.scaled()) std::memcpy(at.scale, &block.scale, 2);
            if (f.least) std::memcpy(at.least, &block.least, 2);
            for (int i = 0; i < n; ++i)
                put_code(f, at.codes, keys ? key_place(f, i, at.lane) : value_place(f, i),
                         block.code[i]);
        }
}
inline void decode_blocks(const RowLayout& f, const Rows& from, int dims, float* x,
                          std::ptrdiff_t stride, bool keys) {
    for (int r = 0; r < from.count; ++r)
        for (int b = 0; b < f.blocks(dims); ++b) {
            const BlockPlace at = place_of(f, from, r, dims, b, keys);
            f16_bits scale = 0;
            f16_bits least = 0;
            if (f.scaled()) std::memcpy(&scale, at.scale, 2);
            if (f.least) std::memcpy(&least, at.least, 2);
            for (int i = 0; i < f.block_dims(dims, b); ++i) {
                const unsigned code =
                    get_code(f, at.codes, keys ? key_place(f, i, at.lane) : value_place(f, i));
                x[r * stride + b * f.group + i] =
                    block_value(f, scale, least, static_cast<std::uint8_t>(code));
            }
        }
}
inline void copy_block_row(const RowLayout& f, const Rows& from, const Rows& to, int dims,
                           bool keys) {
    for (int b = 0; b < f.blocks(dims); ++b) {
        const BlockPlace source = place_of(f, from, 0, dims, b, keys);
        const BlockPlace target = place_of(f, to, 0, dims, b, keys);
        if (f.scaled()) std::memcpy(target.scale, source.scale, 2);
        if (f.least) std::memcpy(target.least, source.least, 2);
        for (int i = 0; i < f.block_dims(dims, b); ++i)
            put_code(
                f, target.codes, keys ? key_place(f, i, target.lane) : value_place(f, i),
                get_code(f, source.codes, keys ? key_place(f, i, source.lane) : value_place(f, i)));
    }
}

// A word as a template argument.
template <std::size_t n>
struct Word {
    char text[n]{};
    constexpr Word(const char (&from)[n]) {  // NOLINT(google-explicit-constructor)
        for (std::size_t i = 0; i < n; ++i) text[i] = from[i];
    }
    constexpr std::string_view view() const { return {text, n - 1}; }
};

// One of the two codecs of a format: keys in tiles of 16, or values in rows.
template <RowLayout F, bool of_keys>
class BlockCodec final : public Codec {
  public:
    constexpr explicit BlockCodec(std::string_view called)
        : Codec({.name = called,
                 .rows_per_unit = of_keys ? kernels::key_tile : 1,
                 .finite_only = true,
                 .quantise_query =
                     of_keys && F.integers() ? &kernels::cached::quantise_query : nullptr,
                 .unpacked = &unpacked_rows<of_keys>}) {}
    constexpr ~BlockCodec() override = default;
    constexpr std::size_t unit_bytes(int dims) const override {
        const int width = checked_width(dims, F.blocks(max_row) == 1 ? max_block : max_row);
        return static_cast<std::size_t>(of_keys ? F.tile_bytes(width) : F.row_bytes(width));
    }
    constexpr std::size_t row_bytes(int dims) const override {
        return unit_bytes(dims) / static_cast<std::size_t>(rows_per_unit);
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        encode_blocks(F, x, stride, dims, to, of_keys);
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        decode_blocks(F, from, dims, x, stride, of_keys);
    }
    void scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride, int queries,
                float* s, std::ptrdiff_t s_stride, Scratch scratch) const override {
        if constexpr (of_keys)
            kernels::cached::products_for<F>(kernels::active())
                .scores({keys.unit, keys.stride, keys.lane, keys.count, dims, keys.ahead}, q,
                        q_stride, queries, s, s_stride);
        else
            Codec::scores(keys, dims, q, q_stride, queries, s, s_stride, scratch);
    }
    void quantised_scores(const Rows& keys, int dims, const kernels::cached::QueryBlock* q,
                          int queries, float* s, std::ptrdiff_t s_stride) const override {
        if constexpr (of_keys && F.integers())
            kernels::cached::integer_scores_for<F>(kernels::active())(
                {keys.unit, keys.stride, keys.lane, keys.count, dims, keys.ahead}, q, queries, s,
                s_stride);
        else
            Codec::quantised_scores(keys, dims, q, queries, s, s_stride);
    }
    void weigh(const Rows& values, int dims, int lead, const float* p, std::ptrdiff_t p_stride,
               int queries, float* o, std::ptrdiff_t o_stride, Scratch scratch) const override {
        if constexpr (of_keys) {
            Codec::weigh(values, dims, lead, p, p_stride, queries, o, o_stride, scratch);
        } else {
            require(lead == dims, ErrorCode::unsupported, "rows of ", name, " are weighed whole");
            kernels::cached::products_for<F>(kernels::active())
                .weigh({values.unit, values.stride, values.lane, values.count, dims, values.ahead,
                        values.beside, values.beside_bytes},
                       p, p_stride, queries, o, o_stride);
        }
    }
    void unpack(const Rows& from, int dims, float* to) const override {
        const auto& products = kernels::cached::products_for<F>(kernels::active());
        (of_keys ? products.unpack_keys : products.unpack_values)(
            {from.unit, from.stride, from.lane, from.count, dims}, to);
    }
    void copy_row(const Rows& from, const Rows& to, int dims) const override {
        copy_block_row(F, from, to, dims, of_keys);
    }
};

template <RowLayout F, Word named, bool of_keys>
inline constexpr BlockCodec<F, of_keys> block_codec{named.view()};

}  // namespace internal

/// A block format by name: the tag of its codecs.
template <kernels::cached::RowLayout F, internal::Word named>
struct BlockFormat {
    static constexpr std::string_view word = named.view();
    static constexpr CodecFacts facts{.key_unit = kernels::key_tile};
    static constexpr const Codec& keys() noexcept { return internal::block_codec<F, named, true>; }
    static constexpr const Codec& values() noexcept {
        return internal::block_codec<F, named, false>;
    }
};

/// 8.5 bits a number: a scale per 32, codes of 8 bits.
using Q8_0 = BlockFormat<kernels::cached::q8_0, "q8_0">;
/// 6 bits a number: a scale and a least value per 32, codes of 5 bits.
using Q5_1 = BlockFormat<kernels::cached::q5_1, "q5_1">;
/// 5.5 bits a number: a scale per 32, codes of 5 bits.
using Q5_0 = BlockFormat<kernels::cached::q5_0, "q5_0">;
/// 5 bits a number: a scale and a least value per 32, codes of 4 bits.
using Q4_1 = BlockFormat<kernels::cached::q4_1, "q4_1">;
/// 4.5 bits a number: a scale per 32, codes of 4 bits.
using Q4_0 = BlockFormat<kernels::cached::q4_0, "q4_0">;
/// 4.5 bits a number: a scale per 32, codes that name one of 16 unevenly spaced values.
using Iq4Nl = BlockFormat<kernels::cached::iq4_nl, "iq4_nl">;
/// One symmetric scale a token and head, codes of 8 bits.
using Int8 = BlockFormat<kernels::cached::int8, "int8">;
/// A scale and a least value a token, head and 32 dims, codes of 4 bits.
using Int4 = BlockFormat<kernels::cached::q4_1, "int4">;
/// 8 bits a number, 4 significant bits, at most 448.
using Fp8E4M3 = BlockFormat<kernels::cached::fp8_e4m3, "fp8_e4m3">;
/// 8 bits a number, 3 significant bits, at most 57344.
using Fp8E5M2 = BlockFormat<kernels::cached::fp8_e5m2, "fp8_e5m2">;

}}  // namespace cairn
