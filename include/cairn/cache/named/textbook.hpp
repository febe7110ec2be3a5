// The textbook formula at compile time, for figures in documents and static_asserts.
#pragma once

#include "cairn/cache/seam/codec.hpp"
#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// layers x tokens x kv_heads x (key + value bytes) of a cache that keeps all rows in one form.
/// `Codec` names its codecs for constant expressions: plain rows and blocks do.
template <class Codec>
constexpr std::size_t payload_bytes(int layers, const HeadLayout& layout, std::size_t tokens) {
    return static_cast<std::size_t>(layers) * tokens * static_cast<std::size_t>(layout.kv_heads) *
           (Codec::keys().row_bytes(layout.key_dim) + Codec::values().row_bytes(layout.value_dim));
}

}}  // namespace cairn
