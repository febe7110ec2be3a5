// A codec: how rows of keys or values are written and multiplied in written form. A row of
// functions, so that the engine is compiled once whatever codecs exist.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

#include "cairn/core/config.hpp"

namespace cairn::inline CAIRN_ABI {

/// Consecutive encoded rows of one KV head, inside one block: what a codec works on. Codecs work on
/// units: one row, a tile of 16 positions, or a group of 32 that share scales.
struct Rows {
    std::byte* unit;        ///< the unit that holds the first row
    std::ptrdiff_t stride;  ///< bytes from unit to unit
    int lane;               ///< place of the first row in its unit
    int count;              ///< rows
    int head;               ///< KV head
    int position;           ///< row number of the first row
};

/// One way to write rows. Rows of f32 are [count][stride]; `dims` is the width of a row.
struct Codec {
    std::string_view name;  ///< as in a cache SPEC: f32, f16, ...
    int rows_per_unit;      ///< positions that share a unit
    /// Bytes of a unit of rows `dims` wide.
    std::size_t (*unit_bytes)(int dims);
    /// Writes rows. Finite values beyond the range of the type saturate; NaN and infinity stay
    /// where the codec takes them (see finite_only). Touches no byte of other rows.
    void (*encode)(const float* x, std::ptrdiff_t stride, int dims, const Rows& to);
    /// The rows as f32, as attention sees them.
    void (*decode)(const Rows& from, int dims, float* x, std::ptrdiff_t stride);
    /// s[i][j] = q[i] . row j, in the summation order of this codec's layout. Null for values.
    void (*scores)(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride, int queries,
                   float* s, std::ptrdiff_t s_stride);
    /// o[i] += sum over j ascending of p[i][j] * row j. Null for keys that cannot serve as values.
    void (*weigh)(const Rows& values, int dims, const float* p, std::ptrdiff_t p_stride,
                  int queries, float* o, std::ptrdiff_t o_stride);
    /// Textbook bytes of one row `dims` wide: what the format itself needs, without rounding. A
    /// fraction of a byte is rounded up.
    std::size_t (*row_bytes)(int dims);
    /// Copies the first row of `from` over the first row of `to`, byte for byte. Null: rows cannot
    /// move, because a unit shares its scales; keeps that choose rows by score need it.
    void (*copy_row)(const Rows& from, const Rows& to, int dims) = nullptr;
    /// Units are written only whole, from their first row to their last.
    bool whole_units = false;
    /// NaN and infinity cannot be written: a stage that brings one is refused.
    bool finite_only = false;

    /// Units that hold `rows` rows.
    std::size_t units(int rows) const noexcept {
        return (static_cast<std::size_t>(rows) + static_cast<std::size_t>(rows_per_unit) - 1) /
               static_cast<std::size_t>(rows_per_unit);
    }
};

/// One of the forms a row takes as it ages. Query q reads row j in this form while
/// q / age_unit - j / age_unit < age_to (and the form before it no longer applies).
struct Form {
    const Codec* codec = nullptr;
    int age_unit = 1;
    int age_to = std::numeric_limits<int>::max();  ///< the last form: never ends
};

/// How a stream of keys or values is written: forms, newest first, and whether rows are turned by a
/// Hadamard matrix before they are encoded (queries and outputs are turned with them).
struct StreamFormat {
    static constexpr int max_forms = 3;
    std::array<Form, max_forms> forms{};
    int count = 0;
    bool rotated = false;

    constexpr StreamFormat() = default;
    /// One form for ever.
    constexpr StreamFormat(const Codec& codec)  // NOLINT(google-explicit-constructor)
        : forms{Form{&codec}}, count(1) {}
    /// `hot` while it applies, then `cold`.
    constexpr StreamFormat(const Form& hot, const Codec& cold)
        : forms{hot, Form{&cold}}, count(2) {}

    constexpr const Form& coldest() const noexcept {
        return forms[static_cast<std::size_t>(count - 1)];
    }
    /// Whether rows change form as they age.
    constexpr bool ages() const noexcept { return count > 1; }
};

/// A type that names how keys and values are written: F32, F16, Q8_0, Kivi<4>, ... or one of your
/// own. keys() and values() give a Codec or a StreamFormat.
template <class T>
concept CodecTag = requires {
    { T::keys() } -> std::convertible_to<StreamFormat>;
    { T::values() } -> std::convertible_to<StreamFormat>;
};

}  // namespace cairn::inline CAIRN_ABI
