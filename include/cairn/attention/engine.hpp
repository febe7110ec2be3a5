// Attention over a cache: the one function of the float path, whatever the cache is made of, for
// the queries of one sequence or of many at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include "cairn/attention/choose.hpp"
#include "cairn/attention/scores.hpp"
#include "cairn/core/fp_environment.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// One finished call of `attend`, for caches that watch.
struct Attended {
    const Queries* queries;
    const AttentionParameters* parameters;
    int heads;
    const float* out;
    std::ptrdiff_t out_stride;
    Context* context;
};

/// The last row of one sequence: its heads side by side at `q`, not rotated; the result at `out`.
struct BatchQuery {
    CacheRef cache;
    const float* q = nullptr;
    int position = 0;
    float* out = nullptr;
};

namespace internal {

// What attention asks of a cache and queries before it computes anything: the layout with its query
// heads.
[[gnu::noinline]] inline HeadLayout check_attend(CacheRef cache, const Queries& queries,
                                                 const AttentionParameters& parameters, int heads) {
    HeadLayout layout = cache.layout();
    require(layout.kv_heads > 0 && layout.key_dim > 0 && layout.value_dim > 0, ErrorCode::bad_state,
            "attend: a cache of ", layout.kv_heads, " KV heads of ", layout.key_dim, "/",
            layout.value_dim, "; it was moved from, or never made");
    require(heads > 0 && heads % layout.kv_heads == 0, ErrorCode::shape_mismatch, "attend: ", heads,
            " query heads over ", layout.kv_heads, " KV heads");
    layout.heads = heads;
    require(queries.rows >= 0 && queries.position >= 0, ErrorCode::invalid_argument,
            "attend: ", queries.rows, " rows at position ", queries.position);
    const std::int64_t end = std::int64_t{queries.position} + queries.rows;
    require(end <= std::min(cache.length(), row_limit), ErrorCode::bad_state,
            "attend: queries up to position ", end - 1, ", but only ", cache.length(),
            " rows were staged");
    require(parameters.alibi.empty() || parameters.alibi.size() == static_cast<std::size_t>(heads),
            ErrorCode::shape_mismatch, "attend: ", parameters.alibi.size(), " ALiBi slopes for ",
            heads, " heads");
    require(parameters.sinks.empty() || parameters.sinks.size() == static_cast<std::size_t>(heads),
            ErrorCode::shape_mismatch, "attend: ", parameters.sinks.size(), " sinks for ", heads,
            " heads");
    require(parameters.rotation == nullptr || end <= parameters.rotation->positions(),
            ErrorCode::invalid_argument, "attend: position ", end - 1, " is past the ",
            parameters.rotation ? parameters.rotation->positions() : 0, " rotary positions");
    return layout;
}

inline void attend_members(std::span<Member> members, const AttentionParameters& parameters,
                           int heads, Context& context) {
    HeadLayout layout;
    for (const Member& m : members) {
        const HeadLayout mine = check_attend(m.cache, m.queries, parameters, heads);
        require(&m == members.data() || mine == layout, ErrorCode::shape_mismatch,
                "attend_batch: sequence ", &m - members.data(),
                " has another layout than the first");
        layout = mine;
    }
    if (members.empty() || members[0].queries.rows == 0) return;
    const FpEnvironment environment;
    for (const Member& m : members) {
        show_queries(m.cache, m.queries, layout, parameters, context);
        show_notes(m.cache, m.queries, layout, parameters, context);
    }
    const auto chooses = [](const Member& m) { return m.cache.rows_read() != nullptr; };
    if (std::any_of(members.begin(), members.end(), chooses))
        ChoosingReducer(members, layout, parameters, context).run();
    else
        Reducer(members, layout, parameters, context).run();
    for (const Member& m : members) {
        report_scores(m.cache, m.queries, layout, parameters, context);
        m.cache.on_attended({&m.queries, &parameters, heads, m.out, m.out_stride, &context});
    }
}

}  // namespace internal

/// out[row][head * value_dim ...] = attention of the queries over the committed and staged rows of
/// `cache`. Extra memory is a constant number of tiles. Throws Error{shape_mismatch,
/// invalid_argument, bad_state} before anything is computed, Error{io} if rows on disk cannot be
/// read; the cache is never changed.
inline void attend(CacheRef cache, const Queries& queries, const AttentionParameters& parameters,
                   int heads, float* out, std::ptrdiff_t out_stride, Context& context) {
    internal::Member only{cache, queries, out, out_stride};
    internal::attend_members({&only, 1}, parameters, heads, context);
}

/// attend() of one row for every sequence of the batch, in one go; the caches have one layout and
/// are all different. Bit for bit what attend() gives for each. Throws as attend does.
inline void attend_batch(std::span<const BatchQuery> batch, const AttentionParameters& parameters,
                         int heads, Context& context) {
    Workspace::Frame frame(context.workspace());
    auto* members = frame.array<internal::Member>(batch.size());
    for (std::size_t i = 0; i < batch.size(); ++i)
        new (members + i) internal::Member{
            batch[i].cache, {batch[i].q, 0, 1, batch[i].position}, batch[i].out, 0};
    internal::attend_members({members, batch.size()}, parameters, heads, context);
}

}}  // namespace cairn
