// Keys kept as they are before rotation, and rotated when they are read (KVQuant, Hooper et al.
// 2024, arXiv 2401.18079): channels that stand out stay where they are, and few bits lose less.
#pragma once

#include <utility>

#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/seam/codec_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The keys of another codec, before rotation; values are its own. stage() takes keys that are not
/// rotated; attention rotates 32 rows at a time for all queries that read them, by the rotation of
/// its parameters. A cache of BareKeys<F32> gives the bits of one of F32.
template <CodecPolicy T>
struct BareKeys {
    T inner{};

    static constexpr std::string_view suffix = "+bare";
    static constexpr std::string_view help = "keeps keys before rotation";
    static constexpr CodecFacts over(CodecFacts inner) noexcept {
        inner.nests |= inner.kind != RowKind::ready || inner.leading;
        inner.kind = RowKind::bare_key;
        return inner;
    }
    /// Throws Error{invalid_argument} for keys that are kept in another way already.
    StreamPlan plan(const StreamShape& shape) const {
        StreamPlan plan = plan_of(inner, shape);
        if (!shape.keys) return plan;
        require(plan.kind == RowKind::ready, ErrorCode::invalid_argument,
                "keys before rotation: ", internal::codec_word(inner), " keeps no keys");
        // Rows that nobody multiplies as they lie are read fastest one after another, as a codec
        // that writes both alike writes values.
        const Codec& keys = plan.coldest();
        if (!plan.ages() && keys.movable && keys.fingerprint() == 0) {
            StreamPlan rows = plan_of(inner, shape.as_values());
            if (rows.count() == 1 && rows.coldest().name == keys.name) plan = std::move(rows);
        }
        plan.kind = RowKind::bare_key;
        plan.made = &internal::float_rows();
        return plan;
    }
};

}}  // namespace cairn
