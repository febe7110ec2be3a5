// Phi-3 and Phi-4-mini (their published code): a Llama block whose files hold queries, keys and
// values in one tensor, gate and up in another; a share of each head may be rotated. Longrope is
// not supported.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a Phi-3. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_phi3_config(ModelNumbers& n) {
    StandardConfig c = read_standard(n);
    c.names.qkv = {"self_attn.qkv_proj", "attn_qkv"};
    c.names.gate_up = {"mlp.gate_up_proj", "ffn_up"};
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    n.refuse({"attention_bias", "mlp_bias"});
    // In these files yarn is another word for longrope.
    for (const std::string_view in : {"rope_scaling", "rope_parameters"})
        for (const std::string_view key : {".type", ".rope_type"})
            if (!n.gguf() && n.has({in}))
                require(n.word({std::string(in).append(key)}, "") != "yarn", ErrorCode::unsupported,
                        n.where(), ": ", in, " yarn, which means longrope");
    rotate_all(c, n, {}, rotated_share(n, "partial_rotary_factor", 1.0));
    const auto window = n.integer({"sliding_window", "attention.sliding_window"}, 0, 1 << 24, 0);
    for (StandardLayer& layer : c.layers) layer.window = static_cast<int>(window);
    return c;
}

}}  // namespace cairn
