// OLMo 2 and OLMo 3 (their published code): norms behind each part and none before, queries and
// keys normed over all heads at once. OLMo 3 has windows in three layers of four, and scales the
// rotation of the others.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of an OLMo 2, or of an OLMo 3: it is one if it has a window. Throws what
/// `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_olmo2_config(ModelNumbers& n) {
    const NumberName window{"sliding_window", "attention.sliding_window"};
    const bool third = n.architecture() == "olmo3" || (n.gguf() && n.has(window));
    StandardConfig c = read_standard(n);
    c.names.attention_norm = c.names.mlp_norm = {};
    c.names.attention_post_norm = {"post_attention_layernorm", "post_attention_norm"};
    c.names.mlp_post_norm = {"post_feedforward_layernorm", "post_ffw_norm"};
    c.names.q_norm = {"self_attn.q_norm", "attn_q_norm"};
    c.names.k_norm = {"self_attn.k_norm", "attn_k_norm"};
    c.query_key_norm = QueryKeyNormKind::row;
    read_attention_bias(c, n);
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    rotate_all(c, n,
               {.usual_theta = third ? 5e5 : 1e4,
                .kind = third ? std::string_view("full_attention") : std::string_view()});
    if (!third) return c;
    // Older files say a base for the full layers only.
    c.rotations.push_back(read_rotary(n, c.rotations.front().dims, c.shape.context,
                                      {.theta = {"", "rope.freq_base"},
                                       .usual_theta = 5e5,
                                       .kind = "sliding_attention",
                                       .scaled = false}));
    set_windows(c, n, n.count(window, 1 << 24, 4096),
                [](int layer) { return (layer + 1) % 4 != 0; });
    for (StandardLayer& layer : c.layers) layer.rotation = layer.window > 0 ? 1 : 0;
    check_two_rotations(c, Bases::one);
    return c;
}

}}  // namespace cairn
