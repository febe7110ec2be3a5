// Granite 3 (its published code): a Llama with four factors: of the embedding, of what each part
// adds, of scores, and the number that logits are divided by.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a Granite. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_granite_config(ModelNumbers& n) {
    StandardNumbers numbers;
    numbers.usual_epsilon = 1e-6;
    StandardConfig c = read_standard(n, numbers);
    c.pairing = Pairing::interleaved_in_gguf;
    c.qkv_bias = c.out_bias = bias_need(n, "attention_bias", false);
    c.mlp_bias = bias_need(n, "mlp_bias", false);
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    const auto factor = [&](std::string_view hf, std::string_view gguf, double usual) {
        const double value = n.number({hf, gguf}, usual);
        require(std::abs(value) < 1e6, n.code(), n.where(), ": ", n.gguf() ? gguf : hf, " ", value);
        return static_cast<float>(value);
    };
    c.embedding_scale = factor("embedding_multiplier", "embedding_scale", 1.0);
    c.residual.scale = factor("residual_multiplier", "residual_scale", 1.0);
    // GGUF files that do not say it mean the usual scale, folders mean 1.
    c.attention_scale = factor("attention_multiplier", "attention.scale", n.gguf() ? 0.0 : 1.0);
    const float divisor = factor("logits_scaling", "logit_scale", 1.0);
    require(divisor != 0.0F, n.code(), n.where(), ": logits divided by 0");
    c.logits.scale = 1.0F / divisor;
    rotate_all(c, n);
    return c;
}

}}  // namespace cairn
