// Recent tokens in a hot codec, older ones in a cold one: rows are written cold, from their decoded
// hot form, as they leave the last `recent` tokens. The cut of a prompt changes nothing.
#pragma once

#include "cairn/cache/codec/block.hpp"
#include "cairn/cache/codec/plain.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Keys and values of `Cold` behind the last `recent` tokens, which are of `Hot`.
template <CodecPolicy Cold, CodecPolicy Hot = F16, int last = 512>
struct TwoTiers {
    static_assert(last > 0, "TwoTiers<Cold, Hot, recent>: some tokens must be recent.");
    Cold cold{};
    Hot hot{};
    int recent = last;

    static constexpr CodecFacts over(CodecFacts cold, const CodecFacts& hot) noexcept {
        cold.ages_twice = cold.ages || hot.ages;
        cold.nests |= hot.nests || hot.leading || hot.turned || hot.kind != RowKind::ready ||
                      cold.leading || cold.factored;
        cold.ages = true;
        cold.movable = false;
        return cold;
    }
    static constexpr CodecFacts facts = over(codec_facts<Cold>(), codec_facts<Hot>());
    std::optional<CodecFacts> facts_now() const {
        return over(codec_facts_now(cold).value_or(CodecFacts{}),
                    codec_facts_now(hot).value_or(CodecFacts{}));
    }
    /// Throws Error{invalid_argument} where a tier has several forms.
    StreamPlan plan(const StreamShape& shape) const {
        const StreamPlan old = plan_of(cold, shape);
        const bool inputs = old.kind == RowKind::input;
        if (inputs && !shape.keys) return old;  // read from the rows of the keys
        const StreamPlan fresh = plan_of(hot, inputs ? shape.of_inputs() : shape);
        require(!old.forms.empty() && !fresh.forms.empty(), ErrorCode::invalid_argument,
                "two tiers of ", internal::codec_word(cold), ": a tier keeps no rows of its own");
        require(!old.ages() && !fresh.ages() && recent > 0, ErrorCode::invalid_argument,
                "two tiers, ", recent, " recent rows: a tier cannot itself change form with age");
        StreamPlan plan({{fresh.form(0).codec, 1, recent}, {old.form(0).codec}});
        plan.rotated = old.rotated;
        plan.kind = old.kind;
        plan.made = old.made;
        plan.pinned = old.pinned;
        plan.pinned_codec = old.pinned_codec;
        return plan;
    }
    std::string spec() const { return internal::codec_word(cold); }
};

}}  // namespace cairn
