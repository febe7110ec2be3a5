// The row streams of one layer's cache: keys and values, or one stream of rows that values are read
// from too. What a store, two codecs and a layout come to; bookkeeping and planner
// start here.
#pragma once

#include <utility>
#include <vector>

#include "cairn/cache/internal/aged_rows.hpp"
#include "cairn/cache/seam/concepts.hpp"
#include "cairn/cache/seam/keep_policy.hpp"
#include "cairn/core/fixed_vector.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// One stream before it is made.
struct StreamSpec {
    StreamPlan plan;
    int heads = 1;
    int dims = 0;
};

/// What a cache of this store will consist of, and its facts.
struct CachePlanSpec {
    FixedVector<StreamSpec> streams{2};  // keys, then values where they are apart
    CacheFacts facts;
};

/// The streams of a store's cache for one layer. Throws Error{invalid_argument} with the sentence
/// of the first rule that is broken.
[[gnu::cold]] inline CachePlanSpec plan_streams(const AnyStore& store, const KeepFacts& keep,
                                                const ReadFacts& read, const HeadLayout& layout,
                                                int layer) {
    const StreamShape shape{
        .layer = layer, .heads = layout.kv_heads, .dims = layout.key_dim, .input = layout.input};
    StreamShape of_values = shape.as_values();
    of_values.dims = layout.value_dim;
    PlannedStream keys = planned(store.keys, shape);
    PlannedStream values = planned(store.values, of_values);
    CachePlanSpec result;
    result.facts = {store.facts_now(), keys.facts, values.facts, keep, read};
    const std::string_view sentence = broken_rule(result.facts);
    require(sentence.empty(), ErrorCode::invalid_argument, "cache ", store.spec(), " of ",
            store.keys.spec(), " and ", store.values.spec(), ": ", sentence);
    for (const PlannedStream* stream : {&keys, &values})
        require(stream->plan.kind == RowKind::ready || stream->plan.made != nullptr,
                ErrorCode::invalid_argument, "cache ", store.spec(),
                ": rows that are made into keys or values, and a plan that does not say how they "
                "lie then");
    const bool from_keys = values.plan.from_keys();
    require(!values.plan.leading || layout.value_dim <= layout.key_dim, ErrorCode::invalid_argument,
            "values of ", layout.value_dim, " numbers are not the leading ones of keys of ",
            layout.key_dim);
    if (keys.plan.factored != nullptr)
        result.streams.emplace_back(std::move(keys.plan), 1, layout.kv_heads * layout.key_dim);
    else if (keys.plan.kind == RowKind::input)
        result.streams.emplace_back(std::move(keys.plan), 1, layout.input);
    else
        result.streams.emplace_back(std::move(keys.plan), layout.kv_heads, layout.key_dim);
    if (values.plan.factored != nullptr)
        result.streams.emplace_back(std::move(values.plan), 1, layout.kv_heads * layout.value_dim);
    else if (!from_keys)
        result.streams.emplace_back(std::move(values.plan), layout.kv_heads, layout.value_dim);
    return result;
}

/// Bytes of a stream whose rows below `rows` are staged, of which the last form still has the
/// pinned front [0, front) and [oldest, ...): what AgedRows::bytes() will say.
[[gnu::cold]] inline std::size_t stream_bytes(const AnyStore& store, const StreamSpec& spec,
                                              const Extent& extent, int rows, int front,
                                              int oldest) {
    std::size_t sum = 0;
    for (int f = 0; f < spec.plan.count(); ++f) {
        const Codec& codec = spec.plan.codec(f);
        const int end = AgedRows::written_after(spec.plan, f, rows);
        const std::size_t bytes =
            f + 1 < spec.plan.count()
                ? ContiguousRows::bytes_for(codec, spec.heads, spec.dims,
                                            AgedRows::hot_extent(spec.plan.form(f), extent), end)
                : store.bytes(codec, spec.heads, spec.dims, extent, end, front, oldest);
        sum = checked_add(sum, bytes, "cache bytes");
    }
    if (spec.plan.pinned > 0)
        sum = checked_add(sum,
                          ContiguousRows::bytes_for(*spec.plan.pinned_codec, spec.heads, spec.dims,
                                                    AgedRows::pinned_extent(spec.plan),
                                                    std::min(rows, spec.plan.pinned)),
                          "cache bytes");
    return sum;
}

/// The streams themselves.
class Streams {
  public:
    /// Throws what the store throws.
    [[gnu::cold]] Streams(const AnyStore& store, FixedVector<StreamSpec> specs,
                          const Extent& extent)
        : streams_(specs.size()) {
        for (StreamSpec& spec : specs)
            streams_.emplace_back(store, std::move(spec.plan), spec.heads, spec.dims, extent);
    }

    AgedRows& keys() noexcept { return streams_.front(); }
    const AgedRows& keys() const noexcept { return streams_.front(); }
    /// The same stream as keys() where values are read from it.
    AgedRows& values() noexcept { return streams_.back(); }
    const AgedRows& values() const noexcept { return streams_.back(); }
    bool from_keys() const noexcept { return streams_.size() == 1; }
    /// What a stage is given.
    RowsWanted rows_wanted() const noexcept {
        return {keys().plan().kind, !from_keys(), keys().plan().factored};
    }
    /// False once it was moved from.
    bool valid() const noexcept { return !streams_.empty(); }

    /// These rows lie beside those of the layer before.
    [[gnu::cold]] void bind(const Streams& before) noexcept {
        for (std::size_t i = 0; i < streams_.size() && i < before.streams_.size(); ++i)
            streams_[i].bind(before.streams_[i]);
    }

    auto begin() noexcept { return streams_.begin(); }
    auto end() noexcept { return streams_.end(); }
    auto begin() const noexcept { return streams_.begin(); }
    auto end() const noexcept { return streams_.end(); }

    /// The same rows, shared until somebody writes.
    [[gnu::cold]] Streams share() const {
        return branch([](const AgedRows& rows) { return rows.share(); });
    }
    /// The rows in memory of their own.
    [[gnu::cold]] Streams copy() const {
        return branch([](const AgedRows& rows) { return rows.copy(); });
    }
    [[gnu::cold]] std::size_t bytes() const noexcept {
        std::size_t sum = 0;
        for (const AgedRows& rows : streams_) sum += rows.bytes();
        return sum;
    }
    [[gnu::cold]] std::size_t payload_bytes(int rows, int held) const {
        std::size_t sum = 0;
        for (const AgedRows& stream : streams_) sum += stream.payload_bytes(rows, held);
        return sum;
    }
    /// The most runs that one interval of rows becomes.
    int runs_of_interval() const noexcept {
        int most = 0;
        for (const AgedRows& stream : streams_) {
            const StreamPlan& plan = stream.plan();
            most = std::max(most, 2 * plan.count() + (plan.pinned > 0 ? 1 : 0));
        }
        return most;
    }
    /// Rows that may be read as values: of a stream of their own, or those of the keys.
    void as_values(Run& run) const noexcept {
        if (from_keys()) run.dims = keys().dims();
    }
    /// What every stage checks of rows from outside. Error{non_finite}.
    void check_finite(const TokenRows& k, const TokenRows& v) const {
        check_finite_rows(keys(), k, "key");
        if (!from_keys()) check_finite_rows(values(), v, "value");
    }

  private:
    Streams() = default;
    template <class Branch>
    [[gnu::cold]] Streams branch(const Branch& of) const {
        Streams result;
        result.streams_ = FixedVector<AgedRows>(streams_.size());
        for (const AgedRows& rows : streams_) result.streams_.emplace_back(of(rows));
        return result;
    }
    static void check_finite_rows(const AgedRows& stream, const TokenRows& rows, const char* what) {
        if (!stream.finite_only()) return;
        for (int r = 0; r < rows.rows; ++r)
            require(kernels::active().all_finite(rows.data + r * rows.stride,
                                                 std::ptrdiff_t{stream.heads()} * stream.dims()),
                    ErrorCode::non_finite, "stage: NaN or infinity in ", what, " row ", r, " of ",
                    rows.rows, "; ", stream.plan().coldest().name, " cannot hold it");
    }
    FixedVector<AgedRows> streams_;
};

}}}  // namespace cairn::internal
