// Phi-3 and Phi-4-mini (their published code): a Llama block whose files hold queries, keys and
// values in one tensor, gate and up in another; a share of each head may be rotated, by other
// frequencies in sequences longer than what it was first trained on (longrope).
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a Phi-3. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_phi3_config(ModelNumbers& n, const TensorSource& source) {
    StandardConfig c = read_standard(n);
    c.names.qkv = {"self_attn.qkv_proj", "attn_qkv"};
    c.names.gate_up = {"mlp.gate_up_proj", "ffn_up"};
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    n.refuse({"attention_bias", "mlp_bias"});
    rotate_all(c, n, {.longrope = !n.gguf() || longrope_in_gguf(n, source)},
               rotated_share(n, "partial_rotary_factor", 1.0));
    const auto window = n.integer({"sliding_window", "attention.sliding_window"}, 0, 1 << 24, 0);
    for (StandardLayer& layer : c.layers) layer.window = static_cast<int>(window);
    return c;
}

}}  // namespace cairn
