// Mixtral (Jiang et al. 2024) and Qwen3-MoE (its published code): a Mistral and a Qwen3 whose
// feed-forward is a few of many experts. GGUF files call Mixtral llama.
#pragma once

#include "cairn/models/qwen3.hpp"
#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// How many experts there are and a token has. Error{bad_config} for more than there are.
[[gnu::cold]] inline void read_expert_numbers(ModelNumbers& n, StandardConfig& c,
                                              const NumberName& count, int usual_count,
                                              int usual_used) {
    StandardExperts& e = c.experts;
    e.count = n.gguf() ? n.count(count, 1 << 12) : n.count(count, 1 << 12, usual_count);
    const NumberName used{"num_experts_per_tok", "expert_used_count"};
    e.router.experts_used = n.gguf() ? n.count(used, e.count) : n.count(used, e.count, usual_used);
}

}  // namespace internal

/// The numbers of a Mixtral. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_mixtral_config(ModelNumbers& n) {
    StandardNumbers numbers;
    numbers.usual_kv_heads = 8;
    StandardConfig c = read_standard(n, numbers);
    c.pairing = Pairing::interleaved_in_gguf;
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    internal::read_expert_numbers(n, c, {"num_local_experts", "expert_count"}, 8, 2);
    StandardExperts& e = c.experts;
    e.hidden = c.hidden;
    e.router.weights = SoftmaxRouter::Weights::shares;
    e.choice.hf = "block_sparse_moe.gate";
    e.gate.hf = "block_sparse_moe.experts.*.w1";
    e.up.hf = "block_sparse_moe.experts.*.w3";
    e.down.hf = "block_sparse_moe.experts.*.w2";
    rotate_all(c, n, {.usual_theta = n.gguf() ? 1e4 : 1e6});
    const auto window = n.integer({"sliding_window", "attention.sliding_window"}, 0, 1 << 24, 0);
    for (StandardLayer& layer : c.layers) {
        layer.window = static_cast<int>(window);
        layer.experts = true;
    }
    return c;
}

/// The numbers of a Qwen3-MoE. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_qwen3_moe_config(ModelNumbers& n) {
    StandardConfig c = internal::read_qwen3_shape(n, 4, 0);
    const bool local = n.has({"num_local_experts"});
    internal::read_expert_numbers(
        n, c, {local ? "num_local_experts" : "num_experts", "expert_count"}, 128, 8);
    StandardExperts& e = c.experts;
    e.hidden = n.count({"moe_intermediate_size", "expert_feed_forward_length"}, (1 << 24) / 8, 768);
    // GGUF files do not say it: converted models have it.
    const bool shares = n.gguf() || n.boolean({"norm_topk_prob"}, false);
    if (shares) e.router.weights = SoftmaxRouter::Weights::shares;
    if (!shares) c.not_in_gguf = "GGUF files of qwen3moe have shares of the chosen experts";
    const int step = n.count({"decoder_sparse_step"}, 1024, 1);
    const std::vector<std::int64_t> dense = n.integers({"mlp_only_layers"});
    const int window = internal::read_switched_window(n);
    for (int i = 0; i < c.shape.layers; ++i) {
        StandardLayer& layer = c.layers[static_cast<std::size_t>(i)];
        layer.experts =
            (i + 1) % step == 0 && std::find(dense.begin(), dense.end(), i) == dense.end();
        layer.window = window;
        if (!layer.experts) c.not_in_gguf = "GGUF files of qwen3moe have experts in all layers";
    }
    if (window > 0) c.not_in_gguf = "GGUF files of qwen3moe have no windows";
    return c;
}

}}  // namespace cairn
