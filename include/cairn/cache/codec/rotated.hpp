// Rows turned by a Hadamard matrix before they are encoded: outliers spread over a head's dims, and
// few bits lose less. Queries and outputs are turned along; the answer changes only by rounding.
#pragma once

#include "cairn/cache/seam/codec_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The rows of another codec, turned first. It says of itself what the other one says.
template <CodecPolicy T>
struct Rotated {
    T inner{};

    static constexpr std::string_view suffix = "+rot";
    static constexpr std::string_view help = "turns rows by a Hadamard matrix first";
    static constexpr CodecFacts over(CodecFacts inner) noexcept {
        inner.turned = true;
        return inner;
    }
    StreamPlan plan(const StreamShape& shape) const {
        StreamPlan plan = plan_of(inner, shape);
        plan.rotated = true;
        return plan;
    }
};

}}  // namespace cairn
