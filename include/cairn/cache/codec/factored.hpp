// A layer's inputs by their coordinates in the bases that its projections to keys and values look
// at: XQuant's form for grouped heads (Tomar, Hooper et al. 2025, arXiv 2508.10395), as large as
// keys and values, and easier to write in few bits.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/seam/codec_policy.hpp"
#include "cairn/numeric/symmetric_eigen.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

/// W^T = U S B^T, the largest S first: to = U^T [out][in], from = B S [out][out]. What is beyond
/// the rank is zero in both.
[[gnu::cold]] inline void factor_by_svd(const float* w, int out, int in, float* to, float* from) {
    const auto n = static_cast<std::size_t>(out);
    const auto row = [&](const float* of, int r) { return of + std::ptrdiff_t{r} * in; };
    std::vector<double> gram(n * n);
    for (int i = 0; i < out; ++i)
        for (int j = 0; j <= i; ++j) {
            double sum = 0.0;
            for (int k = 0; k < in; ++k)
                sum = std::fma(double{row(w, i)[k]}, double{row(w, j)[k]}, sum);
            gram[static_cast<std::size_t>(i) * n + static_cast<std::size_t>(j)] = sum;
            gram[static_cast<std::size_t>(j) * n + static_cast<std::size_t>(i)] = sum;
        }
    const SymmetricEigen eigen(std::move(gram), out);
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return eigen.value(a) > eigen.value(b); });
    const double least = 1e-12 * std::max(eigen.value(order[0]), 0.0);
    std::vector<double> sums(static_cast<std::size_t>(in));
    for (int c = 0; c < out; ++c) {
        const int k = order[static_cast<std::size_t>(c)];
        const bool there = eigen.value(k) > least;
        const double s = there ? std::sqrt(eigen.value(k)) : 0.0;
        std::fill(sums.begin(), sums.end(), 0.0);
        for (int j = 0; j < out; ++j) {
            const double b = eigen.vector(j, k);
            from[std::ptrdiff_t{j} * out + c] = static_cast<float>(b * s);
            for (int i = 0; there && i < in; ++i) {
                double& sum = sums[static_cast<std::size_t>(i)];
                sum = std::fma(b, double{row(w, j)[i]}, sum);
            }
        }
        for (int i = 0; i < in; ++i)
            to[std::ptrdiff_t{c} * in + i] =
                static_cast<float>(there ? sums[static_cast<std::size_t>(i)] / s : 0.0);
    }
}

}  // namespace internal

/// Rows of coordinates as `T` writes keys and values of one head as wide as all KV heads: those for
/// keys X U_k, those for values X U_v. Attention makes keys and values of them, as of inputs. The
/// bases are found once a layer, when its first rows are staged.
template <CodecPolicy T>
struct Factored {
    T inner{};

    static constexpr std::string_view suffix = "+svd";
    static constexpr std::string_view help =
        "keeps the layer's inputs in the bases of its projections";
    static constexpr CodecFacts over(CodecFacts inner) noexcept {
        inner.nests |= inner.kind != RowKind::ready || inner.leading;
        inner.factored = true;
        inner.kind = RowKind::input;
        return inner;
    }
    /// Throws Error{invalid_argument} for a codec that keeps something else.
    StreamPlan plan(const StreamShape& shape) const {
        StreamShape joined = shape;
        joined.heads = 1;
        joined.dims = shape.heads * shape.dims;
        StreamPlan plan = plan_of(inner, joined);
        require(plan.kind == RowKind::ready && !plan.leading && !plan.forms.empty(),
                ErrorCode::invalid_argument, "coordinates of inputs: ", internal::codec_word(inner),
                " keeps no plain rows");
        plan.kind = RowKind::input;
        plan.made = &internal::float_rows();
        plan.factored = &internal::factor_by_svd;
        return plan;
    }
};

}}  // namespace cairn
