// SmolLM3 (its published code): a Llama whose every fourth layer is not rotated, or those that a
// list names.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a SmolLM3. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_smollm3_config(ModelNumbers& n) {
    StandardNumbers numbers;
    numbers.usual_epsilon = 1e-6;
    numbers.usual_kv_heads = 4;
    StandardConfig c = read_standard(n, numbers);
    c.pairing = Pairing::interleaved_in_gguf;
    read_attention_bias(c, n);
    c.mlp_bias = bias_need(n, "mlp_bias", false);
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    rotate_all(c, n, {.usual_theta = 2e6});
    const std::vector<std::int64_t> rotated = n.integers({"no_rope_layers"});
    require(rotated.empty() || rotated.size() == c.layers.size(), n.code(), n.where(),
            ": no_rope_layers names ", rotated.size(), " layers of ", c.layers.size());
    const int period = n.count({"no_rope_layer_interval"}, 1024, 4);
    for (std::size_t i = 0; i < c.layers.size(); ++i) {
        const bool fourth = (i + 1) % static_cast<std::size_t>(period) == 0;
        const bool turns = rotated.empty() ? !fourth : rotated[i] != 0;
        if (!turns) c.layers[i].rotation = -1;
        if (turns == ((i + 1) % 4 == 0))
            c.not_in_gguf = "GGUF files of smollm3 rotate all layers but every fourth";
    }
    if (!n.gguf() && n.boolean({"use_sliding_window"}, false) && n.has({"sliding_window"})) {
        set_windows(c, n, n.count({"sliding_window"}, 1 << 24), [&](int layer) {
            return c.layers[static_cast<std::size_t>(layer)].rotation < 0;
        });
        c.not_in_gguf = "GGUF files of smollm3 have no windows";
    }
    return c;
}

}}  // namespace cairn
