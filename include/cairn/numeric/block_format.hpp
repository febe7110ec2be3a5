// Number formats of stored tensors: `values` numbers share a block of `bytes` bytes. Plain types
// are blocks of one. A format knows its name, its size and its reference decode; nothing else may.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "cairn/core/checked.hpp"
#include "cairn/numeric/half.hpp"

namespace cairn::inline CAIRN_ABI {

/// The formats the library can read.
enum class ElementType : std::uint8_t { f32, f16, bf16 };

/// One format: how many values a block holds, its bytes, and how it becomes f32 and back.
struct BlockFormat {
    std::string_view name;
    std::size_t values;  ///< numbers in a block
    std::size_t bytes;   ///< bytes of a block
    /// Decodes `count` numbers (a multiple of `values`); `from` may be unaligned.
    void (*decode)(const std::byte* from, std::size_t count, float* to) noexcept;
    /// Encodes `count` numbers (a multiple of `values`), rounding to nearest even.
    void (*encode)(const float* from, std::size_t count, std::byte* to) noexcept;

    /// Bytes of `count` numbers; Error{limit} on overflow. `count` is a multiple of `values`.
    std::size_t size_of(std::size_t count) const {
        return checked_mul(count / values, bytes, name);
    }
};

namespace detail {

template <auto ToF32>
void decode_16(const std::byte* from, std::size_t count, float* to) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        std::uint16_t bits = 0;
        std::memcpy(&bits, from + 2 * i, 2);
        to[i] = ToF32(bits);
    }
}
template <auto FromF32>
void encode_16(const float* from, std::size_t count, std::byte* to) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint16_t bits = FromF32(from[i]);
        std::memcpy(to + 2 * i, &bits, 2);
    }
}
inline void decode_f32(const std::byte* from, std::size_t count, float* to) noexcept {
    std::memcpy(to, from, count * sizeof(float));
}
inline void encode_f32(const float* from, std::size_t count, std::byte* to) noexcept {
    std::memcpy(to, from, count * sizeof(float));
}

inline constexpr std::array<BlockFormat, 3> block_formats{{
    {"f32", 1, 4, decode_f32, encode_f32},
    {"f16", 1, 2, decode_16<f16_to_f32>, encode_16<f32_to_f16>},
    {"bf16", 1, 2, decode_16<bf16_to_f32>, encode_16<f32_to_bf16>},
}};

}  // namespace detail

/// The description of a format.
constexpr const BlockFormat& format_of(ElementType type) noexcept {
    return detail::block_formats[static_cast<std::size_t>(type)];
}

}  // namespace cairn::inline CAIRN_ABI
