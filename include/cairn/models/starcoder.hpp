// StarCoder (GPT-BigCode: a GPT-2 whose query heads share one head of keys and values) and
// StarCoder2 (rotary, grouped heads, a plain feed-forward). Their published code.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a GPT-BigCode. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_gpt_bigcode_config(ModelNumbers& n) {
    StandardNumbers numbers;
    numbers.layers = {"n_layer", "block_count"};
    numbers.width = {"n_embd", "embedding_length"};
    numbers.hidden = {"n_inner", "feed_forward_length"};
    numbers.context = {"n_positions", "context_length"};
    numbers.heads = {"n_head", "attention.head_count"};
    numbers.kv_heads = numbers.head = {};
    numbers.epsilon = {"layer_norm_epsilon", gguf_layer_norm_epsilon};
    numbers.usually_tied = true;
    StandardConfig c = read_standard(n, numbers);
    StandardNames& names = c.names;
    names.left_out = "transformer.";
    names.embedding = {"transformer.wte", "token_embd"};
    names.positions = {"transformer.wpe", "position_embd"};
    names.final_norm = {"transformer.ln_f", "output_norm"};
    names.hf_layers = "transformer.h.";
    names.attention_norm = {"ln_1", "attn_norm"};
    names.qkv = {"attn.c_attn", "attn_qkv"};
    names.out = {"attn.c_proj", "attn_output"};
    names.mlp_norm = {"ln_2", "ffn_norm"};
    names.gate = {};
    names.up = {"mlp.c_fc", "ffn_up"};
    names.down = {"mlp.c_proj", "ffn_down"};
    c.norm = NormKind::layer;
    c.mlp = MlpKind::gelu_new;
    c.qkv_bias = c.out_bias = c.mlp_bias = Need::always;
    n.one_of({"activation_function"}, "gelu_pytorch_tanh", {"gelu_pytorch_tanh", "gelu_new"});
    if (n.gguf() || n.boolean({"multi_query"}, true)) {
        c.shape.heads.kv_heads = 1;
        n.note("attention.head_count_kv", std::int64_t{1});
    } else {
        c.joined = JoinedRows::by_head;
        c.not_in_gguf = "GGUF files of starcoder have one head of keys and values";
    }
    if (!n.boolean({"scale_attn_weights"}, true)) {
        c.attention_scale = 1.0F;
        c.not_in_gguf = "GGUF files of starcoder have scaled scores";
    }
    return c;
}

/// The numbers of a StarCoder2. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_starcoder2_config(ModelNumbers& n) {
    StandardNumbers numbers;
    numbers.epsilon = {"norm_epsilon", gguf_layer_norm_epsilon};
    numbers.usual_kv_heads = 2;
    numbers.usually_tied = true;
    StandardConfig c = read_standard(n, numbers);
    c.names.gate = {};
    c.names.up = {"mlp.c_fc", "ffn_up"};
    c.names.down = {"mlp.c_proj", "ffn_down"};
    c.norm = NormKind::layer;
    c.mlp = MlpKind::gelu_new;
    c.qkv_bias = c.out_bias = c.mlp_bias = bias_need(n, "use_bias", true);
    n.one_of({"hidden_act"}, "gelu_pytorch_tanh", {"gelu_pytorch_tanh", "gelu_new"});
    n.one_of({"norm_type"}, "layer_norm", {"layer_norm"});
    rotate_all(c, n);
    const auto window = n.integer({"sliding_window"}, 0, 1 << 24, 0);
    for (StandardLayer& layer : c.layers) layer.window = static_cast<int>(window);
    if (window > 0) c.not_in_gguf = "GGUF files of starcoder2 have no windows";
    return c;
}

}}  // namespace cairn
