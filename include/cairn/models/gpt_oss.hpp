// gpt-oss (its published code): a Llama block with biases, windows in every second layer, a sink a
// head beside the scores, experts with biases and a clamped gate.
#pragma once

#include "cairn/models/joined_experts.hpp"
#include "cairn/models/mixtures.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Whether a folder's experts are in mxfp4: all or none, for such matrices lie [out][in] and plain
// ones [in][out], which sizes alone may not tell.
[[gnu::cold]] inline bool experts_in_blocks(const ModelNumbers& n, const TensorSource& s,
                                            int layers) {
    bool first = true, blocks = false;
    for (int i = 0; i < layers && !n.gguf(); ++i)
        for (const char* part : {"gate_up_proj", "down_proj"}) {
            const std::string name = "model.layers." + std::to_string(i) + ".mlp.experts." + part;
            if (s.shape(name) == nullptr) continue;
            const bool packed = !is_plain(s.type(name));
            if (std::exchange(first, false)) blocks = packed;
            require(packed == blocks, ErrorCode::unsupported, n.where(), ": tensor ", name,
                    packed ? " is" : " is not", " in mxfp4, unlike those of experts before");
        }
    return blocks;
}

// What llama.cpp wants in every file of a gpt-oss and some folders do not hold: biases of attention
// (zeros then), an output layer (the embedding once more).
struct GptOssExport {
    std::ptrdiff_t queries, keys, width, words;
    bool biases, output;

    GptOssExport(const ModelNumbers& n, const StandardConfig& c)
        : queries(std::ptrdiff_t{c.shape.heads.heads} * c.shape.heads.key_dim),
          keys(std::ptrdiff_t{c.shape.heads.kv_heads} * c.shape.heads.key_dim),
          width(c.shape.width),
          words(c.shape.vocabulary),
          biases(!n.gguf() && c.out_bias == Need::never),
          output(!n.gguf() && c.tied) {}
    [[gnu::cold]] void lines(TensorTable& to, int layer) const {
        const auto zeros = [&](const char* part, std::ptrdiff_t count) {
            const std::string name = "blk." + std::to_string(layer) + ".attn_";
            to.add_zeros(name + part + ".bias", static_cast<std::size_t>(count));
        };
        if (biases) zeros("q", queries), zeros("k", keys), zeros("v", keys), zeros("output", width);
        if (output && layer == 0)
            to.add({{.hf = {},
                     .gguf = "output.weight",
                     .shape = {{words, width}},
                     .need = Need::optional,
                     .stand_in = "model.embed_tokens.weight"}});
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
    const bool blocks = internal::experts_in_blocks(n, s, c.shape.layers);
    internal::JoinedExperts own{c.experts.count, hidden, c.shape.width, blocks, c.experts.router};
    const double limit = n.number({"swiglu_limit"}, 7.0);
    const double alpha = n.number({"swiglu_alpha"}, 1.702);
    internal::require_between(n, {}, "swiglu_limit", limit, 1e-6, 1e6);
    internal::require_between(n, {}, "swiglu_alpha", alpha, 1e-3, 1e3);
    own.gate = {static_cast<float>(limit), static_cast<float>(alpha)};
    c.own = {[own, more = internal::GptOssExport(n, c)](TensorTable& to, int layer) {
                 own.lines(to, layer);
                 more.lines(to, layer);
             },
             std::bind_front(&internal::JoinedExperts::read, own)};
    require(n.gguf() || n.has({"rope_parameters"}) || n.has({"rope_scaling"}), n.code(), n.where(),
            ": neither rope_parameters nor rope_scaling");
    rotate_all(c, n, {.usual_theta = 150000.0});
    RotaryScaling& scaling = c.rotations.front().scaling;
    if (n.gguf()) scaling.whole_pairs = false;  // as in the model's own code
    if (scaling.kind == RotaryScaling::Kind::yarn)
        c.not_in_gguf = scaling.whole_pairs ? "GGUF files of gpt-oss mean a ramp as it is" : "";
    if (limit != 7.0 || alpha != 1.702) c.not_in_gguf = "GGUF files cannot say gpt-oss's gate";
    for (StandardLayer& layer : c.layers) layer.experts = true;
    set_windows(c, n, n.count({"sliding_window", "attention.sliding_window"}, 1 << 24, 128),
                [](int layer) { return layer % 2 == 0; });
    return c;
}

}}  // namespace cairn
