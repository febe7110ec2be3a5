// Command-R (Cohere; its published code): one LayerNorm without a bias for attention and
// feed-forward side by side, pairs (2i, 2i + 1) rotated, logits multiplied by a number.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a Command-R. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_cohere_config(ModelNumbers& n,
                                                       const TensorSource& source) {
    StandardNumbers numbers;
    numbers.epsilon = {"layer_norm_eps", gguf_layer_norm_epsilon};
    numbers.usually_tied = true;
    StandardConfig c = read_standard(n, numbers);
    c.names.mlp_norm = {};
    c.norm = NormKind::layer_without_bias;
    c.pairing = Pairing::interleaved;
    c.residual.order = Residual::Order::parallel;
    read_attention_bias(c, n);
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    const double scale = n.number({"logit_scale", "logit_scale"}, 0.0625);
    require(std::abs(scale) < 1e6, n.code(), n.where(), ": logit_scale ", scale);
    c.logits.scale = static_cast<float>(scale);
    const bool normed = n.gguf() ? source.shape("blk.0.attn_q_norm.weight") != nullptr
                                 : n.boolean({"use_qk_norm"}, false);
    if (normed) {
        c.query_key_norm = QueryKeyNormKind::own_head;
        c.names.q_norm = {"self_attn.q_norm", "attn_q_norm"};
        c.names.k_norm = {"self_attn.k_norm", "attn_k_norm"};
        if (c.shape.layers < 64)
            c.not_in_gguf = "GGUF files of command-r norm queries and keys from 64 layers on";
    }
    rotate_all(c, n, {.usual_theta = 5e5});
    return c;
}

}}  // namespace cairn
