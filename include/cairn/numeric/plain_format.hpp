// The plain number formats, each number for itself: how they become f32 and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "cairn/numeric/element_type.hpp"
#include "cairn/numeric/half.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// One plain format and how it becomes f32 and back.
struct PlainFormat {
    std::string_view name;
    std::size_t bytes;  ///< bytes of a number
    /// Decodes `count` numbers; `from` may be unaligned.
    void (*decode)(const std::byte* from, std::size_t count, float* to) noexcept;
    /// Encodes `count` numbers, rounding to nearest even.
    void (*encode)(const float* from, std::size_t count, std::byte* to) noexcept;

    /// Bytes of `count` numbers; Error{limit} on overflow.
    std::size_t size_of(std::size_t count) const { return checked_mul(count, bytes, name); }
};

namespace internal {

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

template <ElementType type>
constexpr PlainFormat describe_plain() noexcept {
    if constexpr (type == ElementType::f16)
        return {"f16", 2, decode_16<f16_to_f32>, encode_16<f32_to_f16>};
    else if constexpr (type == ElementType::bf16)
        return {"bf16", 2, decode_16<bf16_to_f32>, encode_16<f32_to_bf16>};
    else
        return {"f32", 4, decode_f32, encode_f32};
}

}  // namespace internal

/// The description of a plain format; who names one compiles no other.
template <ElementType type>
inline constexpr PlainFormat plain_format = internal::describe_plain<type>();

/// The description of a plain format; block formats are in numeric/quantised/.
inline const PlainFormat& format_of(ElementType type) noexcept {
    switch (type) {
        case ElementType::f16: return plain_format<ElementType::f16>;
        case ElementType::bf16: return plain_format<ElementType::bf16>;
        default: return plain_format<ElementType::f32>;
    }
}

}}  // namespace cairn
