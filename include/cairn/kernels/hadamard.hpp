// The Walsh-Hadamard transform of a head's row: sums and differences only, so every instruction set
// and compiler gives the same bits.
#pragma once

#include <cmath>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

/// Turns x[n] in place by the orthonormal Hadamard matrix, in blocks of the largest power of two
/// that divides n. Its own inverse.
[[gnu::noinline]] inline void hadamard(float* x, int n) noexcept {
    const int block = n & -n;
    const float scale = 1.0F / std::sqrt(static_cast<float>(block));
    for (float* at = x; at < x + n; at += block) {
        for (int half = 1; half < block; half *= 2)
            for (int i = 0; i < block; i += 2 * half)
                for (int j = i; j < i + half; ++j) {
                    const float a = at[j];
                    const float b = at[j + half];
                    at[j] = a + b;
                    at[j + half] = a - b;
                }
        for (int i = 0; i < block; ++i) at[i] *= scale;
    }
}

}}}  // namespace cairn::kernels
