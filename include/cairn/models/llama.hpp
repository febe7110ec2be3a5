// Llama 1 to 3 and what is built like it: SmolLM2, TinyLlama, Mistral (a window), Qwen2 (biases).
// RMSNorm, rotary positions, grouped heads, SwiGLU. Source: the models' published code.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cairn/models/session.hpp"
#include "cairn/models/tensor_source.hpp"

namespace cairn::inline CAIRN_ABI {

template <class R>
using LlamaBlock = SequentialBlock<RmsNorm, MultiHead<R>, SwiGlu>;
/// The model; R says how its file pairs the rotated numbers.
template <class R>
using LlamaOf = Decoder<LlamaBlock<R>, NoPositions>;
/// As Hugging Face stores Llama, Mistral and Qwen2, and GGUF stores Qwen2.
using Llama = LlamaOf<RotaryHalf>;
/// As GGUF stores Llama and Mistral: the rows of queries and keys are in another order.
using LlamaInterleaved = LlamaOf<RotaryInterleaved>;

/// The numbers of a model of this family.
struct LlamaConfig {
    std::string architecture = "llama";
    int layers = 0;
    HeadLayout heads{};
    int width = 0;
    int hidden = 0;
    int context = 0;
    int vocabulary = 0;
    float epsilon = 1e-5F;
    double theta = 10000.0;
    RotaryScaling scaling{};
    int window = 0;         ///< sliding-window attention; 0: none
    bool tied = false;      ///< the output layer is the embedding
    bool qkv_bias = false;  ///< Qwen2
    int predicting = 0;     ///< layers for multi-token prediction behind the others, never read
};

/// Throws Error{bad_config} for numbers no model can have.
inline void validate(const LlamaConfig& c) {
    constexpr int most = 1 << 24;
    require(c.layers > 0 && c.layers <= 1024 && c.width > 0 && c.width <= most / 8 &&
                c.hidden > 0 && c.hidden <= most && c.context > 0 && c.context <= most &&
                c.vocabulary > 0 && c.vocabulary <= most,
            ErrorCode::bad_config, c.architecture, ": layers ", c.layers, " (1..1024), width ",
            c.width, ", hidden ", c.hidden, ", context ", c.context, ", vocabulary ", c.vocabulary);
    require(c.heads.heads > 0 && c.heads.kv_heads > 0 && c.heads.heads % c.heads.kv_heads == 0 &&
                c.heads.heads <= most / 8 && c.heads.key_dim > 0 && c.heads.key_dim % 2 == 0 &&
                c.heads.key_dim <= 4096 && c.heads.value_dim == c.heads.key_dim,
            ErrorCode::bad_config, c.architecture, ": ", c.heads.heads, " heads, ",
            c.heads.kv_heads, " key heads (a divisor), head width ", c.heads.key_dim,
            " (even, at most 4096)");
    require(c.epsilon > 0.0F && c.epsilon <= 1.0F, ErrorCode::bad_config, c.architecture,
            ": rms_norm epsilon ", c.epsilon, " is not in (0, 1]");
    require(c.theta > 1.0 && c.theta < 1e30, ErrorCode::bad_config, c.architecture,
            ": rotary theta ", c.theta);
    require(c.window >= 0, ErrorCode::bad_config, c.architecture, ": window ", c.window);
}

/// How a file format names the tensors. Layer tensors follow `layer` and the number.
struct LlamaNames {
    const char* embedding = "model.embed_tokens";
    const char* final_norm = "model.norm";
    const char* output = "lm_head";
    const char* layer = "model.layers.";
    const char* attention_norm = ".input_layernorm";
    const char* query = ".self_attn.q_proj";
    const char* key = ".self_attn.k_proj";
    const char* value = ".self_attn.v_proj";
    const char* attention_out = ".self_attn.o_proj";
    const char* mlp_norm = ".post_attention_layernorm";
    const char* gate = ".mlp.gate_proj";
    const char* up = ".mlp.up_proj";
    const char* down = ".mlp.down_proj";
    const char* rotary_divisors = nullptr;  ///< optional tensor
};

namespace detail {

inline TensorCheck check_llama(const LlamaConfig& c, const TensorSource& source,
                               const LlamaNames& names) {
    const auto size = [](std::ptrdiff_t n) { return static_cast<std::size_t>(n); };
    const std::size_t d = size(c.width);
    const std::size_t q = size(c.heads.heads) * size(c.heads.key_dim);
    const std::size_t k = size(c.heads.kv_heads) * size(c.heads.key_dim);
    TensorCheck check(source);
    const auto expect = [&](const std::string& name, std::vector<std::size_t> shape, bool bias) {
        check.expect(name + ".weight", shape);
        if (bias) check.expect(name + ".bias", {shape[0]});
    };
    expect(names.embedding, {size(c.vocabulary), d}, false);
    for (int i = 0; i < c.layers; ++i) {
        const std::string layer = names.layer + std::to_string(i);
        expect(layer + names.attention_norm, {d}, false);
        expect(layer + names.query, {q, d}, c.qkv_bias);
        expect(layer + names.key, {k, d}, c.qkv_bias);
        expect(layer + names.value, {k, d}, c.qkv_bias);
        expect(layer + names.attention_out, {d, q}, false);
        expect(layer + names.mlp_norm, {d}, false);
        expect(layer + names.gate, {size(c.hidden), d}, false);
        expect(layer + names.up, {size(c.hidden), d}, false);
        expect(layer + names.down, {d, size(c.hidden)}, false);
    }
    expect(names.final_norm, {d}, false);
    if (!c.tied) expect(names.output, {size(c.vocabulary), d}, false);
    if (names.rotary_divisors != nullptr) check.allow(names.rotary_divisors);
    check.expect_layers(names.layer, c.layers, c.predicting);
    return check;
}

}  // namespace detail

/// The tensors of a source that a model of these numbers does not read, sorted.
inline std::vector<std::string> unread_tensors(const LlamaConfig& c, const TensorSource& source,
                                               const LlamaNames& names = {}) {
    return detail::check_llama(c, source, names).unread();
}

/// The weights of a model of this family. Throws Error{bad_config} listing every tensor that is
/// missing, has another shape or belongs to a layer that the configuration has not, and what the
/// source throws.
template <class R>
DecoderWeights<LlamaBlock<R>, NoPositions> load_llama_weights(const LlamaConfig& c,
                                                              const TensorSource& source,
                                                              const LoadOptions& options = {},
                                                              const LlamaNames& names = {}) {
    validate(c);
    detail::check_llama(c, source, names).done();
    int done = 0;
    const int total = 7 * c.layers + (c.tied ? 1 : 2);
    const auto linear = [&](const std::string& name, bool bias) {
        WeightMatrix matrix =
            detail::load_matrix(source, name + ".weight", detail::StoredAs::out_in, options);
        if (options.progress) options.progress(++done, total);
        return cairn::Linear(std::move(matrix), bias ? detail::read_vector(source, name + ".bias")
                                                     : std::vector<float>());
    };
    const auto norm = [&](const std::string& name) {
        return RmsNorm(detail::read_vector(source, name + ".weight"), c.epsilon);
    };
    DecoderWeights<LlamaBlock<R>, NoPositions> weights;
    weights.architecture = c.architecture;
    weights.positions = NoPositions{c.context};
    weights.embedding = Embedding(detail::load_matrix(
        source, std::string(names.embedding) + ".weight", detail::StoredAs::out_in, options));
    if (options.progress) options.progress(++done, total);
    RotarySettings rotary{c.heads.key_dim, c.theta, c.context, c.scaling, {}};
    if (names.rotary_divisors != nullptr && source.shape(names.rotary_divisors) != nullptr)
        rotary.divisors = detail::read_vector(source, names.rotary_divisors);
    const R rotation(rotary);
    AttentionSettings attention;
    if (c.window > 0 && c.window < c.context) attention.mask = Mask::sliding_window(c.window);
    for (int i = 0; i < c.layers; ++i) {
        const std::string layer = names.layer + std::to_string(i);
        std::vector<cairn::Linear> qkv;
        for (const char* part : {names.query, names.key, names.value})
            qkv.push_back(linear(layer + part, c.qkv_bias));
        cairn::Linear out = linear(layer + names.attention_out, false);
        cairn::Linear gate = linear(layer + names.gate, false);
        cairn::Linear up = linear(layer + names.up, false);
        cairn::Linear down = linear(layer + names.down, false);
        weights.blocks.emplace_back(norm(layer + names.attention_norm),
                                    MultiHead<R>(c.heads, JoinedLinear(std::move(qkv)),
                                                 std::move(out), rotation, attention),
                                    norm(layer + names.mlp_norm),
                                    SwiGlu(std::move(gate), std::move(up), std::move(down)));
    }
    weights.final_norm = norm(names.final_norm);
    if (!c.tied) weights.output = linear(names.output, false);
    return weights;
}
/// The model, from Hugging Face's names.
inline Llama load_llama(const LlamaConfig& c, const TensorSource& source,
                        const LoadOptions& options = {}) {
    return Llama(load_llama_weights<RotaryHalf>(c, source, options));
}

}  // namespace cairn::inline CAIRN_ABI
