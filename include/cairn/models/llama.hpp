// Llama 1 to 3 and what is built like it: SmolLM2, TinyLlama, Mistral (a window), Qwen2 (biases).
// RMSNorm, rotary positions, grouped heads, SwiGLU. Source: the models' published code.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/models/rotary_numbers.hpp"
#include "cairn/models/session.hpp"
#include "cairn/models/weight_reader.hpp"

namespace cairn { inline namespace CAIRN_ABI {

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

    RotarySettings rotary() const { return {heads.key_dim, theta, context, scaling, {}}; }
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

/// The tensors of a model of this family.
[[gnu::cold]] inline TensorTable llama_tensors(const LlamaConfig& c) {
    const std::ptrdiff_t d = c.width;
    const std::ptrdiff_t q = std::ptrdiff_t{c.heads.heads} * c.heads.key_dim;
    const std::ptrdiff_t k = std::ptrdiff_t{c.heads.kv_heads} * c.heads.key_dim;
    // GGUF files of Llama and Mistral pair the rows of queries and keys, those of Qwen2 do not.
    const std::ptrdiff_t head = c.architecture == "qwen2" ? 0 : c.heads.key_dim;
    const Need bias = c.qkv_bias ? Need::always : Need::never;
    TensorTable table;
    add_rotary_divisors(table, c.rotary());
    table.add({{"model.embed_tokens.weight", "token_embd.weight", {c.vocabulary, d}}});
    table.layers("model.layers.", "blk.", c.layers, c.predicting);
    for (int i = 0; i < c.layers; ++i)
        table.layer(
            i, {{"input_layernorm.weight", "attn_norm.weight", {d}},
                {"self_attn.q_proj.weight", "attn_q.weight", {q, d}, Need::always, false, head},
                {"self_attn.k_proj.weight", "attn_k.weight", {k, d}, Need::always, false, head},
                {"self_attn.v_proj.weight", "attn_v.weight", {k, d}},
                {"self_attn.q_proj.bias", "attn_q.bias", {q}, bias},
                {"self_attn.k_proj.bias", "attn_k.bias", {k}, bias},
                {"self_attn.v_proj.bias", "attn_v.bias", {k}, bias},
                {"self_attn.o_proj.weight", "attn_output.weight", {d, q}},
                {"post_attention_layernorm.weight", "ffn_norm.weight", {d}},
                {"mlp.gate_proj.weight", "ffn_gate.weight", {c.hidden, d}},
                {"mlp.up_proj.weight", "ffn_up.weight", {c.hidden, d}},
                {"mlp.down_proj.weight", "ffn_down.weight", {d, c.hidden}}});
    table.add({{"model.norm.weight", "output_norm.weight", {d}},
               {"lm_head.weight",
                "output.weight",
                {c.vocabulary, d},
                c.tied ? Need::never : Need::always}});
    return table;
}

/// The weights of a model of this family.
template <class R>
[[gnu::cold]] DecoderWeights<LlamaBlock<R>, NoPositions> load_llama_weights(const LlamaConfig& c,
                                                                            WeightReader& reader) {
    RotarySettings rotary = c.rotary();
    if (reader.has("rope_freqs.weight"))
        rotary.divisors = internal::read_rotary_divisors(c.architecture, c.heads.key_dim, reader);
    const R rotation(rotary);
    AttentionSettings attention;
    if (c.window > 0 && c.window < c.context) attention.mask = Mask::sliding_window(c.window);
    DecoderWeights<LlamaBlock<R>, NoPositions> weights;
    weights.architecture = c.architecture;
    weights.positions = NoPositions{c.context};
    weights.embedding = reader.embedding("model.embed_tokens");
    for (int i = 0; i < c.layers; ++i) {
        const std::string at = "model.layers." + std::to_string(i) + ".";
        JoinedLinear qkv = reader.joined(
            {at + "self_attn.q_proj", at + "self_attn.k_proj", at + "self_attn.v_proj"});
        cairn::Linear out = reader.linear(at + "self_attn.o_proj");
        cairn::Linear gate = reader.linear(at + "mlp.gate_proj");
        cairn::Linear up = reader.linear(at + "mlp.up_proj");
        cairn::Linear down = reader.linear(at + "mlp.down_proj");
        weights.blocks.emplace_back(
            reader.rms_norm(at + "input_layernorm", c.epsilon),
            MultiHead<R>(c.heads, std::move(qkv), std::move(out), rotation, attention),
            reader.rms_norm(at + "post_attention_layernorm", c.epsilon),
            SwiGlu(std::move(gate), std::move(up), std::move(down)));
    }
    weights.final_norm = reader.rms_norm("model.norm", c.epsilon);
    weights.output = reader.output("lm_head");
    return weights;
}
/// A model from Hugging Face's names. Throws Error{bad_config} listing every tensor that is
/// missing, has another shape or belongs to a layer that the configuration has not, and what the
/// source throws.
inline Llama load_llama(const LlamaConfig& c, const TensorSource& source,
                        const LoadOptions& options = {}) {
    validate(c);
    const TensorTable table = llama_tensors(c);
    WeightReader reader(table, source, ModelFormat::hugging_face, options);
    return Llama(load_llama_weights<RotaryHalf>(c, reader));
}

namespace internal {

// Layers that predict further tokens, behind the others; GGUF files count them with the others.
[[gnu::cold]] inline int predicting_layers(ModelNumbers& n) {
    return static_cast<int>(n.integer({"num_nextn_predict_layers"}, 0, 1024, 0) +
                            n.integer({"", "nextn_predict_layers"}, 0, 1023, 0));
}
// What the blocks of the family have in common, refused otherwise. The window; 0: none.
[[gnu::cold]] inline int read_llama_window(ModelNumbers& n) {
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    n.refuse({"attention_bias", "mlp_bias"});
    if (n.architecture() == "qwen2") n.refuse({"use_sliding_window"});
    const NumberName window{"sliding_window", "attention.sliding_window"};
    const bool mistral = n.architecture() == "mistral";
    if (!n.gguf() && !mistral) return 0;
    // A missing window means Mistral 7B's, null means none; GGUF files write 0 for none.
    const int usual = mistral && !n.contains(window) ? 4096 : 0;
    return static_cast<int>(n.integer(window, n.gguf() ? 0 : 1, 1 << 24, usual));
}

}  // namespace internal

/// The numbers of a model of this family from its files.
[[gnu::cold]] inline LlamaConfig read_llama_config(ModelNumbers& n) {
    constexpr int most = 1 << 24;
    LlamaConfig c;
    c.architecture = n.architecture();
    c.layers = n.count({"num_hidden_layers", "block_count"}, 1024);
    c.predicting = internal::predicting_layers(n);
    if (n.gguf()) c.layers -= c.predicting;
    c.width = n.count({"hidden_size", "embedding_length"}, most / 8);
    c.hidden = n.count({"intermediate_size", "feed_forward_length"}, most);
    c.context = n.count({"max_position_embeddings", "context_length"}, most);
    c.vocabulary = n.vocabulary();
    n.note("vocab_size", std::int64_t{c.vocabulary});
    c.heads.heads = n.count({"num_attention_heads", "attention.head_count"}, most / 8);
    c.heads.kv_heads =
        n.count({"num_key_value_heads", "attention.head_count_kv"}, most / 8, c.heads.heads);
    const NumberName head{"head_dim", "attention.key_length"};
    require(n.has(head) || c.width % c.heads.heads == 0, n.code(), n.where(), ": width ", c.width,
            " is not a multiple of ", c.heads.heads, " heads, and the width of a head is not said");
    c.heads.key_dim = n.count(head, 4096, std::max(c.width / c.heads.heads, 1));
    c.heads.value_dim = n.count({"", "attention.value_length"}, 4096, c.heads.key_dim);
    const int rotated = n.count({"", "rope.dimension_count"}, 4096, c.heads.key_dim);
    require(rotated == c.heads.key_dim, ErrorCode::unsupported, n.where(),
            ": rope.dimension_count ", rotated, " for heads of ", c.heads.key_dim);
    c.epsilon = static_cast<float>(n.number({"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
                                            n.gguf() ? std::optional<double>() : 1e-6));
    c.tied = n.tied(false);
    c.qkv_bias = c.architecture == "qwen2";
    c.window = internal::read_llama_window(n);
    const RotarySettings rotary = read_rotary(n, c.heads.key_dim, c.context);
    c.theta = rotary.theta;
    c.scaling = rotary.scaling;
    validate(c);
    return c;
}

}}  // namespace cairn
