// The rows of one sequence in a batch, and attention of all of them over their caches.
#pragma once

#include <new>
#include <span>

#include "cairn/attention/engine.hpp"
#include "cairn/layers/linear.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The rows of one sequence inside a batch, and where its keys and values of this layer live.
struct BatchSlice {
    CacheRef cache;
    int first_row;  ///< in the batch
    int rows;
    int position;      ///< of the first row in its sequence
    int capacity = 0;  ///< in tokens, that the sequence was made with
};

namespace internal {

/// Rows of `out` = attention of the rows of q, heads side by side, over their slices' caches.
/// Single rows of several sequences go together: they may share rows of their caches.
inline void attend_slices(std::span<const BatchSlice> slices, const Activations& q,
                          const AttentionParameters& parameters, int heads, const Activations& out,
                          Context& context) {
    Workspace::Frame frame(context.workspace());
    auto* together = frame.array<BatchQuery>(slices.size());
    std::size_t count = 0;
    for (const BatchSlice& slice : slices) {
        const float* first = q.row(slice.first_row);
        float* to = out.row(slice.first_row);
        if (slice.rows == 1)
            new (together + count++) BatchQuery{slice.cache, first, slice.position, to};
        else
            attend(slice.cache, {first, q.stride, slice.rows, slice.position}, parameters, heads,
                   to, out.stride, context);
    }
    attend_batch({together, count}, parameters, heads, context);
}

}  // namespace internal

}}  // namespace cairn
