// What all block formats have in common: a weight is scale * (code - zero) + minimum, with small
// unsigned codes and one scale (and perhaps one minimum) for a group of 16 or 32 numbers.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cairn/numeric/element_type.hpp"
#include "cairn/numeric/half.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace quantised {

/// How a group's own scale factor is stored beside the block's f16 scale.
enum class GroupScales : std::uint8_t {
    none,      ///< the block's scale serves
    bytes,     ///< unsigned 8-bit factors, and 8-bit minima where there are minima
    nibbles,   ///< 4-bit factor in the low, 4-bit minimum in the high half of a byte
    integers,  ///< signed 8-bit factors
    powers     ///< none, and the block's scale is a power of two: a bf16 in place of an f16
};

/// Everything the packer and the kernels must know of a format. A structural type: kernels are
/// templates over it.
struct BlockLayout {
    int values;     ///< numbers in a block: 32 or 256
    int group;      ///< numbers that share a scale: 16 or 32
    int low_bits;   ///< bits of a code in the low plane: 8, 4 or 2
    int high_bits;  ///< further bits in a plane of their own: 0, 1 or 2
    int zero;       ///< the code (after the lookup) that stands for 0
    bool minimum;   ///< whether a minimum is added
    bool lookup;    ///< codes index a table: see `table_of`
    GroupScales scales;

    constexpr int groups() const { return values / group; }
    /// Bits of what a code is multiplied as, after the lookup.
    constexpr int bits() const { return !lookup ? low_bits + high_bits : fp4() ? 5 : 8; }
    /// Codes of 8 bits need a product that does not overflow 16 bits on the way.
    constexpr bool wide() const { return bits() == 8; }
    /// Whether its table is that of four-bit floats.
    constexpr bool fp4() const { return lookup && scales == GroupScales::powers; }
};

/// The block of one row, taken apart. Scale of group g: d * scales[g]; its minimum: m * minima[g]
/// (the sign is in m).
struct Fields {
    std::array<std::uint8_t, 256> codes;
    std::array<std::uint8_t, 16> scales;  ///< for GroupScales::integers the bits of an int8
    std::array<std::uint8_t, 16> minima;
    std::uint16_t d;  ///< f16; for GroupScales::powers a bf16
    std::uint16_t m;  ///< f16
};

/// The 16 numbers of iq4_nl and iq4_xs, plus 128.
inline constexpr std::array<std::uint8_t, 16> iq4_table{1,   24,  45,  63,  79,  93,  106, 118,
                                                        129, 141, 153, 166, 181, 197, 217, 241};

/// Twice the 16 numbers of mxfp4 (a sign, two bits of exponent, one of mantissa), plus 16.
inline constexpr std::array<std::uint8_t, 16> fp4_table{16, 17, 18, 19, 20, 22, 24, 28,
                                                        16, 15, 14, 13, 12, 10, 8,  4};
/// The table of a layout whose codes are looked up.
constexpr const std::array<std::uint8_t, 16>& table_of(const BlockLayout& layout) {
    return layout.fp4() ? fp4_table : iq4_table;
}

/// One block format: its layout, how a block of a file comes apart, and how one is made.
struct Format {
    ElementType type;
    BlockLayout layout;
    void (*parse)(const std::byte* block, Fields& to) noexcept;
    /// Encodes `blocks` blocks as ggml's reference quantiser does; null: the format is read only.
    void (*encode)(const float* from, std::size_t blocks, std::byte* to) noexcept;
};

/// The scale and the minimum of a group.
inline float scale_of(const BlockLayout& layout, const Fields& fields, int group) noexcept {
    if (layout.scales == GroupScales::powers) return bf16_to_f32(fields.d);
    const float d = f16_to_f32(fields.d);
    const auto g = static_cast<std::size_t>(group);
    if (layout.scales == GroupScales::none) return d;
    if (layout.scales == GroupScales::integers)
        return d * static_cast<float>(static_cast<std::int8_t>(fields.scales[g]));
    return d * static_cast<float>(fields.scales[g]);
}
inline float minimum_of(const BlockLayout& layout, const Fields& fields, int group) noexcept {
    if (!layout.minimum) return 0.0F;
    const float m = f16_to_f32(fields.m);
    if (layout.scales == GroupScales::none) return m;
    return m * static_cast<float>(fields.minima[static_cast<std::size_t>(group)]);
}
/// Number i of a block: the definition that every kernel is tested against.
inline float value_of(const BlockLayout& layout, const Fields& fields, int i) noexcept {
    int code = fields.codes[static_cast<std::size_t>(i)];
    if (layout.lookup) code = table_of(layout)[static_cast<std::size_t>(code)];
    const int group = i / layout.group;
    return std::fma(scale_of(layout, fields, group), static_cast<float>(code - layout.zero),
                    minimum_of(layout, fields, group));
}

namespace internal {

inline std::uint8_t byte_at(const std::byte* from, std::size_t i) noexcept {
    return std::to_integer<std::uint8_t>(from[i]);
}
inline std::uint16_t f16_at(const std::byte* from, std::size_t i) noexcept {
    std::uint16_t bits = 0;
    std::memcpy(&bits, from + i, 2);
    return bits;
}
inline void put_f16(std::byte* to, float value) noexcept {
    const std::uint16_t bits = f32_to_f16(value);
    std::memcpy(to, &bits, 2);
}
// 16 bytes hold 32 nibbles: the low ones first.
inline void nibbles_32(const std::byte* from, std::uint8_t* codes) noexcept {
    for (std::size_t j = 0; j < 16; ++j) {
        codes[j] = byte_at(from, j) & 0x0F;
        codes[j + 16] = byte_at(from, j) >> 4;
    }
}

}  // namespace internal

}}}  // namespace cairn::quantised
