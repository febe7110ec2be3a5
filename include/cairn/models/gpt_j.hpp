// GPT-J (Wang and Komatsuzaki 2021): one LayerNorm for attention and feed-forward side by side, and
// rotary positions on the first numbers of a head, paired (2i, 2i + 1).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cairn/models/session.hpp"
#include "cairn/models/tensor_source.hpp"

namespace cairn::inline CAIRN_ABI {

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

namespace detail {

inline TensorCheck check_gpt_j(const GptJConfig& c, const TensorSource& source) {
    const auto d = static_cast<std::size_t>(c.width);
    const auto hidden = static_cast<std::size_t>(c.hidden_width());
    const auto vocabulary = static_cast<std::size_t>(c.vocabulary);
    TensorCheck check(source);
    check.expect("transformer.wte.weight", {vocabulary, d});
    const auto expect = [&](const std::string& name, std::vector<std::size_t> shape) {
        check.expect(name + ".weight", shape);
        check.expect(name + ".bias", {shape[0]});
    };
    for (int i = 0; i < c.layers; ++i) {
        const std::string h = "transformer.h." + std::to_string(i) + ".";
        expect(h + "ln_1", {d});
        for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"})
            check.expect(h + "attn." + part + ".weight", {d, d});
        expect(h + "mlp.fc_in", {hidden, d});
        expect(h + "mlp.fc_out", {d, hidden});
    }
    expect("transformer.ln_f", {d});
    if (!c.tied) expect("lm_head", {vocabulary, d});
    check.expect_layers("transformer.h.", c.layers);
    return check;
}

}  // namespace detail

/// The tensors of a source that a GPT-J of these numbers does not read, sorted.
inline std::vector<std::string> unread_tensors(const GptJConfig& c, const TensorSource& source) {
    return detail::check_gpt_j(c, source).unread();
}

/// The weights from Hugging Face's names. Throws Error{bad_config} listing every tensor that is
/// missing, has another shape or belongs to a layer that the configuration has not, and what the
/// source throws.
inline DecoderWeights<GptJBlock, NoPositions> load_gpt_j_weights(const GptJConfig& c,
                                                                 const TensorSource& source,
                                                                 const LoadOptions& options = {}) {
    validate(c);
    detail::check_gpt_j(c, source).done();

    int done = 0;
    const int total = 6 * c.layers + (c.tied ? 1 : 2);
    const auto matrix = [&](const std::string& name) {
        WeightMatrix result =
            detail::load_matrix(source, name + ".weight", detail::StoredAs::out_in, options);
        if (options.progress) options.progress(++done, total);
        return result;
    };
    const auto vector = [&](const std::string& name) { return detail::read_vector(source, name); };
    const auto norm = [&](const std::string& name) {
        return LayerNorm(vector(name + ".weight"), vector(name + ".bias"), c.epsilon);
    };
    const HeadLayout layout{c.heads, c.heads, c.width / c.heads, c.width / c.heads};
    DecoderWeights<GptJBlock, NoPositions> weights;
    weights.architecture = "gptj";
    weights.positions = NoPositions{c.context};
    weights.embedding = Embedding(matrix("transformer.wte"));
    const RotaryInterleaved rotation({c.rotary_dims, 10000.0, c.context, {}, {}});
    for (int i = 0; i < c.layers; ++i) {
        const std::string h = "transformer.h." + std::to_string(i) + ".";
        std::vector<cairn::Linear> qkv;
        for (const char* part : {"q_proj", "k_proj", "v_proj"})
            qkv.emplace_back(matrix(h + "attn." + part));
        cairn::Linear out(matrix(h + "attn.out_proj"));
        cairn::Linear up(matrix(h + "mlp.fc_in"), vector(h + "mlp.fc_in.bias"));
        cairn::Linear down(matrix(h + "mlp.fc_out"), vector(h + "mlp.fc_out.bias"));
        weights.blocks.emplace_back(
            norm(h + "ln_1"),
            MultiHead<RotaryInterleaved>(layout, JoinedLinear(std::move(qkv)), std::move(out),
                                         rotation),
            Mlp<GeluNew>(std::move(up), std::move(down)));
    }
    weights.final_norm = norm("transformer.ln_f");
    if (!c.tied) weights.output = cairn::Linear(matrix("lm_head"), vector("lm_head.bias"));
    return weights;
}
/// The model.
inline GptJ load_gpt_j(const GptJConfig& c, const TensorSource& source,
                       const LoadOptions& options = {}) {
    return GptJ(load_gpt_j_weights(c, source, options));
}

}  // namespace cairn::inline CAIRN_ABI
