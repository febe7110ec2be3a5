// Qwen3 (its published code): a Llama block whose queries and keys are RMS-normed head by head
// before rotation. The width of a head is 128 unless said; windows only where an option turns them
// on.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// What Qwen3 and Qwen3-MoE share.
[[gnu::cold]] inline StandardConfig read_qwen3_shape(ModelNumbers& n, int usual_kv_heads,
                                                     int usual_head) {
    StandardNumbers numbers;
    numbers.usual_epsilon = 1e-6;
    numbers.usual_kv_heads = usual_kv_heads;
    numbers.usual_head = usual_head;
    StandardConfig c = read_standard(n, numbers);
    c.names.q_norm = {"self_attn.q_norm", "attn_q_norm"};
    c.names.k_norm = {"self_attn.k_norm", "attn_k_norm"};
    c.query_key_norm = QueryKeyNormKind::head;
    read_attention_bias(c, n);
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    rotate_all(c, n);
    return c;
}

// The window of files that have one behind an option; 0: none.
[[gnu::cold]] inline int read_switched_window(ModelNumbers& n) {
    const bool null = n.contains({"sliding_window"}) && !n.has({"sliding_window"});
    if (n.gguf() || !n.boolean({"use_sliding_window"}, false) || null) return 0;
    return n.count({"sliding_window"}, 1 << 24, 4096);
}

}  // namespace internal

/// The numbers of a Qwen3. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_qwen3_config(ModelNumbers& n) {
    StandardConfig c = internal::read_qwen3_shape(n, 32, 128);
    if (const int window = internal::read_switched_window(n); window > 0) {
        const auto first = n.integer({"max_window_layers"}, 0, 1 << 24, 28);
        set_windows(c, n, window, [first](int layer) { return layer >= first; });
        c.not_in_gguf = "GGUF files of qwen3 have no windows";
    }
    return c;
}

}}  // namespace cairn
