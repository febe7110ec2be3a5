// A codec: how rows of keys or values are written and multiplied in written form. A row of
// functions, so that the engine is compiled once whatever codecs exist.
#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>

#include "cairn/core/config.hpp"

namespace cairn::inline CAIRN_ABI {

/// Consecutive encoded rows of one KV head, inside one block: what a codec works on. Codecs work on
/// units: one row, or a tile of 16 positions.
struct Rows {
    std::byte* unit;        ///< the unit that holds the first row
    std::ptrdiff_t stride;  ///< bytes from unit to unit
    int lane;               ///< place of the first row in its unit
    int count;              ///< rows
    int head;               ///< KV head
    int position;           ///< token position of the first row
};

/// One way to write rows. Rows of f32 are [count][stride]; `dims` is the width of a row.
struct Codec {
    std::string_view name;  ///< as in a cache SPEC: f32, f16, ...
    int rows_per_unit;      ///< positions that share a unit
    /// Bytes of a unit of rows `dims` wide.
    std::size_t (*unit_bytes)(int dims);
    /// Writes rows. Finite values beyond the range of the type saturate; NaN and infinity stay.
    void (*encode)(const float* x, std::ptrdiff_t stride, int dims, const Rows& to);
    /// The rows as f32, as attention sees them.
    void (*decode)(const Rows& from, int dims, float* x, std::ptrdiff_t stride);
    /// s[i][j] = q[i] . row j, in the summation order of this codec's layout. Null for values.
    void (*scores)(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride, int queries,
                   float* s, std::ptrdiff_t s_stride);
    /// o[i] += sum over j ascending of p[i][j] * row j. Null for keys that cannot serve as values.
    void (*weigh)(const Rows& values, int dims, const float* p, std::ptrdiff_t p_stride,
                  int queries, float* o, std::ptrdiff_t o_stride);
    /// Textbook bytes of one row `dims` wide: what the format itself needs, without rounding.
    std::size_t (*row_bytes)(int dims);

    /// Units that hold `rows` rows.
    std::size_t units(int rows) const noexcept {
        return static_cast<std::size_t>((rows + rows_per_unit - 1) / rows_per_unit);
    }
};

/// A type that names the codecs of keys and of values: F32, F16, ... or one of your own.
template <class T>
concept CodecTag = requires {
    { T::keys() } -> std::same_as<const Codec&>;
    { T::values() } -> std::same_as<const Codec&>;
};

}  // namespace cairn::inline CAIRN_ABI
