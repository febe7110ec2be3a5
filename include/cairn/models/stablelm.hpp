// StableLM (its published code): LayerNorms, SwiGLU, a share of each head rotated; attention and
// feed-forward one after the other or side by side behind one norm, queries and keys normed by an
// own weight a head or not.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a StableLM. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_stablelm_config(ModelNumbers& n,
                                                         const TensorSource& source) {
    StandardNumbers numbers;
    numbers.epsilon = {"layer_norm_eps", gguf_layer_norm_epsilon};
    numbers.usual_kv_heads = 32;
    StandardConfig c = read_standard(n, numbers);
    c.norm = NormKind::layer;
    c.qkv_bias = bias_need(n, "use_qkv_bias", false);
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    // In GGUF files the tensors tell, since converters did not always write the option.
    const bool parallel = n.gguf() ? source.shape("blk.0.ffn_norm.weight") == nullptr
                                   : n.boolean({"use_parallel_residual"}, false);
    n.note("use_parallel_residual", parallel);
    if (parallel) {
        c.residual.order = Residual::Order::parallel;
        c.names.mlp_norm = {};
    }
    const bool normed = n.gguf() ? source.shape("blk.0.attn_q_norm.weight") != nullptr
                                 : n.boolean({"qk_layernorm"}, false);
    if (normed) {
        // Folders have a tensor a head: no more of them than a file may hold.
        const HeadLayout& heads = c.shape.heads;
        const auto norms = std::int64_t{c.shape.layers} * (heads.heads + heads.kv_heads);
        require(n.gguf() || norms <= 1 << 18, n.code(), n.where(), ": norms of ", norms, " heads");
        c.query_key_norm = QueryKeyNormKind::own_head;
        c.names.q_norm = {"self_attn.q_layernorm.norms.*", "attn_q_norm"};
        c.names.k_norm = {"self_attn.k_layernorm.norms.*", "attn_k_norm"};
    }
    rotate_all(c, n, {}, rotated_share(n, "partial_rotary_factor", 0.25));
    return c;
}

}}  // namespace cairn
