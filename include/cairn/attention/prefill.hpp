// Attention for people who use one layer with their own weights: matrices in, matrices out.
#pragma once

#include "cairn/attention/engine.hpp"
#include "cairn/cache/codec/plain.hpp"
#include "cairn/core/eigen.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/kernels/dispatch.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Rows of a matrix as a cache takes them.
inline TokenRows token_rows(const MatrixIn& m) {
    return {m.data(), m.outerStride(), checked_cast<int>(m.rows(), "rows")};
}

namespace internal {

// Error{non_finite} naming the first row of a matrix that has a NaN or an infinity.
inline void require_numbers(const MatrixIn& m, const char* name) {
    for (Eigen::Index r = 0; r < m.rows(); ++r)
        require(kernels::active().all_finite(m.data() + r * m.outerStride(), m.cols()),
                ErrorCode::non_finite, "prefill: NaN or infinity in row ", r, " of ", name);
}

}  // namespace internal

/// Appends the rows of k and v to the cache and returns the attention of q's rows over all of it:
/// stage, attend, commit. Row r of all three is one token; keys must already be rotated where the
/// model rotates them, unless the cache keeps them before rotation. q [rows][heads *
/// key_dim], k [rows][kv_heads * key_dim], v [rows][kv_heads * value_dim], out [rows][heads *
/// value_dim]. Any number of rows gives the same bits: decoding is the case of one. q may also have
/// fewer rows than k: they are then the last ones. Throws Error{shape_mismatch, bad_state,
/// invalid_argument} and Error{non_finite} for NaN and infinity in q, k or v before anything
/// changes, Error{non_finite} for what becomes one. On an exception the cache is as it was; caches
/// that limit the rows of a stage are fed in pieces, and then the pieces before the failing one
/// stay.
template <AttentionCache C>
void prefill(const MatrixIn& q, const MatrixIn& k, const MatrixIn& v, C& cache,
             const AttentionParameters& parameters, MatrixOut out, Context& context) {
    const FpEnvironment environment;
    const HeadLayout layout = cache.layout();
    require(q.rows() <= k.rows() && q.rows() == out.rows() && k.rows() == v.rows(),
            ErrorCode::shape_mismatch, "prefill: q has ", q.rows(), " rows, k ", k.rows(), ", v ",
            v.rows(), ", out ", out.rows());
    // In a cache of inputs k holds the layer's input rows.
    const RowsWanted wanted = cache_wants(cache);
    const bool inputs = wanted.keys == RowKind::input && wanted.factored == nullptr;
    require(q.cols() == layout.heads * layout.key_dim &&
                k.cols() == (inputs ? layout.input : layout.kv_heads * layout.key_dim) &&
                v.cols() == layout.kv_heads * layout.value_dim &&
                out.cols() == layout.heads * layout.value_dim,
            ErrorCode::shape_mismatch, "prefill: q has ", q.cols(), " columns, k ", k.cols(),
            ", v ", v.cols(), ", out ", out.cols(), "; the cache has ", layout.heads, "/",
            layout.kv_heads, " heads of ", layout.key_dim, "/", layout.value_dim);
    require(cache.length() == cache.committed(), ErrorCode::bad_state,
            "prefill: ", cache.length() - cache.committed(),
            " staged rows wait for commit or rollback");
    const float* first = out.data();
    const float* last = first + out.rows() * out.outerStride();
    require(q.size() == 0 || q.data() + q.rows() * q.outerStride() <= first || last <= q.data(),
            ErrorCode::invalid_argument, "prefill: out overlaps q");
    internal::require_numbers(q, "q");
    internal::require_numbers(k, "k");
    internal::require_numbers(v, "v");
    const int rows = checked_cast<int>(k.rows(), "rows");
    const int skipped = rows - static_cast<int>(q.rows());  // rows without queries
    for (int begin = 0; begin < rows;) {
        const int end = begin + std::clamp(cache.max_rows(), 1, rows - begin);
        const int query = std::max(begin - skipped, 0);
        const int queries = std::max(end - skipped, 0) - query;
        cache.stage(token_rows(k.middleRows(begin, end - begin)),
                    token_rows(v.middleRows(begin, end - begin)));
        try {
            attend(cache,
                   {q.data() + query * q.outerStride(), q.outerStride(), queries,
                    cache.length() - queries},
                   parameters, layout.heads, out.data() + query * out.outerStride(),
                   out.outerStride(), context);
            internal::require_numbers(out.middleRows(query, queries), "the result");
        } catch (...) {
            cache.rollback();
            throw;
        }
        cache.commit(end - begin);
        begin = end;
    }
}

/// The keys of one KV head as an Eigen matrix [committed rows][key_dim], without copying. Only for
/// caches whose codec keeps rows of f32 in one block; Error{unsupported} otherwise. Valid until the
/// cache changes.
template <AttentionCache C>
MatrixView key_view(const C& cache, int kv_head);
/// The same for values [committed rows][value_dim].
template <AttentionCache C>
MatrixView value_view(const C& cache, int kv_head);

namespace internal {

inline MatrixView view_of(const RunList& runs, int rows, int dims, int kv_head, int kv_heads) {
    require(kv_head >= 0 && kv_head < kv_heads, ErrorCode::invalid_argument, "view: KV head ",
            kv_head, " of ", kv_heads);
    if (rows == 0) return {nullptr, 0, dims, Eigen::OuterStride<>(dims)};
    const Run& run = runs[0];
    require(runs.size() == 1 && run.block_table == nullptr && run.begin == 0 &&
                run.source == nullptr && run.codec->name == plain_format<ElementType::f32>.name &&
                !run.rotated && run.kind == RowKind::ready,
            ErrorCode::unsupported, "a view needs f32 rows in one block; this cache has ",
            runs.size(), " runs of ", run.codec->name);
    return {reinterpret_cast<const float*>(run.data), rows, dims,
            Eigen::OuterStride<>(run.stride / static_cast<std::ptrdiff_t>(sizeof(float)))};
}

}  // namespace internal

template <AttentionCache C>
MatrixView key_view(const C& cache, int kv_head) {
    RunList keys;
    RunList values;
    cache.runs(kv_head, keys, values);
    return internal::view_of(keys, cache.committed(), cache.layout().key_dim, kv_head,
                             cache.layout().kv_heads);
}
template <AttentionCache C>
MatrixView value_view(const C& cache, int kv_head) {
    RunList keys;
    RunList values;
    cache.runs(kv_head, keys, values);
    return internal::view_of(values, cache.committed(), cache.layout().value_dim, kv_head,
                             cache.layout().kv_heads);
}

}}  // namespace cairn
