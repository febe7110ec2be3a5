// A Llama, Mistral or Qwen2 whose rows turn in a way that Llama's own recipe has no place for: by
// frequencies that the session's capacity chooses (longrope), by a YaRN whose ramp is not
// truncated. The same numbers and tensors, put together from the usual parts.
#pragma once

#include "cairn/models/standard_decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Whether the files of a Llama say such a rotation.
[[gnu::cold]] inline bool turns_by_usual_parts(const ModelNumbers& n, const TensorSource& source) {
    if (n.gguf()) return source.shape("rope_factors_long.weight") != nullptr;
    const std::string in = n.has({"rope_parameters"}) ? "rope_parameters." : "rope_scaling.";
    const std::string type = n.word({in + "rope_type"}, n.word({in + "type"}, "default"));
    return type == "longrope" || type == "su" ||
           (type == "yarn" && !n.boolean({in + "truncate"}, true));
}

/// The numbers of such a model. Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_turned_llama_config(ModelNumbers& n,
                                                             const TensorSource& source) {
    require(!n.gguf() || source.shape("rope_factors_short.weight") != nullptr, n.code(), n.where(),
            ": one of rope_factors_short and rope_factors_long is missing");
    const auto predicting = n.integer({"num_nextn_predict_layers"}, 0, 1024, 0) +
                            n.integer({"", "nextn_predict_layers"}, 0, 1023, 0);
    require(predicting == 0, ErrorCode::unsupported, n.where(), ": ", predicting,
            " layers that predict further tokens are not read beside this rotation");
    const bool qwen2 = n.architecture() == "qwen2";
    const bool mistral = n.architecture() == "mistral";
    StandardNumbers numbers;
    numbers.usual_epsilon = 1e-6;
    StandardConfig c = read_standard(n, numbers);
    c.pairing = qwen2 ? Pairing::half : Pairing::interleaved_in_gguf;
    c.qkv_bias = qwen2 ? Need::always : Need::never;
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    n.refuse({"attention_bias", "mlp_bias"});
    if (qwen2) n.refuse({"use_sliding_window"});
    const NumberName window{"sliding_window", "attention.sliding_window"};
    // A missing window means Mistral 7B's, null means none; GGUF files write 0 for none.
    if (n.gguf() || mistral) {
        const int usual = mistral && !n.contains(window) ? 4096 : 0;
        const auto rows = n.integer(window, n.gguf() ? 0 : 1, 1 << 24, usual);
        for (StandardLayer& layer : c.layers) layer.window = static_cast<int>(rows);
    }
    rotate_all(c, n, {.longrope = n.gguf()});
    // llama.cpp reads longrope's divisors of a Llama.
    const bool longrope = c.rotations.front().scaling.kind == RotaryScaling::Kind::longrope;
    if (longrope && !qwen2) c.not_in_gguf.clear();
    return c;
}

}}  // namespace cairn
