// The number formats of stored tensors: names, block sizes and bytes. How a block format becomes
// numbers is in numeric/quantised/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cairn/core/checked.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The formats the library can read. Up to bf16 a number stands alone; from q8_0 on, a block of
/// 32 or 256 numbers shares its scales (formats of ggml).
enum class ElementType : std::uint8_t {
    f32,
    f16,
    bf16,
    q8_0,
    q4_0,
    q4_1,
    q5_0,
    q5_1,
    q2_k,
    q3_k,
    q4_k,
    q5_k,
    q6_k,
    iq4_nl,
    iq4_xs,
    mxfp4,
};
/// How many there are.
inline constexpr std::size_t element_types = 16;

/// Whether numbers of this type stand alone.
constexpr bool is_plain(ElementType type) noexcept { return type <= ElementType::bf16; }

/// How many values a block of a format holds, and its bytes in a file.
struct BlockSize {
    std::string_view name;
    std::size_t values;
    std::size_t bytes;

    /// Bytes of `count` numbers, a multiple of `values`; Error{limit} on overflow.
    std::size_t size_of(std::size_t count) const {
        return checked_mul(count / values, bytes, name);
    }
};

namespace internal {

inline constexpr std::array<BlockSize, element_types> block_sizes{{
    {"f32", 1, 4},
    {"f16", 1, 2},
    {"bf16", 1, 2},
    {"q8_0", 32, 34},
    {"q4_0", 32, 18},
    {"q4_1", 32, 20},
    {"q5_0", 32, 22},
    {"q5_1", 32, 24},
    {"q2_k", 256, 84},
    {"q3_k", 256, 110},
    {"q4_k", 256, 144},
    {"q5_k", 256, 176},
    {"q6_k", 256, 210},
    {"iq4_nl", 32, 18},
    {"iq4_xs", 256, 136},
    {"mxfp4", 32, 17},
}};

}  // namespace internal

/// The sizes of a format.
constexpr const BlockSize& block_size(ElementType type) noexcept {
    return internal::block_sizes[static_cast<std::size_t>(type)];
}

}}  // namespace cairn
