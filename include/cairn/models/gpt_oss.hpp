// gpt-oss (its published code): a Llama block with biases, windows in every second layer, a sink a
// head beside the scores, experts with biases and a clamped gate. Folders hold gate and up of all
// experts in one tensor, number by number: plain as [in][out], or in mxfp4 as [out][in].
#pragma once

#include "cairn/models/mixtures.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// The experts of a layer, and how they are read.
struct GptOssExperts {
    std::ptrdiff_t count, hidden, width;
    bool blocks;  // a folder's matrices are [out][in]
    SoftmaxRouter router;
    ClampedGate gate{};

    [[gnu::cold]] void lines(TensorTable& to, int layer) const {
        const auto stack = [&](std::ptrdiff_t out, std::ptrdiff_t in) -> TensorShape {
            return {{count, blocks ? out : in, blocks ? in : out}};
        };
        to.layer(layer, {{"mlp.router.weight", "ffn_gate_inp.weight", {{count, width}}},
                         {"mlp.router.bias", "ffn_gate_inp.bias", {{count}}},
                         {"mlp.experts.gate_up_proj", "", stack(2 * hidden, width)},
                         {"mlp.experts.gate_up_proj_bias", "", {{count, 2 * hidden}}},
                         {"mlp.experts.down_proj", "", stack(width, hidden)},
                         {"", "ffn_gate_exps.weight", {{count, hidden, width}}},
                         {"", "ffn_gate_exps.bias", {{count, hidden}}},
                         {"", "ffn_up_exps.weight", {{count, hidden, width}}},
                         {"", "ffn_up_exps.bias", {{count, hidden}}},
                         {"", "ffn_down_exps.weight", {{count, width, hidden}}},
                         {"mlp.experts.down_proj_bias", "ffn_down_exps.bias", {{count, width}}}});
    }
    AnyFeedForward read(WeightReader& reader, const std::string& hf,
                        const std::string& gguf) const {
        const std::string at = hf + "mlp.experts.";
        const bool apart = reader.format() == ModelFormat::gguf;
        const std::string gates = apart ? gguf + "ffn_gate_exps" : at + "gate_up_proj";
        const std::string ups = apart ? gguf + "ffn_up_exps" : gates;
        const std::string downs = apart ? gguf + "ffn_down_exps" : at + "down_proj";
        const std::vector<float> gate_bias = reader.vector(gates + (apart ? ".bias" : "_bias"));
        const std::vector<float> up_bias = apart ? reader.vector(ups + ".bias") : gate_bias;
        const std::vector<float> down_bias = reader.vector(at + "down_proj_bias");
        // Every `step`th output of an expert from `first` on, of `all`.
        const auto linear = [&](const std::string& name, const std::vector<float>& biases, int e,
                                std::ptrdiff_t all, std::ptrdiff_t in, std::ptrdiff_t first,
                                std::ptrdiff_t step) {
            std::vector<float> bias;
            for (std::ptrdiff_t i = first; i < all; i += step)
                bias.push_back(biases[static_cast<std::size_t>(e * all + i)]);
            if (apart) return Linear(reader.matrix(name + ".weight", e), std::move(bias));
            if (!blocks) return Linear(reader.turned(name, {in, {}, e * in}, first, step), bias);
            const auto row = [=](std::ptrdiff_t r) { return e * all + first + r * step; };
            return Linear(reader.matrix(name, {all / step, row}), std::move(bias));
        };
        const std::ptrdiff_t step = apart ? 1 : 2;
        std::vector<Expert> experts;
        for (int e = 0; e < count; ++e)
            experts.push_back({linear(gates, gate_bias, e, step * hidden, width, 0, step),
                               linear(ups, up_bias, e, step * hidden, width, step - 1, step),
                               linear(downs, down_bias, e, width, hidden, 0, 1)});
        return AnyFeedForward(Experts<SoftmaxRouter, ClampedGate>(
            router, reader.linear(hf + "mlp.router"), std::move(experts), std::nullopt, gate));
    }
};

}  // namespace internal

/// The numbers of a gpt-oss. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_gpt_oss_config(ModelNumbers& n, const TensorSource& s) {
    StandardConfig c = read_standard(n, {.usual_kv_heads = 8, .usual_head = 64});
    c.names.mlp_norm.gguf = "post_attention_norm";
    c.names.sinks = {"self_attn.sinks", "attn_sinks.weight"};
    c.qkv_bias = c.out_bias = bias_need(n, "attention_bias", true);
    internal::read_expert_numbers(n, c, {"num_local_experts", "expert_count"}, 128, 4);
    c.experts.router.weights = SoftmaxRouter::Weights::shares;
    const int hidden = n.count({"", "expert_feed_forward_length"}, (1 << 24) / 8, c.hidden);
    const char* in = "model.layers.0.mlp.experts.down_proj";
    const bool blocks = !n.gguf() && s.shape(in) != nullptr && !is_plain(s.type(in));
    internal::GptOssExperts own{c.experts.count, hidden, c.shape.width, blocks, c.experts.router};
    const double limit = n.number({"swiglu_limit"}, 7.0);
    const double alpha = n.number({"swiglu_alpha"}, 1.702);
    internal::require_between(n, {}, "swiglu_limit", limit, 1e-6, 1e6);
    internal::require_between(n, {}, "swiglu_alpha", alpha, 1e-3, 1e3);
    own.gate = {static_cast<float>(limit), static_cast<float>(alpha)};
    c.own = {std::bind_front(&internal::GptOssExperts::lines, own),
             std::bind_front(&internal::GptOssExperts::read, own)};
    rotate_all(c, n, {.usual_theta = 150000.0});
    RotaryScaling& scaling = c.rotations.front().scaling;
    const bool said = n.gguf() || n.has({"rope_parameters"}) || n.has({"rope_scaling"});
    if (!said) scaling = {RotaryScaling::Kind::yarn, 32.0, 4096.0};
    if (n.gguf() || !said) scaling.whole_pairs = false;  // as in the model's own code
    for (StandardLayer& layer : c.layers) layer.experts = true;
    set_windows(c, n, n.count({"sliding_window", "attention.sliding_window"}, 1 << 24, 128),
                [](int layer) { return layer % 2 == 0; });
    c.not_in_gguf = "GGUF files of gpt-oss are read only";
    return c;
}

}}  // namespace cairn
