// The shape that all benchmarks share, and what a forward of it costs.
#pragma once

#include <cairn/models/gpt2.hpp>

namespace bench {

/// GPT-2 124M.
inline cairn::Gpt2Config gpt2_124m() {
    return {.layers = 12, .heads = 12, .width = 768, .context = 1024, .vocabulary = 50257};
}

/// Floating-point operations of a forward of `rows` rows from position 0, last row's logits only.
inline double forward_flops(const cairn::Gpt2& m, double rows) {
    const double d = m.width();
    const double products = 2.0 * 12.0 * d * d;     // with weights, per row
    const double attention = 2.0 * d * (rows + 1);  // q.k and p.v over the visible half
    return rows * m.layers() * (products + attention) + 2.0 * d * m.vocabulary();
}

}  // namespace bench
