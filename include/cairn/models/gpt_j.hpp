// GPT-J (Wang and Komatsuzaki 2021): one LayerNorm for attention and feed-forward side by side, and
// rotary positions on the first numbers of a head, paired (2i, 2i + 1).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cairn/models/model_numbers.hpp"
#include "cairn/models/session.hpp"
#include "cairn/models/weight_reader.hpp"

namespace cairn { inline namespace CAIRN_ABI {

using GptJBlock = ParallelBlock<LayerNorm, MultiHead<RotaryInterleaved>, Mlp<GeluNew>>;
using GptJ = Decoder<GptJBlock, NoPositions>;

/// The numbers of a GPT-J. width is divisible by heads.
struct GptJConfig {
    int layers = 0;
    int heads = 0;
    int width = 0;
    int hidden = 0;  ///< 0: 4 * width
    int rotary_dims = 64;
    int context = 2048;
    int vocabulary = 0;
    float epsilon = 1e-5F;
    bool tied = false;

    int hidden_width() const noexcept { return hidden > 0 ? hidden : 4 * width; }
};

/// Throws Error{bad_config} for numbers no model can have.
inline void validate(const GptJConfig& c) {
    constexpr int most = 1 << 24;
    require(c.layers > 0 && c.layers <= 1024 && c.heads > 0 && c.width > 0 && c.width <= most / 8 &&
                c.context > 0 && c.context <= most && c.vocabulary > 0 && c.vocabulary <= most &&
                c.hidden >= 0 && c.hidden_width() <= most,
            ErrorCode::bad_config, "gptj: layers ", c.layers, " (1..1024), heads ", c.heads,
            ", width ", c.width, ", hidden ", c.hidden_width(), ", context ", c.context,
            ", vocabulary ", c.vocabulary);
    require(c.width % c.heads == 0 && c.rotary_dims > 0 && c.rotary_dims % 2 == 0 &&
                c.rotary_dims <= c.width / c.heads,
            ErrorCode::bad_config, "gptj: width ", c.width, " of ", c.heads, " heads, rotary dims ",
            c.rotary_dims, " (even, at most the width of a head)");
    require(c.epsilon > 0.0F && c.epsilon <= 1.0F, ErrorCode::bad_config,
            "gptj: layer_norm_epsilon ", c.epsilon, " is not in (0, 1]");
}

/// The tensors of a GPT-J, which has no form in GGUF files.
[[gnu::cold]] inline TensorTable gpt_j_tensors(const GptJConfig& c) {
    const std::ptrdiff_t d = c.width;
    const std::ptrdiff_t hidden = c.hidden_width();
    TensorTable table;
    table.add({{"transformer.wte.weight", "", {c.vocabulary, d}}});
    table.layers("transformer.h.", "", c.layers);
    for (int i = 0; i < c.layers; ++i)
        table.layer(i, {{"ln_1.weight", "", {d}},
                        {"ln_1.bias", "", {d}},
                        {"attn.q_proj.weight", "", {d, d}},
                        {"attn.k_proj.weight", "", {d, d}},
                        {"attn.v_proj.weight", "", {d, d}},
                        {"attn.out_proj.weight", "", {d, d}},
                        {"mlp.fc_in.weight", "", {hidden, d}},
                        {"mlp.fc_in.bias", "", {hidden}},
                        {"mlp.fc_out.weight", "", {d, hidden}},
                        {"mlp.fc_out.bias", "", {d}}});
    const Need output = c.tied ? Need::never : Need::always;
    table.add({{"transformer.ln_f.weight", "", {d}},
               {"transformer.ln_f.bias", "", {d}},
               {"lm_head.weight", "", {c.vocabulary, d}, output},
               {"lm_head.bias", "", {c.vocabulary}, output}});
    return table;
}

/// The weights of a GPT-J.
[[gnu::cold]] inline DecoderWeights<GptJBlock, NoPositions> load_gpt_j_weights(
    const GptJConfig& c, WeightReader& reader) {
    const HeadLayout layout{c.heads, c.heads, c.width / c.heads, c.width / c.heads};
    const RotaryInterleaved rotation({c.rotary_dims, 10000.0, c.context, {}, {}});
    DecoderWeights<GptJBlock, NoPositions> weights;
    weights.architecture = "gptj";
    weights.positions = NoPositions{c.context};
    weights.embedding = reader.embedding("transformer.wte");
    for (int i = 0; i < c.layers; ++i) {
        const std::string h = "transformer.h." + std::to_string(i) + ".";
        JoinedLinear qkv = reader.joined({h + "attn.q_proj", h + "attn.k_proj", h + "attn.v_proj"});
        cairn::Linear out = reader.linear(h + "attn.out_proj");
        cairn::Linear up = reader.linear(h + "mlp.fc_in");
        cairn::Linear down = reader.linear(h + "mlp.fc_out");
        weights.blocks.emplace_back(
            reader.layer_norm(h + "ln_1", c.epsilon),
            MultiHead<RotaryInterleaved>(layout, std::move(qkv), std::move(out), rotation),
            Mlp<GeluNew>(std::move(up), std::move(down)));
    }
    weights.final_norm = reader.layer_norm("transformer.ln_f", c.epsilon);
    weights.output = reader.output("lm_head");
    return weights;
}
/// A GPT-J from Hugging Face's names. Throws Error{bad_config} listing every tensor that is
/// missing, has another shape or belongs to a layer that the configuration has not, and what the
/// source throws.
inline GptJ load_gpt_j(const GptJConfig& c, const TensorSource& source,
                       const LoadOptions& options = {}) {
    validate(c);
    const TensorTable table = gpt_j_tensors(c);
    WeightReader reader(table, source, ModelFormat::hugging_face, options);
    return GptJ(load_gpt_j_weights(c, reader));
}

/// The numbers of a GPT-J from its files.
[[gnu::cold]] inline GptJConfig read_gpt_j_config(ModelNumbers& n) {
    constexpr int most = 1 << 24;
    GptJConfig c;
    c.layers = n.count({"n_layer"}, 1024);
    c.heads = n.count({"n_head"}, most);
    c.width = n.count({"n_embd"}, most / 8);
    c.context = n.count({"n_positions"}, most);
    c.vocabulary = n.vocabulary();
    c.hidden = n.count({"n_inner"}, most, 0);
    c.epsilon = static_cast<float>(n.number({"layer_norm_epsilon"}, 1e-5));
    c.rotary_dims = n.count({"rotary_dim"}, 4096, 64);
    c.tied = n.tied(false);
    validate(c);
    n.one_of({"activation_function"}, "gelu_new", {"gelu_new", "gelu_pytorch_tanh"});
    return c;
}

}}  // namespace cairn
