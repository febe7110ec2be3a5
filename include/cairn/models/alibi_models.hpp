// BLOOM (BigScience 2022) and MPT (MosaicML 2023): positions by ALiBi. BLOOM norms the embedding
// and holds queries, keys and values head by head; MPT has no biases and may clamp its projections.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a BLOOM. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_bloom_config(ModelNumbers& n) {
    StandardNumbers numbers;
    numbers.layers = {n.has({"n_layer"}) ? "n_layer" : "num_hidden_layers", "block_count"};
    numbers.width = {n.has({"hidden_size"}) ? "hidden_size" : "n_embed", "embedding_length"};
    numbers.heads = {n.has({"n_head"}) ? "n_head" : "num_attention_heads", "attention.head_count"};
    numbers.hidden = {"", "feed_forward_length"};
    // Any number of positions can be told apart; GGUF files write the width here, which means
    // nothing.
    numbers.context = {"seq_length", ""};
    numbers.usual_context = 2048;
    numbers.kv_heads = numbers.head = {};
    numbers.epsilon = {"layer_norm_epsilon", gguf_layer_norm_epsilon};
    numbers.usually_tied = true;
    StandardConfig c = read_standard(n, numbers);
    n.note("context_length", std::int64_t{c.shape.context});
    n.note("feed_forward_length", std::int64_t{c.hidden});
    StandardNames& names = c.names;
    names.left_out = "transformer.";
    names.embedding = {"transformer.word_embeddings", "token_embd"};
    names.embedding_norm = {"transformer.word_embeddings_layernorm", "token_embd_norm"};
    names.final_norm = {"transformer.ln_f", "output_norm"};
    names.hf_layers = "transformer.h.";
    names.qkv = {"self_attention.query_key_value", "attn_qkv"};
    names.out = {"self_attention.dense", "attn_output"};
    names.gate = {};
    names.up = {"mlp.dense_h_to_4h", "ffn_up"};
    names.down = {"mlp.dense_4h_to_h", "ffn_down"};
    c.norm = NormKind::layer;
    c.joined = JoinedRows::by_head;
    c.mlp = MlpKind::gelu_new;
    c.qkv_bias = c.out_bias = c.mlp_bias = Need::always;
    c.alibi_bias = 8.0;
    if (!n.gguf() && n.boolean({"apply_residual_connection_post_layernorm"}, false)) {
        c.residual.onto = Residual::Onto::normed_row;
        c.not_in_gguf = "GGUF files of bloom add to rows, not to normed rows";
    }
    return c;
}

/// The numbers of an MPT. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_mpt_config(ModelNumbers& n) {
    StandardNumbers numbers;
    numbers.layers = {"n_layers", "block_count"};
    numbers.width = {"d_model", "embedding_length"};
    numbers.hidden = {"", "feed_forward_length"};
    numbers.context = {"max_seq_len", "context_length"};
    numbers.heads = {"n_heads", "attention.head_count"};
    numbers.kv_heads = numbers.head = {};
    numbers.epsilon = {"layer_norm_epsilon", gguf_layer_norm_epsilon};
    numbers.usually_tied = true;
    StandardConfig c = read_standard(n, numbers);
    n.note("feed_forward_length", std::int64_t{c.hidden});
    StandardNames& names = c.names;
    names.embedding = {"transformer.wte", "token_embd"};
    names.final_norm = {"transformer.norm_f", "output_norm"};
    names.hf_layers = "transformer.blocks.";
    names.attention_norm = {"norm_1", "attn_norm"};
    names.qkv = {"attn.Wqkv", "attn_qkv"};
    names.out = {"attn.out_proj", "attn_output"};
    names.mlp_norm = {"norm_2", "ffn_norm"};
    names.gate = {};
    names.up = {"ffn.up_proj", "ffn_up"};
    names.down = {"ffn.down_proj", "ffn_down"};
    c.norm = NormKind::layer_without_bias;
    c.mlp = MlpKind::gelu;
    // Hugging Face's code takes 8 whatever the file says; in GGUF files 0 means none.
    c.alibi_bias = n.number({"", "attention.max_alibi_bias"}, 8.0);
    require(c.alibi_bias > 0.0 && c.alibi_bias <= 64.0, ErrorCode::unsupported, n.where(),
            ": attention.max_alibi_bias ", c.alibi_bias, "; above 0, at most 64");
    const NumberName clamp{"attn_config.clip_qkv", "attention.clamp_kqv"};
    if (n.has(clamp)) c.clamp = static_cast<float>(n.number(clamp));
    require(c.clamp >= 0.0F && c.clamp < 1e30F, n.code(), n.where(), ": clip_qkv ", c.clamp);
    if (n.has({"attn_config.softmax_scale"})) {
        c.attention_scale = static_cast<float>(n.number({"attn_config.softmax_scale"}));
        c.not_in_gguf = "GGUF files of mpt do not hold a scale of scores";
    }
    return c;
}

}}  // namespace cairn
