// The input rows of a layer in place of its keys and values, which are projected anew when they are
// read: less memory where the layer's width is below that of its keys and values together, for many
// times the computation.
#pragma once

#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/seam/codec_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A layer's input rows, written once as `T` writes values. stage() takes them as k ([rows][width],
/// the layout's `input`); attention makes keys and values of 32 rows at a time, by the projections
/// and the rotation of its parameters, for all queries that read them. With values of their own
/// (Contiguous<Inputs<F16>, Q8_0>) only keys are made. A cache of Inputs<F32> gives the bits of one
/// of F32.
template <CodecPolicy T>
struct Inputs {
    T inner{};

    static constexpr std::string_view suffix = "+inputs";
    static constexpr std::string_view help = "keeps the layer's inputs, projects them when read";
    static constexpr CodecFacts over(CodecFacts inner) noexcept {
        inner.nests |= inner.kind != RowKind::ready || inner.leading;
        inner.key_unit = inner.value_unit;
        inner.kind = RowKind::input;
        return inner;
    }
    /// Throws Error{invalid_argument} where the layout does not say how wide inputs are, or for a
    /// codec that keeps something else.
    StreamPlan plan(const StreamShape& shape) const {
        StreamPlan plan;
        if (shape.keys) {
            require(shape.input > 0, ErrorCode::invalid_argument,
                    "a cache of layer inputs: the layout does not say how wide they are");
            plan = plan_of(inner, shape.of_inputs());
            const CodecFacts said = codec_facts_now(inner).value_or(CodecFacts{});
            require(plan.kind == RowKind::ready && said.kind == RowKind::ready && !plan.leading,
                    ErrorCode::invalid_argument, "layer inputs: ", internal::codec_word(inner),
                    " keeps no plain rows");
        }
        plan.kind = RowKind::input;
        plan.made = &internal::float_rows();
        return plan;
    }
};

}}  // namespace cairn
