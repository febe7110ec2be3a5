// config.json as Hugging Face writes it. Nothing is guessed: a number of the wrong type, sign or
// size is an error that names the key, and so is an option that would change the mathematics.
#pragma once

#include <string>
#include <vector>

#include "cairn/io/json.hpp"
#include "cairn/models/gpt2.hpp"

namespace cairn::inline CAIRN_ABI {

/// What a config.json of a GPT-2 says.
struct HfConfig {
    std::string architecture;  ///< model_type
    Gpt2Config gpt2;
    std::vector<Token> end_of_text;  ///< eos_token_id, one or several; empty if there is none
};

/// Parses the text of a config.json. Throws Error{bad_config, unsupported, limit}.
inline HfConfig parse_hf_config(std::string_view text, const std::string& where,
                                const FileLimits& limits = {}) {
    const Json json = parse_json(text, ErrorCode::bad_config, where, limits);
    const JsonObject root(json, ErrorCode::bad_config, where);
    HfConfig result;
    result.architecture = root.string("model_type");
    require(result.architecture == "gpt2", ErrorCode::unsupported, where, ": model_type \"",
            result.architecture.substr(0, 60), "\" is not known; known: gpt2");
    constexpr std::int64_t most = 1 << 24;
    const auto integer = [&](const char* key, std::int64_t limit) {
        return static_cast<int>(root.integer(key, 1, limit));
    };
    Gpt2Config& c = result.gpt2;
    c.layers = integer("n_layer", 1024);
    c.heads = integer("n_head", most);
    c.width = integer("n_embd", most / 8);
    c.context = integer("n_positions", most);
    c.vocabulary = integer("vocab_size", most);
    c.hidden = static_cast<int>(root.integer("n_inner", 1, most, 0));
    c.epsilon = static_cast<float>(root.number("layer_norm_epsilon", 1e-5));
    c.tied = root.boolean("tie_word_embeddings", true);
    validate(c);
    const std::string activation = root.string("activation_function", "gelu_new");
    require(activation == "gelu_new" || activation == "gelu_pytorch_tanh", ErrorCode::unsupported,
            where, ": activation_function \"", activation.substr(0, 60), "\"; gelu_new is known");
    require(root.boolean("scale_attn_weights", true) &&
                !root.boolean("scale_attn_by_inverse_layer_idx", false) &&
                !root.boolean("add_cross_attention", false),
            ErrorCode::unsupported, where,
            ": scale_attn_weights false, scale_attn_by_inverse_layer_idx and add_cross_attention "
            "are not supported");
    const std::size_t cache =
        checked_mul(checked_mul(static_cast<std::size_t>(c.context),
                                static_cast<std::size_t>(c.layers), "cache bytes"),
                    static_cast<std::size_t>(c.width) * 8, "cache bytes");
    require(cache <= limits.cache_bytes, ErrorCode::limit, where, ": a full context needs ", cache,
            " bytes of keys and values; the limit is ", limits.cache_bytes);

    if (const Json* eos = root.find("eos_token_id")) {
        const auto id = [&](const Json& value) {
            return static_cast<Token>(root.integer_of(value, "eos_token_id", 0, c.vocabulary - 1));
        };
        if (eos->is_array()) {
            require(!eos->empty() && eos->size() <= limits.end_of_text_tokens,
                    ErrorCode::bad_config, where, ": eos_token_id lists ", eos->size(), " ids");
            for (const Json& value : *eos) result.end_of_text.push_back(id(value));
        } else {
            result.end_of_text.push_back(id(*eos));
        }
    }
    return result;
}

}  // namespace cairn::inline CAIRN_ABI
