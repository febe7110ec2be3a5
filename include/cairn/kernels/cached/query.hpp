// Queries as integer products take them: bytes, 32 dims with one scale. Computed once per query, so
// that what a row's score is depends on nothing but the row and the query.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "cairn/kernels/dispatch.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::cached {

/// 32 dims of a query: bytes times a scale. Dims past the last one are zero.
struct QueryBlock {
    std::int8_t dims[32];   ///< in order: four of them meet four bytes of keys
    std::int8_t split[32];  ///< of eight dims the even ones, then the odd ones: halves of bytes
    std::int32_t sum;       ///< of the bytes
    float scale;            ///< NaN where the query has a NaN or an infinity
    float scaled_sum;       ///< scale * sum
};

/// Blocks of a query of `dims` numbers.
constexpr int query_blocks(int dims) noexcept { return (dims + 31) / 32; }

/// Fills the blocks of one query: scale = largest magnitude / 127, bytes the nearest integers, ties
/// to even. The same bits on every instruction set.
inline void quantise_query(const Table& kernel, const float* q, int dims, QueryBlock* to) {
    for (int b = 0; b < query_blocks(dims); ++b, q += 32, ++to) {
        const int n = std::min(32, dims - 32 * b);
        float low = 0.0F;
        float high = 0.0F;
        const bool sound = kernel.all_finite(q, n);
        if (sound) kernel.range(q, n, &low, &high);
        const float most = std::max(-low, high);
        // Below, the inverse would be no number; such a block adds nothing that a float can hold.
        const bool some = sound && most > 1e-30F;
        float numbers[32] = {};
        if (some) kernel.codes(q, n, 0.0F, 127.0F / most, numbers);
        to->sum = 0;
        for (int i = 0; i < 32; ++i) {
            const auto byte = static_cast<std::int8_t>(std::clamp(numbers[i], -127.0F, 127.0F));
            to->dims[i] = byte;
            to->split[i / 8 * 8 + i % 2 * 4 + i % 8 / 2] = byte;
            to->sum += byte;
        }
        to->scale = some ? most / 127.0F : sound ? 0.0F : std::nanf("");
        to->scaled_sum = to->scale * static_cast<float>(to->sum);
    }
}

}}}  // namespace cairn::kernels::cached
