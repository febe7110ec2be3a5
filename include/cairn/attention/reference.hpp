// The naive reference: attention as its definition reads, for any scalar type. Nothing here is
// fast; it is the oracle of the tests and the path of scalars that have no kernels (double).
#pragma once

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "cairn/attention/parameters.hpp"
#include "cairn/core/eigen.hpp"
#include "cairn/core/fp_environment.hpp"

namespace cairn { inline namespace CAIRN_ABI {

template <class Scalar>
using MatrixOf = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// softmax(q k^T scale) v, heads side by side in each row. q is [rows][heads * key_dim] and stands
/// at the last `rows` positions of k [keys][kv_heads * key_dim] and v [keys][kv_heads * value_dim]
/// (the mask is aligned bottom-right). A row that sees nothing gives zeros. Throws
/// Error{shape_mismatch}.
template <class Scalar>
MatrixOf<Scalar> reference_attention(const MatrixOf<Scalar>& q, const MatrixOf<Scalar>& k,
                                     const MatrixOf<Scalar>& v, const HeadLayout& layout,
                                     const AttentionParameters& parameters) {
    validate(layout);
    const FpEnvironment environment;
    require(q.cols() == layout.heads * layout.key_dim &&
                k.cols() == layout.kv_heads * layout.key_dim &&
                v.cols() == layout.kv_heads * layout.value_dim && k.rows() == v.rows() &&
                q.rows() <= k.rows(),
            ErrorCode::shape_mismatch, "reference attention: q ", q.rows(), "x", q.cols(), ", k ",
            k.rows(), "x", k.cols(), ", v ", v.rows(), "x", v.cols(), " for ", layout.heads, "/",
            layout.kv_heads, " heads of ", layout.key_dim, "/", layout.value_dim);
    MatrixOf<Scalar> out = MatrixOf<Scalar>::Zero(q.rows(), layout.heads * layout.value_dim);
    const Eigen::Index offset = k.rows() - q.rows();
    std::vector<Scalar> scores;
    for (Eigen::Index row = 0; row < q.rows(); ++row) {
        const Eigen::Index position = offset + row;
        const Eigen::Index window = parameters.mask.window();
        const Eigen::Index first = window > position ? 0 : position - window + 1;
        for (int head = 0; head < layout.heads; ++head) {
            const int kv = head / layout.group();
            scores.clear();
            Scalar most = -std::numeric_limits<Scalar>::infinity();
            for (Eigen::Index j = first; j <= position; ++j) {
                Scalar s = q.row(row)
                               .segment(head * layout.key_dim, layout.key_dim)
                               .dot(k.row(j).segment(kv * layout.key_dim, layout.key_dim)) *
                           Scalar(parameters.scale);
                const auto cap = Scalar(parameters.soft_cap);
                if (cap > 0) s = cap * std::tanh(s / cap);
                if (!parameters.alibi.empty())
                    s += Scalar(parameters.alibi[static_cast<std::size_t>(head)]) *
                         Scalar(j - position);
                scores.push_back(s);
                most = std::max(most, s);
            }
            if (most == -std::numeric_limits<Scalar>::infinity()) continue;
            Scalar sum = 0;
            if (!parameters.sinks.empty()) {
                const auto sink = Scalar(parameters.sinks[static_cast<std::size_t>(head)]);
                most = std::max(most, sink);
                sum = std::exp(sink - most);
            }
            auto result = out.row(row).segment(head * layout.value_dim, layout.value_dim);
            for (Eigen::Index j = first; j <= position; ++j) {
                const Scalar p = std::exp(scores[static_cast<std::size_t>(j - first)] - most);
                sum += p;
                result += p * v.row(j).segment(kv * layout.value_dim, layout.value_dim);
            }
            result /= sum;
        }
    }
    return out;
}

}}  // namespace cairn
