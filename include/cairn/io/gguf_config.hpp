// A model's numbers from GGUF metadata, and the names its tensors have there.
#pragma once

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "cairn/io/gguf_source.hpp"
#include "cairn/io/hf_config.hpp"

namespace cairn::inline CAIRN_ABI {

/// Names of Llama, Mistral and Qwen2 in GGUF files.
inline constexpr LlamaNames llama_gguf_names{
    "token_embd", "output_norm",      "output",       "blk.",      ".attn_norm", ".attn_q",
    ".attn_k",    ".attn_v",          ".attn_output", ".ffn_norm", ".ffn_gate",  ".ffn_up",
    ".ffn_down",  "rope_freqs.weight"};
/// Names of GPT-2 in GGUF files, whose matrices are [out][in].
inline constexpr Gpt2Names gpt2_gguf_names{
    "token_embd",
    "position_embd",
    "blk.",
    {"attn_norm", "attn_qkv", "attn_output", "ffn_norm", "ffn_up", "ffn_down"},
    "output_norm",
    "output",
    detail::StoredAs::out_in};

/// The numbers of the model that metadata describe; `embedding` is the shape of token_embd.weight
/// or null, `tied` whether there is no output.weight. Throws Error{bad_file, bad_config},
/// Error{unsupported} for an architecture that is not known.
inline ModelConfig gguf_config(const GgufMetadata& m, const std::vector<std::size_t>* embedding,
                               bool tied, const FileLimits& limits = {}) {
    const FpEnvironment environment;
    const std::string architecture = m.string("general.architecture");
    require(architecture == "gpt2" || architecture == "llama" || architecture == "qwen2",
            ErrorCode::unsupported, m.where(), ": architecture \"", architecture.substr(0, 60),
            "\" is not known; known: gpt2, llama (with Mistral), qwen2");
    constexpr std::int64_t most = 1 << 24;
    const auto key = [&](const char* name) { return architecture + "." + name; };
    const auto integer = [&](const char* name, std::int64_t limit,
                             std::optional<std::int64_t> fallback = std::nullopt) {
        return static_cast<int>(m.integer(key(name), 1, limit, fallback));
    };
    require(embedding != nullptr && embedding->size() == 2 &&
                (*embedding)[0] <= static_cast<std::size_t>(most),
            ErrorCode::bad_config, m.where(), ": tensor token_embd.weight is missing or no matrix");
    const int vocabulary = static_cast<int>((*embedding)[0]);
    // Layers for multi-token prediction are counted with the others in these files.
    const int predicting = static_cast<int>(m.integer(key("nextn_predict_layers"), 0, 1023, 0));
    const int layers = integer("block_count", 1024) - predicting;
    const int width = integer("embedding_length", most / 8);
    const int context = integer("context_length", most);
    const int heads = integer("attention.head_count", most / 8);
    const auto check_cache = [&](std::size_t row) {
        detail::check_cache_bytes(context, layers, row, m.where(), limits);
    };
    if (architecture == "gpt2") {
        Gpt2Config c;
        c.layers = layers;
        c.heads = heads;
        c.width = width;
        c.context = context;
        c.vocabulary = vocabulary;
        c.hidden = integer("feed_forward_length", most);
        c.epsilon = static_cast<float>(m.number(key("attention.layer_norm_epsilon"), 1e-5));
        c.tied = tied;
        validate(c);
        check_cache(static_cast<std::size_t>(width));
        return c;
    }
    LlamaConfig c;
    c.architecture = architecture;
    c.layers = layers;
    c.width = width;
    c.context = context;
    c.vocabulary = vocabulary;
    c.hidden = integer("feed_forward_length", most);
    c.heads.heads = heads;
    c.heads.kv_heads = integer("attention.head_count_kv", most / 8, heads);
    require(m.find(key("attention.key_length")) != nullptr || width % heads == 0,
            ErrorCode::bad_config, m.where(), ": width ", width, " is not a multiple of ", heads,
            " heads, and there is no ", key("attention.key_length"));
    c.heads.key_dim = integer("attention.key_length", 4096, std::max(width / heads, 1));
    c.heads.value_dim = integer("attention.value_length", 4096, c.heads.key_dim);
    const int rotated = integer("rope.dimension_count", 4096, c.heads.key_dim);
    require(rotated == c.heads.key_dim, ErrorCode::unsupported, m.where(),
            ": rope.dimension_count ", rotated, " for heads of ", c.heads.key_dim);
    c.epsilon = static_cast<float>(m.number(key("attention.layer_norm_rms_epsilon")));
    c.theta = m.number(key("rope.freq_base"), 10000.0);
    c.tied = tied;
    c.qkv_bias = architecture == "qwen2";
    c.predicting = predicting;
    c.window = static_cast<int>(m.integer(key("attention.sliding_window"), 0, most, 0));
    const std::string scaling = m.string(key("rope.scaling.type"), "none");
    if (scaling != "none") {
        require(scaling == "linear" || scaling == "yarn", ErrorCode::unsupported, m.where(), ": ",
                key("rope.scaling.type"), " \"", scaling.substr(0, 60),
                "\"; known: none, linear, yarn");
        c.scaling.kind =
            scaling == "yarn" ? RotaryScaling::Kind::yarn : RotaryScaling::Kind::linear;
        c.scaling.factor = m.number(key("rope.scaling.factor"));
        require(c.scaling.factor > 0.0 && c.scaling.factor < 1e6, ErrorCode::bad_config, m.where(),
                ": ", key("rope.scaling.factor"), " ", c.scaling.factor);
        c.scaling.original_context = static_cast<double>(
            m.integer(key("rope.scaling.original_context_length"), 1, most, context));
    }
    validate(c);
    check_cache(static_cast<std::size_t>(c.heads.kv_heads) *
                static_cast<std::size_t>(c.heads.key_dim));
    return c;
}
/// The same of a file, or of all files of a split one.
inline ModelConfig gguf_config(const GgufSource& source, const FileLimits& limits = {}) {
    return gguf_config(source.metadata(), source.shape("token_embd.weight"),
                       source.shape("output.weight") == nullptr, limits);
}

/// The tensors of a file that the model does not read, sorted.
inline std::vector<std::string> unread_tensors(const ModelConfig& config,
                                               const GgufSource& source) {
    if (const auto* gpt2 = std::get_if<Gpt2Config>(&config))
        return unread_tensors(*gpt2, source, gpt2_gguf_names);
    if (const auto* llama = std::get_if<LlamaConfig>(&config))
        return unread_tensors(*llama, source, llama_gguf_names);
    return source.names();
}
/// Error{unsupported} if the file holds a bias of a matrix that the model would use without it: in
/// this format what is there is meant.
inline void check_unread(const std::vector<std::string>& unread, const GgufSource& source) {
    for (const std::string& name : unread) {
        if (!name.ends_with(".bias")) continue;
        const std::string weight = name.substr(0, name.size() - 4) + "weight";
        require(source.shape(weight) == nullptr ||
                    std::binary_search(unread.begin(), unread.end(), weight),
                ErrorCode::unsupported, source.metadata().where(), ": tensor ", name,
                " is not supported: this architecture has no such bias here");
    }
}

}  // namespace cairn::inline CAIRN_ABI
