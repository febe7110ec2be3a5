// All block formats by their ElementType.
#pragma once

#include <array>
#include <string>

#include "cairn/numeric/plain_format.hpp"
#include "cairn/numeric/quantised/basic.hpp"
#include "cairn/numeric/quantised/k_blocks.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace quantised {

/// In the order of ElementType, which is the order of the kernels' tables: this list is the one
/// place that says it.
inline constexpr std::array<const Format*, 13> formats{
    &q8_0, &q4_0, &q4_1, &q5_0, &q5_1, &q2_k, &q3_k, &q4_k, &q5_k, &q6_k, &iq4_nl, &iq4_xs, &mxfp4};

/// The place of a type that is not plain in `formats`.
constexpr std::size_t format_index(ElementType type) noexcept {
    return static_cast<std::size_t>(type) - static_cast<std::size_t>(ElementType::q8_0);
}
/// The format of a type that is not plain.
constexpr const Format& block_format(ElementType type) noexcept {
    return *formats[format_index(type)];
}

namespace internal {

constexpr bool in_order() noexcept {
    for (std::size_t i = 0; i < formats.size(); ++i) {
        const Format& format = *formats[i];
        if (format_index(format.type) != i ||
            block_size(format.type).values != static_cast<std::size_t>(format.layout.values))
            return false;
    }
    return format_index(ElementType::q8_0) + formats.size() +
               static_cast<std::size_t>(ElementType::q8_0) ==
           element_types;
}
static_assert(in_order(), "every block type of ElementType has its format, in order");

}  // namespace internal

/// Decodes `count` numbers of any type, a multiple of its block; `from` may be unaligned. The slow
/// definition: kernels are tested against it.
inline void decode(ElementType type, const std::byte* from, std::size_t count, float* to) noexcept {
    if (is_plain(type)) {
        cairn::format_of(type).decode(from, count, to);
        return;
    }
    const Format& format = block_format(type);
    const auto values = static_cast<std::size_t>(format.layout.values);
    Fields fields{};
    for (std::size_t at = 0; at < count; at += values, from += block_size(type).bytes) {
        format.parse(from, fields);
        for (std::size_t i = 0; i < values; ++i)
            to[at + i] = value_of(format.layout, fields, static_cast<int>(i));
    }
}

}}}  // namespace cairn::quantised
