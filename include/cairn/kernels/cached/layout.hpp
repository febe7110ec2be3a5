// How quantised rows of a cache lie in memory, and what is done with them. A number is
// scale * code + least; scales and leasts are binary16.
//
//   values, one row:    per block of `group` dims [scale][least] then codes, 16 dims a vector
//   keys, 16 positions: per block of `group` dims [scale x 16][least x 16] then codes, [dim][16]
//   keys by channel, 32 positions (KIVI): [scale x dims][least x dims] then codes, [dim][32]
//   two planes (QuantSpec): keys by channel, or 32 rows of values, of 4 bits; then as many codes of
//                           4 bits more, [dim][32] or [row][dim]
//
// Codes of 4 bits share bytes in pairs of vectors (low half first); 16 lanes of 2 bits are 4 bytes
// (values) or share bytes in fours of vectors (keys by channel). A fifth bit lies apart: for values
// 2 bits a lane for the pair of vectors, for keys a byte a lane for 8 dims, so that no two
// positions share a byte.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cairn/kernels/table.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::cached {

/// What a code means before scale and least: itself, a signed byte, an entry of the iq4_nl table,
/// or an 8-bit float without scale.
enum class Meaning : std::uint8_t { plain, signed_byte, iq4_nl, e4m3, e5m2 };

/// A format of quantised rows. Structural, so that it can be a template argument.
struct RowLayout {
    int bits;    ///< of a code: 8, 5, 4 or 2
    int group;   ///< dims that share a scale; 0: the whole row
    bool least;  ///< whether a least value is stored
    int offset;  ///< without a stored least: the least is -offset * scale
    Meaning meaning;

    constexpr bool scaled() const noexcept {
        return meaning != Meaning::e4m3 && meaning != Meaning::e5m2;
    }
    /// Whether codes are integers of 4 or 8 bits, for scores in integers.
    constexpr bool integers() const noexcept {
        return bits == 8 ? meaning == Meaning::signed_byte
                         : bits == 4 && meaning == Meaning::plain && group == 32;
    }
    /// Dims that codes are padded to: whole vectors, or pairs of them.
    constexpr int step() const noexcept { return bits == 8 || bits == 2 ? 16 : 32; }
    constexpr int blocks(int dims) const noexcept {
        return !scaled() ? 1 : (group == 0 ? 1 : (dims + group - 1) / group);
    }
    /// Dims of block `b` of a row, padded dims not counted.
    constexpr int block_dims(int dims, int b) const noexcept {
        if (!scaled() || group == 0) return dims;
        const int rest = dims - b * group;
        return rest < group ? rest : group;
    }
    /// Bytes of scale and least of one block of one row.
    constexpr int parameter_bytes() const noexcept { return scaled() ? (least ? 4 : 2) : 0; }
    /// Bytes of the codes of one block of a row of values, padded.
    constexpr int code_bytes(int dims) const noexcept {
        if (group != 0 && scaled()) return group * bits / 8;
        return (dims + step() - 1) / step() * step() * bits / 8;
    }
    /// Bytes of one row of values.
    constexpr int row_bytes(int dims) const noexcept {
        return blocks(dims) * (parameter_bytes() + code_bytes(dims));
    }
    /// Bytes of the codes of one block of a tile of 16 keys.
    constexpr int tile_code_bytes(int dims) const noexcept {
        const int n = group != 0 && scaled() ? group : (dims + 1) / 2 * 2;
        return n * key_tile * bits / 8;
    }
    /// Bytes of a tile of 16 keys.
    constexpr int tile_bytes(int dims) const noexcept {
        return blocks(dims) * (parameter_bytes() * key_tile + tile_code_bytes(dims));
    }
};

/// Positions that share their scales in a unit of keys by channel.
inline constexpr int channel_group = 32;

/// Bytes of a unit of 32 keys by channel, `bits` of 4 or 2.
constexpr int channel_bytes(int bits, int dims) noexcept {
    return 4 * dims + (bits == 4 ? dims * 16 : (dims + 1) / 2 * 16);
}

/// The products of one format on one instruction set. Shapes as in kernels::Table.
struct Products {
    void (*scores)(const RowsIn&, const float* q, std::ptrdiff_t q_stride, int queries, float* s,
                   std::ptrdiff_t s_stride);
    void (*weigh)(const RowsIn&, const float* p, std::ptrdiff_t p_stride, int queries, float* o,
                  std::ptrdiff_t o_stride);
    /// The rows as floats: keys in whole tiles [dim][16 positions], the first row's at `to`; values
    /// padded to 16 numbers.
    void (*unpack_keys)(const RowsIn&, float* to);
    void (*unpack_values)(const RowsIn&, float* to);
};

/// The codes of IQ4_NL.
inline constexpr float iq4_nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                            1,    13,   25,  38,  53,  69,  89,  113};

}}}  // namespace cairn::kernels::cached
