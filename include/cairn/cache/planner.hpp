// What a cache will cost, before anything is allocated: the formulas behind bytes() and
// payload_bytes(), without a cache. Equal to what is then allocated, to the byte (tested).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "cairn/cache/cache_spec.hpp"

namespace cairn::inline CAIRN_ABI {

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

namespace detail {

// Bytes of one stream whose coldest form is written up to `end` and read from `oldest` on.
inline std::size_t stream_bytes(const CacheSpec& spec, const StreamFormat& format, int heads,
                                int dims, const Extent& extent, int rows, int front, int oldest) {
    constexpr std::string_view what = "cache bytes";
    std::size_t sum = 0;
    for (int f = 0; f < format.count; ++f) {
        const Form& form = format.forms[static_cast<std::size_t>(f)];
        const int end = Stream::written_after(format, f, rows);
        if (f + 1 < format.count) {
            sum = checked_add(sum,
                              ContiguousRows::bytes_for(*form.codec, heads, dims,
                                                        Stream::hot_extent(form, extent), end),
                              what);
        } else if (spec.store() == CacheSpec::StoreKind::paged) {
            const int block = spec.store_number();
            const int blocks = (end + block - 1) / block;
            const int gone =
                std::max(0, std::min(oldest / block, blocks) - (front + block - 1) / block);
            const std::size_t unit_bytes =
                checked_mul(form.codec->unit_bytes(dims), static_cast<std::size_t>(heads), what);
            sum = checked_add(
                sum,
                checked_mul(static_cast<std::size_t>(blocks - gone),
                            checked_mul(form.codec->units(block), unit_bytes, what), what),
                what);
        } else if (spec.disk()) {
            sum = checked_add(
                sum,
                SpilledRows::bytes_for(*form.codec, heads, dims, extent, end, spec.memory_rows()),
                what);
        } else {
            sum = checked_add(sum, ContiguousRows::bytes_for(*form.codec, heads, dims, extent, end),
                              what);
        }
    }
    return sum;
}

}  // namespace detail

/// The cost of one layer's cache for one sequence. Throws Error{invalid_argument} for a layout or a
/// sequence that cannot be, Error{limit} where bytes overflow 64 bits.
inline CachePlan plan_cache(const CacheSpec& spec, const HeadLayout& layout,
                            const SequencePlan& sequence) {
    validate(layout);
    for (const int rows : {sequence.capacity, sequence.tokens, sequence.prompt})
        require(rows >= 0 && rows <= row_limit, ErrorCode::invalid_argument, "plan: ", rows,
                " rows; 0 to ", row_limit, " are possible");
    const StreamFormat formats[] = {spec.keys(), spec.values()};
    const int dims[] = {layout.key_dim, layout.value_dim};
    CachePlan plan;
    const int n = sequence.tokens;
    if (!spec.scoring()) {
        const PositionKeep keep = spec.position_keep();
        const Extent extent = keep.extent(sequence.capacity, detail::PositionRows::chunk);
        const int oldest = keep.window > 0 ? std::max(keep.sinks, n - keep.window + 1) : 0;
        const int held = keep.window > 0 ? std::min(n, keep.reach()) : n;
        // While a chunk is staged, nothing behind it has been given back yet.
        const int before = std::max(0, n - detail::PositionRows::chunk);
        const int oldest_before =
            keep.window > 0 ? std::max(keep.sinks, before - keep.window + 1) : 0;
        for (int s = 0; s < 2; ++s) {
            plan.payload = checked_add(
                plan.payload, Stream::payload_bytes(formats[s], layout.kv_heads, dims[s], n, held),
                "cache bytes");
            plan.committed =
                checked_add(plan.committed,
                            detail::stream_bytes(spec, formats[s], layout.kv_heads, dims[s], extent,
                                                 n, keep.sinks, oldest),
                            "cache bytes");
            plan.peak = checked_add(plan.peak,
                                    detail::stream_bytes(spec, formats[s], layout.kv_heads, dims[s],
                                                         extent, n, keep.sinks, oldest_before),
                                    "cache bytes");
        }
        return plan;
    }
    // Rows chosen by score: slots, and one more where one is evicted at every step.
    const int budget = spec.budget();
    const bool once =
        spec.keep() == CacheSpec::KeepKind::snapkv || spec.keep() == CacheSpec::KeepKind::nacl;
    const int prompt = std::min(sequence.prompt, n);
    int slots = n;
    int held = n;
    if (once) {
        if (prompt > budget && n > prompt) slots = n - (prompt - budget);
        if (prompt > budget && n >= sequence.prompt) held = n - (prompt - budget);
    } else if (n > prompt) {
        slots = std::min(n, budget + 1);
        held = std::min(n, budget);
    } else if (n == sequence.prompt) {
        held = std::min(n, budget);
    }
    const Extent extent{sequence.capacity, 0, 0, 0};
    const int most = std::max(slots, prompt);
    for (int s = 0; s < 2; ++s) {
        plan.payload = checked_add(
            plan.payload, Stream::payload_bytes(formats[s], layout.kv_heads, dims[s], held, held),
            "cache bytes");
        plan.committed = checked_add(
            plan.committed,
            detail::stream_bytes(spec, formats[s], layout.kv_heads, dims[s], extent, slots, 0, 0),
            "cache bytes");
        plan.peak = checked_add(
            plan.peak,
            detail::stream_bytes(spec, formats[s], layout.kv_heads, dims[s], extent, most, 0, 0),
            "cache bytes");
    }
    return plan;
}

/// The cost of `sequences` sequences on a model whose layers are all of one layout.
inline CachePlan plan_model(const CacheSpec& spec, const HeadLayout& layout, int layers,
                            int sequences, const SequencePlan& sequence) {
    CachePlan plan = plan_cache(spec, layout, sequence);
    require(layers >= 0 && sequences >= 0, ErrorCode::invalid_argument, "plan: ", layers,
            " layers of ", sequences, " sequences");
    const std::size_t times =
        static_cast<std::size_t>(layers) * static_cast<std::size_t>(sequences);
    plan.payload = checked_mul(plan.payload, times, "cache bytes");
    plan.committed = checked_mul(plan.committed, times, "cache bytes");
    plan.peak = checked_mul(plan.peak, times, "cache bytes");
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

/// Bytes of one row of keys or values in a codec by name; 0 for an unknown one. Kivi: old rows.
constexpr std::size_t codec_row_bytes(std::string_view codec, int dims, bool keys) {
    using namespace kernels::cached;
    struct Entry {
        std::string_view name;
        RowLayout layout;
    };
    const Entry entries[] = {{"q8_0", q8_0},         {"q5_1", q5_1},  {"q5_0", q5_0},
                             {"q4_1", q4_1},         {"q4_0", q4_0},  {"iq4_nl", iq4_nl},
                             {"int8", int8},         {"int4", q4_1},  {"fp8_e4m3", fp8_e4m3},
                             {"fp8_e5m2", fp8_e5m2}, {"kivi4", q4_1}, {"kivi2", int2}};
    if (codec == "f32") return static_cast<std::size_t>(dims) * 4;
    if (codec == "f16" || codec == "bf16") return static_cast<std::size_t>(dims) * 2;
    if (keys && (codec == "kivi4" || codec == "kivi2"))
        return static_cast<std::size_t>(
            (channel_bytes(codec == "kivi4" ? 4 : 2, dims) + channel_group - 1) / channel_group);
    for (const Entry& e : entries)
        if (e.name == codec)
            return static_cast<std::size_t>(keys ? e.layout.tile_bytes(dims) / kernels::key_tile
                                                 : e.layout.row_bytes(dims));
    return 0;
}

/// The textbook formula at compile time: layers x tokens x kv_heads x (key + value bytes) of a
/// cache that keeps all rows in one codec.
constexpr std::size_t payload_bytes(int layers, const HeadLayout& layout, std::string_view codec,
                                    std::size_t tokens) {
    return static_cast<std::size_t>(layers) * tokens * static_cast<std::size_t>(layout.kv_heads) *
           (codec_row_bytes(codec, layout.key_dim, true) +
            codec_row_bytes(codec, layout.value_dim, false));
}

}  // namespace cairn::inline CAIRN_ABI
