// Words shared by all layers of the library.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A token id: 0 <= id < vocabulary size.
using Token = std::int32_t;

/// A sequence of token ids that somebody else owns.
using Tokens = std::span<const Token>;

/// The numbers of an attention layer: MHA has kv_heads == heads, MQA kv_heads == 1, GQA between.
struct HeadLayout {
    int heads = 0;      ///< query heads
    int kv_heads = 0;   ///< key/value heads; divides heads
    int key_dim = 0;    ///< width of a query and of a key
    int value_dim = 0;  ///< width of a value
    /// Width of the layer's input rows; 0: not said. Only caches of inputs ask, so it takes no part
    /// in comparisons.
    int input = 0;
    /// Whether the layer changes keys or values after their projections: no cache then keeps its
    /// inputs in their place. Takes no part in comparisons either.
    bool stepped = false;
    /// Whether a head's values are the first numbers of its keys, so that a cache need not keep
    /// them. Takes no part in comparisons either.
    bool leading = false;
    /// Attention layers of the model; 0: not said. Only keeps whose budgets differ by layer ask, so
    /// it takes no part in comparisons.
    int layers = 0;
    /// Where the layer turns rows by one of two rotations, the largest capacity of sessions that
    /// take the first one; 0: it has one. Takes no part in comparisons either.
    int near = 0;

    /// Query heads that share one KV head.
    constexpr int group() const noexcept { return heads / kv_heads; }
    constexpr bool operator==(const HeadLayout& other) const noexcept {
        return heads == other.heads && kv_heads == other.kv_heads && key_dim == other.key_dim &&
               value_dim == other.value_dim;
    }
};

/// Throws Error{invalid_argument} unless the layout can exist.
inline void validate(const HeadLayout& layout) {
    require(layout.heads > 0 && layout.kv_heads > 0 && layout.key_dim > 0 && layout.value_dim > 0,
            ErrorCode::invalid_argument, "head layout: heads ", layout.heads, ", kv_heads ",
            layout.kv_heads, ", key_dim ", layout.key_dim, ", value_dim ", layout.value_dim,
            " must all be positive");
    require(layout.heads % layout.kv_heads == 0, ErrorCode::invalid_argument,
            "head layout: ", layout.heads, " heads are not a multiple of ", layout.kv_heads,
            " kv_heads");
}

/// The bytes of a text as token ids 0..255, for models whose vocabulary is bytes.
inline std::vector<Token> bytes(std::string_view text) {
    std::vector<Token> ids;
    ids.reserve(text.size());
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
}

}}  // namespace cairn
