// Gemma 2 and Gemma 3 (text; their published code): four norms a block with weights that are stored
// less one, a scaled embedding, a tanh-GELU gate, windows in most layers. Gemma 2 caps scores and
// logits, Gemma 3 norms queries and keys and turns them by another base in its sliding layers.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

[[gnu::cold]] inline StandardConfig read_gemma_config(ModelNumbers& n, int huge,
                                                      StandardNumbers numbers = {}) {
    numbers.usual_epsilon = 1e-6;
    numbers.usual_kv_heads = 4;
    numbers.usual_head = 256;
    numbers.usually_tied = true;
    StandardConfig c = read_standard(n, numbers);
    c.names.attention_post_norm = {"post_attention_layernorm", "post_attention_norm"};
    c.names.mlp_norm = {"pre_feedforward_layernorm", "ffn_norm"};
    c.names.mlp_post_norm = {"post_feedforward_layernorm", "post_ffw_norm"};
    c.norm = NormKind::rms_plus_one;
    c.mlp = MlpKind::gelu_new_gated;
    read_attention_bias(c, n);
    n.one_of({"hidden_activation"}, "gelu_pytorch_tanh", {"gelu_pytorch_tanh", "gelu_new"});
    n.refuse({"use_bidirectional_attention"});
    c.embedding_scale = std::sqrt(static_cast<float>(c.shape.width));
    // GGUF files do not say the scale: it follows from the number of layers.
    const int head = c.shape.heads.key_dim;
    const double stored =
        c.shape.layers == huge ? double(c.shape.width) / c.shape.heads.heads : double(head);
    const double scale = n.number({"query_pre_attn_scalar"}, n.gguf() ? stored : 256.0);
    require(scale > 0.0 && scale < 1e9, n.code(), n.where(), ": query_pre_attn_scalar ", scale);
    c.attention_scale = static_cast<float>(1.0 / std::sqrt(scale));
    if (scale != stored)
        c.not_in_gguf = "GGUF files of Gemma do not hold its query_pre_attn_scalar";
    return c;
}
// null means no cap, absent the usual one.
[[gnu::cold]] inline float read_cap(ModelNumbers& n, const NumberName& name, double usual) {
    if (!n.has(name) && (n.contains(name) || usual == 0.0)) return 0.0F;
    const double cap = n.number(name, usual);
    require(cap >= 0.0 && cap < 1e6, n.code(), n.where(), ": a soft cap of ", cap);
    return static_cast<float>(cap);
}

}  // namespace internal

/// The numbers of a Gemma 2. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_gemma2_config(ModelNumbers& n) {
    StandardConfig c = internal::read_gemma_config(n, 46);
    c.attention_cap =
        internal::read_cap(n, {"attn_logit_softcapping", "attn_logit_softcapping"}, 50.0);
    c.logits.cap =
        internal::read_cap(n, {"final_logit_softcapping", "final_logit_softcapping"}, 30.0);
    if (c.attention_cap == 0.0F || c.logits.cap == 0.0F)
        c.not_in_gguf = "GGUF files of gemma2 have soft caps of scores and of logits";
    rotate_all(c, n);
    const int window = n.count({"sliding_window", "attention.sliding_window"}, 1 << 24, 4096);
    set_windows(c, n, window, [](int layer) { return layer % 2 == 0; });
    return c;
}

/// The numbers of a Gemma 3. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_gemma3_config(ModelNumbers& n) {
    // Folders of models that see pictures say little of the text part: the rest is the class's.
    StandardConfig c = internal::read_gemma_config(
        n, 62, {.usual_context = 131072, .usual_heads = 8, .usual_vocabulary = 262208});
    c.names.q_norm = {"self_attn.q_norm", "attn_q_norm"};
    c.names.k_norm = {"self_attn.k_norm", "attn_k_norm"};
    c.query_key_norm = QueryKeyNormKind::head;
    c.logits.cap = internal::read_cap(n, {"final_logit_softcapping"}, 0.0);
    if (c.logits.cap > 0.0F) c.not_in_gguf = "GGUF files of gemma3 have no cap of logits";
    rotate_all(c, n, {.usual_theta = 1e6, .kind = "full_attention"});
    c.rotations.push_back(read_rotary(n, c.rotations.front().dims, c.shape.context,
                                      {.theta = {"rope_local_base_freq", "rope.freq_base_swa"},
                                       .usual_theta = 1e4,
                                       .kind = "sliding_attention",
                                       .scaled = false}));
    const int window = n.count({"sliding_window", "attention.sliding_window"}, 1 << 24, 4096);
    // A list in GGUF files marks layers.
    const NumberName pattern{"_sliding_window_pattern", "attention.sliding_window_pattern"};
    const bool marks = n.gguf() && n.integers(pattern).size() > 1;
    const int period =
        marks ? 6 : n.count(pattern, 1024, n.count({"sliding_window_pattern"}, 1024, 6));
    set_windows(c, n, window, [period](int layer) { return (layer + 1) % period != 0; });
    for (StandardLayer& layer : c.layers) layer.rotation = layer.window > 0 ? 1 : 0;
    check_two_rotations(c, Bases::two);
    return c;
}

}}  // namespace cairn
