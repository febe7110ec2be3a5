// Multi-head attention without rotation in its absorbed form: a cache keeps the layer's inputs x
// and nothing is ever rebuilt of them (XQuant's form for such models: Tomar, Hooper et al. 2025,
// arXiv 2508.10395).
//
//   score of head i:    q_i . (W_K,i x + b_K,i) = (W_K,i^T q_i) . x + q_i . b_K,i
//   what it mixes:      sum p (W_V,i x + b_V,i) = W_V,i (sum p x) + b_V,i
//
// The term with b_K is the same for every row, so the softmax does not see it; weights p sum to 1.
// That is latent attention whose latent is the input.
#pragma once

#include <utility>
#include <vector>

#include "cairn/core/eigen.hpp"
#include "cairn/layers/latent_attention.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What `MultiHead<NoRotation>(layout, qkv, out)` computes, with queries that come to the layer's
/// inputs: caches hold one row of the layer's width a token, once where they are `Latent<Codec>`
/// (+latent). Weights are copied as f32 numbers. Errors as of LatentAttention and MultiHead;
/// Error{shape_mismatch} where qkv does not give the layout's queries, keys and values.
[[gnu::cold]] inline LatentAttention<Absorbed> absorbed_heads(const HeadLayout& layout,
                                                              const Linear& qkv, Linear out,
                                                              float scale = 0.0F) {
    validate(layout);
    const std::ptrdiff_t width = qkv.in();
    const std::ptrdiff_t keys = std::ptrdiff_t{layout.heads} * layout.key_dim;
    const std::ptrdiff_t values = keys + std::ptrdiff_t{layout.kv_heads} * layout.key_dim;
    const std::ptrdiff_t end = values + std::ptrdiff_t{layout.kv_heads} * layout.value_dim;
    require(qkv.out() == end, ErrorCode::shape_mismatch, "absorbed heads: projection to ",
            qkv.out(), " for ", layout.heads, "/", layout.kv_heads, " heads of ", layout.key_dim,
            "/", layout.value_dim);
    const auto part = [&](std::ptrdiff_t first, std::ptrdiff_t rows) {
        RowMatrix m(rows, width);
        for (std::ptrdiff_t r = 0; r < rows; ++r) qkv.weights().row(first + r, m.row(r).data());
        return m;
    };
    const auto with_bias = [&](std::ptrdiff_t first, std::ptrdiff_t rows) {
        const float* b = qkv.bias();
        return Linear(
            WeightMatrix::from(part(first, rows)),
            b != nullptr ? std::vector<float>(b + first, b + first + rows) : std::vector<float>());
    };
    LatentWeights w{.query = with_bias(0, keys),
                    .latent = Linear(WeightMatrix::from(RowMatrix::Identity(width, width))),
                    .key_up = {},
                    .value_up = {},
                    .out = std::move(out)};
    for (int h = 0; h < layout.heads; ++h) {
        const std::ptrdiff_t kv = h / (layout.heads / layout.kv_heads);
        const RowMatrix turned = part(keys + kv * layout.key_dim, layout.key_dim).transpose();
        w.key_up.emplace_back(WeightMatrix::from(turned));
        w.value_up.push_back(with_bias(values + kv * layout.value_dim, layout.value_dim));
    }
    return {{layout.heads, layout.key_dim, 0, layout.value_dim, static_cast<int>(width)},
            std::move(w),
            {},
            scale};
}

}}  // namespace cairn
