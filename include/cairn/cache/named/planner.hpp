// What a cache will cost, before anything is allocated: the formulas behind bytes() and
// payload_bytes(), without a cache. Equal to what is then allocated, to the byte (tested).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "cairn/cache/named/cache_spec.hpp"
#include "cairn/cache/named/textbook.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Bytes of caches.
struct CachePlan {
    std::size_t payload = 0;    ///< the textbook formula for the rows held at the end, on disk too
    std::size_t committed = 0;  ///< memory in use at the end: rounding to units, pages and blocks
    std::size_t peak = 0;       ///< the most in use on the way there
    CachePlan& operator+=(const CachePlan& other) noexcept {
        payload += other.payload;
        committed += other.committed;
        peak += other.peak;
        return *this;
    }
};

/// A sequence to plan for.
struct SequencePlan {
    int capacity = 0;  ///< rows the cache is made for
    int tokens = 0;    ///< tokens fed
    int prompt = 0;    ///< of these, announced as a prompt
};

namespace internal {

// Rows chosen by score: those held at the end by all heads, and slots at the end and on the way
// there. Slots are of the head that has most.
struct PlannedSlots {
    std::size_t held = 0;
    int slots = 0;
    int most = 0;
};
inline PlannedSlots planned_slots(const Scorer& scorer, const HeadLayout& layout, int layer,
                                  const SequencePlan& sequence) {
    const int n = sequence.tokens;
    const int prompt = std::min(sequence.prompt, n);
    PlannedSlots plan;
    for (int h = 0; h < layout.kv_heads; ++h) {
        const int budget = scorer.budget_of(h, layer, sequence.prompt);
        // Where heads share a budget one of them may have it all.
        const int room = static_cast<int>(std::min<std::int64_t>(
            scorer.spreads() ? std::int64_t{budget} * layout.kv_heads : budget, row_limit));
        int slots = n;
        int held = n;
        if (scorer.when() == Evicts::at_prompt_end) {
            if (prompt > room && n > prompt) slots = n - (prompt - room);
            if (prompt > budget && n >= sequence.prompt) held = n - (prompt - budget);
        } else if (n > prompt) {
            slots = budget < n ? budget + 1 : n;  // one more where one is evicted at every step
            held = std::min(n, budget);
        } else if (n == sequence.prompt) {
            held = std::min(n, budget);
        }
        plan.held += static_cast<std::size_t>(held);
        plan.slots = std::max(plan.slots, slots);
        plan.most = std::max({plan.most, slots, prompt});
    }
    return plan;
}

}  // namespace internal

/// The cost of one layer's cache for one sequence. Throws what AnyCache's constructor throws,
/// Error{invalid_argument} for a sequence that cannot be, Error{limit} where bytes overflow 64
/// bits.
inline CachePlan plan_cache(const AnyStore& store, const AnyKeep& keep, const AnyRead& read,
                            const HeadLayout& layout, const SequencePlan& sequence, int layer = 0) {
    using namespace internal;
    validate(layout);
    for (const int rows : {sequence.capacity, sequence.tokens, sequence.prompt})
        require(rows >= 0 && rows <= row_limit, ErrorCode::invalid_argument, "plan: ", rows,
                " rows; 0 to ", row_limit, " are possible");
    const KeepFacts facts = keep.facts_now();
    const FixedVector<StreamSpec> streams =
        plan_streams(store, facts, read.facts_now(), layout, layer).streams;
    CachePlan plan;
    // One sum over the streams: rows held of so many, rows staged and read at the end and before.
    const auto add = [&](const Extent& extent, int payload_rows, int held, int rows, int most,
                         int front, int oldest, int oldest_before) {
        for (const StreamSpec& stream : streams) {
            const auto sum = [](std::size_t& to, std::size_t bytes) {
                to = checked_add(to, bytes, "cache bytes");
            };
            sum(plan.payload, AgedRows::payload_bytes(stream.plan, stream.heads, stream.dims,
                                                      payload_rows, held));
            sum(plan.committed, stream_bytes(store, stream, extent, rows, front, oldest));
            sum(plan.peak, stream_bytes(store, stream, extent, most, front, oldest_before));
        }
    };
    if (facts.by_score) {
        const auto scorer = keep.scorer(layout);
        require(scorer != nullptr, ErrorCode::invalid_argument, "a keep without a scorer");
        const PlannedSlots slots = planned_slots(*scorer, layout, layer, sequence);
        add({sequence.capacity, 0, 0, 0}, 0, 0, slots.slots, slots.most, 0, 0, 0);
        for (const StreamSpec& stream : streams)
            plan.payload =
                checked_add(plan.payload,
                            checked_mul(slots.held, stream.plan.coldest().row_bytes(stream.dims),
                                        "cache bytes"),
                            "cache bytes");
        return plan;
    }
    const Extent extent = keep.extent(sequence.capacity, PositionBook::chunk);
    const int n = sequence.tokens;
    const int front = extent.recent > 0 ? extent.pinned : 0;
    const auto oldest = [&](int rows) {
        return extent.recent > 0 ? std::max(front, rows - extent.recent + 1) : 0;
    };
    const std::int64_t window = std::int64_t{extent.pinned} + extent.recent;
    const int held = extent.recent > 0 ? static_cast<int>(std::min<std::int64_t>(n, window)) : n;
    // While a chunk is staged, nothing behind it has been given back yet.
    add(extent, n, held, n, n, front, oldest(n), oldest(std::max(0, n - PositionBook::chunk)));
    if (const auto reader = read.reader(layout, layer)) {
        const std::size_t pages =
            PageBook<AnyRead>::bytes_for(*reader, layout, sequence.capacity, n);
        plan.committed = checked_add(plan.committed, pages, "cache bytes");
        plan.peak = checked_add(plan.peak, pages, "cache bytes");
    }
    return plan;
}
/// The same for a cache whose queries read all rows.
inline CachePlan plan_cache(const AnyStore& store, const AnyKeep& keep, const HeadLayout& layout,
                            const SequencePlan& sequence, int layer = 0) {
    return plan_cache(store, keep, AnyRead(), layout, sequence, layer);
}
/// The same for a cache by name.
inline CachePlan plan_cache(const CacheSpec& spec, const HeadLayout& layout,
                            const SequencePlan& sequence, int layer = 0) {
    return plan_cache(spec.store(), spec.keep(), spec.read(), layout, sequence, layer);
}

/// The cost of `sequences` sequences on a model whose layers are all of one layout. Where heads
/// share a budget, memory is the most that it can be.
inline CachePlan plan_model(const CacheSpec& spec, const HeadLayout& layout, int layers,
                            int sequences, const SequencePlan& sequence) {
    require(layers >= 0 && sequences >= 0, ErrorCode::invalid_argument, "plan: ", layers,
            " layers of ", sequences, " sequences");
    // Layers may differ, in what they keep and in how they are read.
    HeadLayout of_model = layout;
    of_model.layers = layers;
    constexpr int told_apart = 4096;  // more than any model has; those behind are like the last
    const auto multiply = [](CachePlan& of, int times) {
        for (std::size_t* bytes : {&of.payload, &of.committed, &of.peak})
            *bytes = checked_mul(*bytes, static_cast<std::size_t>(times), "cache bytes");
    };
    CachePlan plan;
    for (int layer = 0; layer < std::min(layers, told_apart); ++layer)
        plan += plan_cache(spec, of_model, sequence, layer);
    if (layers > told_apart) {
        CachePlan last = plan_cache(spec, of_model, sequence, told_apart - 1);
        multiply(last, layers - told_apart);
        plan += last;
    }
    multiply(plan, sequences);
    return plan;
}

/// The most tokens a sequence can have if all `sequences` together peak at no more than `budget`
/// bytes; the whole text is the prompt. 0 if not one token fits.
inline int longest_context(const CacheSpec& spec, const HeadLayout& layout, int layers,
                           int sequences, std::size_t budget, int most) {
    int low = 0;
    int high = std::min(most, row_limit);
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        const CachePlan plan =
            plan_model(spec, layout, layers, sequences, {middle, middle, middle});
        if (plan.peak <= budget)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/// The most sequences of `tokens` tokens that peak at no more than `budget` bytes together.
inline std::size_t most_sequences(const CacheSpec& spec, const HeadLayout& layout, int layers,
                                  int tokens, std::size_t budget) {
    const CachePlan one = plan_model(spec, layout, layers, 1, {tokens, tokens, tokens});
    return one.peak == 0 ? 0 : budget / one.peak;
}

}}  // namespace cairn
