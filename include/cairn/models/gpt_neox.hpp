// GPT-NeoX and Pythia (Black et al. 2022): attention and feed-forward side by side, each behind a
// LayerNorm of its own, a share of each head rotated; one tensor holds queries, keys and values,
// head by head.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a GPT-NeoX. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_gpt_neox_config(ModelNumbers& n) {
    StandardNumbers numbers;
    numbers.kv_heads = numbers.head = {};
    numbers.epsilon = {"layer_norm_eps", gguf_layer_norm_epsilon};
    StandardConfig c = read_standard(n, numbers);
    StandardNames& names = c.names;
    names.embedding = {"gpt_neox.embed_in", "token_embd"};
    names.final_norm = {"gpt_neox.final_layer_norm", "output_norm"};
    names.output = {"embed_out", "output"};
    names.hf_layers = "gpt_neox.layers.";
    names.qkv = {"attention.query_key_value", "attn_qkv"};
    names.out = {"attention.dense", "attn_output"};
    names.gate = {};
    names.up = {"mlp.dense_h_to_4h", "ffn_up"};
    names.down = {"mlp.dense_4h_to_h", "ffn_down"};
    c.norm = NormKind::layer;
    c.joined = JoinedRows::by_head;
    c.qkv_bias = c.out_bias = bias_need(n, "attention_bias", true);
    c.mlp_bias = n.gguf() ? Need::optional : Need::always;
    // GGUF files do not say the activation; GPT-NeoX was trained with the exact one.
    const std::string activation = n.word({"hidden_act"}, "gelu");
    c.mlp = activation == "gelu" ? MlpKind::gelu : MlpKind::gelu_new;
    n.one_of({"hidden_act"}, "gelu", {"gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast"});
    if (c.mlp != MlpKind::gelu) c.not_in_gguf = "GGUF files of gptneox do not say the activation";
    const NumberName parallel{"use_parallel_residual", "use_parallel_residual"};
    const bool beside = n.boolean(parallel, true);
    n.note(parallel.gguf, beside);
    if (beside) c.residual.order = Residual::Order::parallel;
    rotate_all(c, n,
               {.theta = {n.has({"rotary_emb_base"}) ? "rotary_emb_base" : "rope_theta",
                          "rope.freq_base"}},
               rotated_share(n, "rotary_pct", 0.25));
    return c;
}

}}  // namespace cairn
