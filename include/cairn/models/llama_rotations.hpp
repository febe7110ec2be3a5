// A Llama, Mistral or Qwen2 whose rows turn in a way that Llama's own recipe has no place for: by
// frequencies that the session's capacity chooses (longrope), by a YaRN whose ramp is not
// truncated. The same numbers and tensors, put together from the usual parts.
#pragma once

#include "cairn/models/llama.hpp"
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
    const int predicting = internal::predicting_layers(n);
    require(predicting == 0, ErrorCode::unsupported, n.where(), ": ", predicting,
            " layers that predict further tokens are not read beside this rotation");
    const bool qwen2 = n.architecture() == "qwen2";
    StandardNumbers numbers;
    numbers.usual_epsilon = 1e-6;
    StandardConfig c = read_standard(n, numbers);
    c.pairing = qwen2 ? Pairing::half : Pairing::interleaved_in_gguf;
    c.qkv_bias = qwen2 ? Need::always : Need::never;
    const int window = internal::read_llama_window(n);
    for (StandardLayer& layer : c.layers) layer.window = window;
    rotate_all(c, n, {.longrope = longrope_in_gguf(n, source)});
    // llama.cpp reads longrope's divisors of a Llama.
    const bool longrope = c.rotations.front().scaling.kind == RotaryScaling::Kind::longrope;
    if (longrope && !qwen2) c.not_in_gguf.clear();
    return c;
}

}}  // namespace cairn
