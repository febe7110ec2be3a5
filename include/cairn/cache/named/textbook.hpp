// The textbook formula at compile time, for figures in documents and static_asserts: what rows of a
// codec take by its format, without a cache.
#pragma once

#include <cstddef>
#include <string_view>

#include "cairn/core/types.hpp"
#include "cairn/kernels/cached/products.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Bytes of one row of keys or values in a codec by name; 0 for an unknown one. Kivi: old rows.
constexpr std::size_t codec_row_bytes(std::string_view codec, int dims, bool keys) {
    using namespace kernels::cached;
    struct Entry {
        std::string_view name;
        RowLayout layout;
    };
    const Entry entries[] = {{"q8_0", q8_0},         {"q5_1", q5_1},  {"q5_0", q5_0},
                             {"q4_1", q4_1},         {"q4_0", q4_0},  {"iq4_nl", iq4_nl},
                             {"int8", int8},         {"int4", q4_1},  {"fp8_e4m3", fp8_e4m3},
                             {"fp8_e5m2", fp8_e5m2}, {"kivi4", q4_1}, {"kivi2", int2}};
    if (codec == "f32") return static_cast<std::size_t>(dims) * 4;
    if (codec == "f16" || codec == "bf16") return static_cast<std::size_t>(dims) * 2;
    if (keys && (codec == "kivi4" || codec == "kivi2"))
        return static_cast<std::size_t>(
            (channel_bytes(codec == "kivi4" ? 4 : 2, dims) + channel_group - 1) / channel_group);
    for (const Entry& e : entries)
        if (e.name == codec)
            return static_cast<std::size_t>(keys ? e.layout.tile_bytes(dims) / kernels::key_tile
                                                 : e.layout.row_bytes(dims));
    return 0;
}

/// The textbook formula at compile time: layers x tokens x kv_heads x (key + value bytes) of a
/// cache that keeps all rows in one codec.
constexpr std::size_t payload_bytes(int layers, const HeadLayout& layout, std::string_view codec,
                                    std::size_t tokens) {
    return static_cast<std::size_t>(layers) * tokens * static_cast<std::size_t>(layout.kv_heads) *
           (codec_row_bytes(codec, layout.key_dim, true) +
            codec_row_bytes(codec, layout.value_dim, false));
}

}}  // namespace cairn
