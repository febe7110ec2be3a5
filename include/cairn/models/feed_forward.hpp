// The usual feed-forward parts of a recipe, by Hugging Face's names: SwiGLU, and experts made of
// it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cairn/layers/experts.hpp"
#include "cairn/models/weight_reader.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Adds the lines of a layer's experts, MLP.experts.0.gate_proj.weight and on; in GGUF files a
/// stack each.
[[gnu::cold]] inline void add_expert_lines(TensorTable& to, int layer, std::ptrdiff_t experts,
                                           std::ptrdiff_t hidden, std::ptrdiff_t width) {
    to.layer(
        layer,
        {{"mlp.experts.*.gate_proj.weight", "ffn_gate_exps.weight", {experts, hidden, width}},
         {"mlp.experts.*.up_proj.weight", "ffn_up_exps.weight", {experts, hidden, width}},
         {"mlp.experts.*.down_proj.weight", "ffn_down_exps.weight", {experts, width, hidden}}});
}

/// AT.gate_proj, AT.up_proj and AT.down_proj. Throws what the reader throws, as read_experts does.
[[gnu::cold]] inline SwiGlu read_swiglu(WeightReader& reader, const std::string& at) {
    Linear gate = reader.linear(at + ".gate_proj");
    Linear up = reader.linear(at + ".up_proj");
    return {std::move(gate), std::move(up), reader.linear(at + ".down_proj")};
}
/// What the parts of experts are called, without ".weight"; a star is an expert's number.
struct ExpertNames {
    std::string gate;
    std::string up;
    std::string down;
};
/// So many experts.
[[gnu::cold]] inline std::vector<Expert> read_experts(WeightReader& reader,
                                                      const ExpertNames& names, int experts) {
    std::vector<Expert> result;
    for (int e = 0; e < experts; ++e) {
        Linear gate = reader.linear(names.gate, e);
        Linear up = reader.linear(names.up, e);
        result.push_back({std::move(gate), std::move(up), reader.linear(names.down, e)});
    }
    return result;
}
/// The experts of `add_expert_lines`; `mlp` is what stands in front of ".experts".
[[gnu::cold]] inline std::vector<Expert> read_experts(WeightReader& reader, const std::string& mlp,
                                                      int experts) {
    const std::string at = mlp + ".experts.*.";
    return read_experts(reader, ExpertNames{at + "gate_proj", at + "up_proj", at + "down_proj"},
                        experts);
}

}}  // namespace cairn
