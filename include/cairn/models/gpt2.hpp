// GPT-2 (Radford et al. 2019) of every size.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/core/fp_environment.hpp"
#include "cairn/models/model_numbers.hpp"
#include "cairn/models/session.hpp"
#include "cairn/models/weight_reader.hpp"
#include "cairn/numeric/random.hpp"

namespace cairn { inline namespace CAIRN_ABI {

using Gpt2Block = SequentialBlock<LayerNorm, MultiHead<NoRotation>, Mlp<GeluNew>>;
/// The model; `Gpt2::session<Cache>(capacity)` starts a sequence.
using Gpt2 = Decoder<Gpt2Block, LearnedPositions>;

/// The numbers of a GPT-2. width is divisible by heads.
struct Gpt2Config {
    int layers = 0;
    int heads = 0;
    int width = 0;
    int hidden = 0;  ///< of the feed-forward part; 0: 4 * width
    int context = 1024;
    int vocabulary = 0;
    float epsilon = 1e-5F;
    bool tied = true;  ///< the output layer is the embedding

    int hidden_width() const noexcept { return hidden > 0 ? hidden : 4 * width; }
};

/// Throws Error{bad_config} for numbers no model can have.
inline void validate(const Gpt2Config& c) {
    require(c.layers > 0 && c.layers <= 1024 && c.heads > 0 && c.width > 0 && c.context > 0 &&
                c.vocabulary > 0 && c.hidden >= 0,
            ErrorCode::bad_config, "gpt2: layers ", c.layers, " (1..1024), heads ", c.heads,
            ", width ", c.width, ", context ", c.context, ", vocabulary ", c.vocabulary,
            ", hidden ", c.hidden);
    require(c.width % c.heads == 0, ErrorCode::bad_config, "gpt2: width ", c.width,
            " is not a multiple of ", c.heads, " heads");
    constexpr int most = 1 << 24;
    require(c.width <= most / 8 && c.context <= most && c.vocabulary <= most &&
                c.hidden_width() <= most,
            ErrorCode::bad_config, "gpt2: width ", c.width, ", context ", c.context,
            ", vocabulary ", c.vocabulary, ", hidden ", c.hidden_width(), ": at most ", most);
    require(c.epsilon > 0.0F && c.epsilon <= 1.0F, ErrorCode::bad_config,
            "gpt2: layer_norm_epsilon ", c.epsilon, " is not in (0, 1]");
}

namespace internal {

// Builds a GPT-2 from a function that fills each matrix and vector: files and random numbers share
// it.
struct Gpt2Filler {
    std::function<WeightMatrix(const std::string& name, std::ptrdiff_t out, std::ptrdiff_t in)>
        matrix;
    std::function<WeightMatrix(const std::string& name, std::ptrdiff_t rows, std::ptrdiff_t width)>
        table;
    std::function<std::vector<float>(const std::string& name, std::ptrdiff_t n)> vector;
};

using Gpt2Weights = DecoderWeights<Gpt2Block, LearnedPositions>;

[[gnu::cold]] inline Gpt2Weights build_gpt2(const Gpt2Config& c, const Gpt2Filler& fill) {
    const std::ptrdiff_t d = c.width;
    const std::ptrdiff_t hidden = c.hidden_width();
    const HeadLayout layout{c.heads, c.heads, c.width / c.heads, c.width / c.heads};
    // One after the other: arguments of a call have no order, and random weights depend on it.
    const auto linear = [&](const std::string& name, std::ptrdiff_t out, std::ptrdiff_t in) {
        WeightMatrix matrix = fill.matrix(name + ".weight", out, in);
        return cairn::Linear(std::move(matrix), fill.vector(name + ".bias", out));
    };
    const auto norm = [&](const std::string& name) {
        std::vector<float> weight = fill.vector(name + ".weight", d);
        return LayerNorm(std::move(weight), fill.vector(name + ".bias", d), c.epsilon);
    };
    Gpt2Weights weights;
    weights.architecture = "gpt2";
    weights.embedding = Embedding(fill.table("transformer.wte.weight", c.vocabulary, d));
    weights.positions = LearnedPositions(fill.table("transformer.wpe.weight", c.context, d));
    for (int i = 0; i < c.layers; ++i) {
        const std::string h = "transformer.h." + std::to_string(i) + ".";
        LayerNorm first = norm(h + "ln_1");
        cairn::Linear qkv = linear(h + "attn.c_attn", 3 * d, d);
        cairn::Linear out = linear(h + "attn.c_proj", d, d);
        LayerNorm second = norm(h + "ln_2");
        cairn::Linear up = linear(h + "mlp.c_fc", hidden, d);
        cairn::Linear down = linear(h + "mlp.c_proj", d, hidden);
        weights.blocks.emplace_back(
            std::move(first), MultiHead<NoRotation>(layout, std::move(qkv), std::move(out)),
            std::move(second), Mlp<GeluNew>(std::move(up), std::move(down)));
    }
    weights.final_norm = norm("transformer.ln_f");
    if (!c.tied) weights.output = cairn::Linear(fill.table("lm_head.weight", c.vocabulary, d));
    return weights;
}

}  // namespace internal

/// The tensors of a GPT-2; Hugging Face's matrices are [in][out].
[[gnu::cold]] inline TensorTable gpt2_tensors(const Gpt2Config& c) {
    const std::ptrdiff_t d = c.width;
    const std::ptrdiff_t hidden = c.hidden_width();
    TensorTable table("transformer.");
    table.add({{"transformer.wte.weight", "token_embd.weight", {c.vocabulary, d}},
               {"transformer.wpe.weight", "position_embd.weight", {c.context, d}}});
    table.layers("transformer.h.", "blk.", c.layers);
    constexpr Need always = Need::always;
    for (int i = 0; i < c.layers; ++i)
        table.layer(i, {{"ln_1.weight", "attn_norm.weight", {d}},
                        {"ln_1.bias", "attn_norm.bias", {d}},
                        {"attn.c_attn.weight", "attn_qkv.weight", {3 * d, d}, always, true},
                        {"attn.c_attn.bias", "attn_qkv.bias", {3 * d}},
                        {"attn.c_proj.weight", "attn_output.weight", {d, d}, always, true},
                        {"attn.c_proj.bias", "attn_output.bias", {d}},
                        {"ln_2.weight", "ffn_norm.weight", {d}},
                        {"ln_2.bias", "ffn_norm.bias", {d}},
                        {"mlp.c_fc.weight", "ffn_up.weight", {hidden, d}, always, true},
                        {"mlp.c_fc.bias", "ffn_up.bias", {hidden}},
                        {"mlp.c_proj.weight", "ffn_down.weight", {d, hidden}, always, true},
                        {"mlp.c_proj.bias", "ffn_down.bias", {d}}});
    table.add({{"transformer.ln_f.weight", "output_norm.weight", {d}},
               {"transformer.ln_f.bias", "output_norm.bias", {d}}});
    // GGUF files hold the output layer in any case.
    TensorLine output{"lm_head.weight", "output.weight", {c.vocabulary, d}};
    if (c.tied) output.need = Need::never, output.stand_in = "transformer.wte.weight";
    table.add({output});
    return table;
}

/// The tensors of a source with Hugging Face's names that a GPT-2 of these numbers does not read,
/// sorted.
inline std::vector<std::string> unread_tensors(const Gpt2Config& c, const TensorSource& source) {
    return gpt2_tensors(c).check(source, ModelFormat::hugging_face).unread();
}

/// The weights of a GPT-2.
inline internal::Gpt2Weights load_gpt2_weights(const Gpt2Config& c, WeightReader& reader) {
    const auto matrix = [&](const std::string& name, std::ptrdiff_t, std::ptrdiff_t) {
        return reader.matrix(name);
    };
    return internal::build_gpt2(c, {matrix, matrix, [&](const std::string& name, std::ptrdiff_t) {
                                        return reader.vector(name);
                                    }});
}
/// A GPT-2 from a source with Hugging Face's names, with or without "transformer." in front;
/// [in][out] matrices are transposed while packing. Throws Error{bad_config} listing every tensor
/// that is missing, has another shape or belongs to a layer that the configuration has not, and
/// what the source throws.
inline Gpt2 load_gpt2(const Gpt2Config& c, const TensorSource& source,
                      const LoadOptions& options = {}) {
    validate(c);
    const TensorTable table = gpt2_tensors(c);
    WeightReader reader(table, source, ModelFormat::hugging_face, options);
    return Gpt2(load_gpt2_weights(c, reader));
}

/// The numbers of a GPT-2 from its files.
[[gnu::cold]] inline Gpt2Config read_gpt2_config(ModelNumbers& n) {
    constexpr int most = 1 << 24;
    Gpt2Config c;
    c.layers = n.count({"n_layer", "block_count"}, 1024);
    c.heads = n.count({"n_head", "attention.head_count"}, most);
    c.width = n.count({"n_embd", "embedding_length"}, most / 8);
    c.context = n.count({"n_positions", "context_length"}, most);
    c.vocabulary = n.vocabulary();
    c.hidden = n.count({"n_inner", "feed_forward_length"}, most,
                       n.gguf() ? std::optional<std::int64_t>() : 0);
    c.epsilon =
        static_cast<float>(n.number({"layer_norm_epsilon", "attention.layer_norm_epsilon"}, 1e-5));
    c.tied = n.tied(true);
    validate(c);
    n.note("feed_forward_length", std::int64_t{c.hidden_width()});
    n.one_of({"activation_function"}, "gelu_new", {"gelu_new", "gelu_pytorch_tanh"});
    require(n.boolean({"scale_attn_weights"}, true), ErrorCode::unsupported, n.where(),
            ": scale_attn_weights false is not supported");
    n.refuse({"scale_attn_by_inverse_layer_idx", "add_cross_attention"});
    return c;
}

/// A GPT-2 with random weights, the same on every machine: for tests and for measuring. Weights are
/// uniform with GPT-2's standard deviation of 0.02, residual projections smaller by sqrt(2 layers).
[[gnu::cold]] inline Gpt2 random_gpt2(const Gpt2Config& c, std::uint64_t seed,
                                      const PlainWeights& type = plain_weights<ElementType::f32>) {
    validate(c);
    const FpEnvironment environment;
    Random random(seed);
    const auto uniform = [&](float deviation) {
        const double bound = deviation * 1.7320508075688772;
        return static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
    };
    const auto matrix = [&](const std::string& name, std::ptrdiff_t out, std::ptrdiff_t in) {
        const float deviation = name.find("c_proj") != std::string::npos
                                    ? 0.02F / std::sqrt(2.0F * static_cast<float>(c.layers))
                                    : 0.02F;
        WeightMatrix result(out, in, type);
        std::vector<float> row(static_cast<std::size_t>(in));
        for (std::ptrdiff_t n = 0; n < out; ++n) {
            for (float& x : row) x = uniform(deviation);
            result.put(n, 0, 1, in, row.data(), in, 1);
        }
        return result;
    };
    return Gpt2(internal::build_gpt2(
        c, {matrix, matrix, [&](const std::string& name, std::ptrdiff_t n) {
                const bool gain = name.find("ln_") != std::string::npos && name.ends_with("weight");
                std::vector<float> result(static_cast<std::size_t>(n));
                for (float& x : result) x = (gain ? 1.0F : 0.0F) + uniform(0.02F);
                return result;
            }}));
}
/// The same with the type by value. Throws Error{invalid_argument} for a block type.
inline Gpt2 random_gpt2(const Gpt2Config& c, std::uint64_t seed, ElementType type) {
    return random_gpt2(c, seed, plain_weights_of(type));
}

}}  // namespace cairn
