// config.json as Hugging Face writes it. Nothing is guessed: a number of the wrong type, sign or
// size is an error that names the key, and so is an option that would change the mathematics.
#pragma once

#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "cairn/io/json.hpp"
#include "cairn/models/any_model.hpp"

namespace cairn::inline CAIRN_ABI {

/// The numbers of any model.
using ModelConfig = std::variant<Gpt2Config, GptJConfig, LlamaConfig>;
/// Token ids are below this.
inline int vocabulary_of(const ModelConfig& model) {
    return std::visit([](const auto& c) { return c.vocabulary; }, model);
}

/// The tensors of a source with Hugging Face's names that the model does not read, sorted.
inline std::vector<std::string> unread_tensors(const ModelConfig& model,
                                               const TensorSource& source) {
    return std::visit([&](const auto& c) { return unread_tensors(c, source); }, model);
}

/// What a config.json says.
struct HfConfig {
    std::string architecture;  ///< model_type
    ModelConfig model;
    std::vector<Token> end_of_text;    ///< eos_token_id, one or several; empty if there is none
    std::vector<std::string> notes{};  ///< sentences about what was ignored

    int vocabulary() const { return vocabulary_of(model); }
};

namespace detail {

// The ids that a vocabulary has, and a note for each of the others: Hugging Face writes its
// defaults into configurations whose vocabulary is smaller, and loads them.
inline std::vector<Token> known_end_of_text(const std::vector<Token>& ids, int vocabulary,
                                            std::vector<std::string>& notes) {
    std::vector<Token> result;
    for (const Token id : ids)
        if (id >= 0 && id < vocabulary)
            result.push_back(id);
        else
            notes.push_back(std::string("end-of-text token ") + std::to_string(id) +
                            " is ignored: the vocabulary has " + std::to_string(vocabulary) +
                            " tokens");
    return result;
}

// Error{limit} if a full context of rows of `row` numbers, keys and values as f32, exceeds the
// limit.
inline void check_cache_bytes(int context, int layers, std::size_t row, const std::string& where,
                              const FileLimits& limits) {
    const std::size_t bytes =
        checked_mul(checked_mul(static_cast<std::size_t>(context), static_cast<std::size_t>(layers),
                                "cache bytes"),
                    checked_mul(row, 8, "cache bytes"), "cache bytes");
    check_limit(bytes, limits.cache_bytes, "cache_bytes", where,
                "bytes of keys and values for a full context");
}

// Reads the keys of one architecture after the other.
class HfConfigReader {
  public:
    HfConfigReader(const JsonObject& root, const FileLimits& limits)
        : root_(root), limits_(limits) {}

    ModelConfig read(const std::string& architecture) {
        if (architecture == "gpt2") return gpt2();
        if (architecture == "gptj") return gpt_j();
        if (architecture == "llama" || architecture == "mistral" || architecture == "qwen2")
            return llama(architecture);
        fail(ErrorCode::unsupported, root_.where(), ": model_type \"", architecture.substr(0, 60),
             "\" is not known; known: gpt2, gptj, llama, mistral, qwen2");
    }

  private:
    static constexpr std::int64_t most = 1 << 24;

    int integer(const char* key, std::int64_t limit,
                std::optional<std::int64_t> fallback = std::nullopt) const {
        return static_cast<int>(root_.integer(key, 1, limit, fallback));
    }
    void word(const char* key, const char* fallback,
              std::initializer_list<const char*> known) const {
        const std::string value = root_.string(key, fallback);
        std::string list;
        for (const char* good : known) {
            if (value == good) return;
            list += (list.empty() ? "" : ", ") + std::string(good);
        }
        fail(ErrorCode::unsupported, root_.where(), ": ", key, " \"", value.substr(0, 60),
             "\"; known: ", list);
    }
    void no(std::initializer_list<const char*> keys) const {
        for (const char* key : keys)
            require(!root_.boolean(key, false), ErrorCode::unsupported, root_.where(), ": ", key,
                    " is not supported");
    }
    void check_cache(int context, int layers, std::size_t row) const {
        check_cache_bytes(context, layers, row, root_.where(), limits_);
    }
    // The keys that GPT-2 and GPT-J share.
    template <class Config>
    void gpt(Config& c) const {
        c.layers = integer("n_layer", 1024);
        c.heads = integer("n_head", most);
        c.width = integer("n_embd", most / 8);
        c.context = integer("n_positions", most);
        c.vocabulary = integer("vocab_size", most);
        c.hidden = static_cast<int>(root_.integer("n_inner", 1, most, 0));
        c.epsilon = static_cast<float>(root_.number("layer_norm_epsilon", 1e-5));
    }

    Gpt2Config gpt2() const {
        Gpt2Config c;
        gpt(c);
        c.tied = root_.boolean("tie_word_embeddings", true);
        validate(c);
        word("activation_function", "gelu_new", {"gelu_new", "gelu_pytorch_tanh"});
        require(root_.boolean("scale_attn_weights", true), ErrorCode::unsupported, root_.where(),
                ": scale_attn_weights false is not supported");
        no({"scale_attn_by_inverse_layer_idx", "add_cross_attention"});
        check_cache(c.context, c.layers, static_cast<std::size_t>(c.width));
        return c;
    }
    GptJConfig gpt_j() const {
        GptJConfig c;
        gpt(c);
        c.rotary_dims = integer("rotary_dim", 4096, 64);
        c.tied = root_.boolean("tie_word_embeddings", false);
        validate(c);
        word("activation_function", "gelu_new", {"gelu_new", "gelu_pytorch_tanh"});
        check_cache(c.context, c.layers, static_cast<std::size_t>(c.width));
        return c;
    }
    LlamaConfig llama(const std::string& architecture) const {
        LlamaConfig c;
        c.architecture = architecture;
        c.layers = integer("num_hidden_layers", 1024);
        c.width = integer("hidden_size", most / 8);
        c.hidden = integer("intermediate_size", most);
        c.context = integer("max_position_embeddings", most);
        c.vocabulary = integer("vocab_size", most);
        c.heads.heads = integer("num_attention_heads", most / 8);
        c.heads.kv_heads = integer("num_key_value_heads", most / 8, c.heads.heads);
        require(root_.find("head_dim") != nullptr || c.width % c.heads.heads == 0, root_.code(),
                root_.where(), ": hidden_size ", c.width, " is not a multiple of ", c.heads.heads,
                " heads, and there is no head_dim");
        c.heads.key_dim = integer("head_dim", 4096, std::max(c.width / c.heads.heads, 1));
        c.heads.value_dim = c.heads.key_dim;
        c.epsilon = static_cast<float>(root_.number("rms_norm_eps", 1e-6));
        c.tied = root_.boolean("tie_word_embeddings", false);
        c.qkv_bias = architecture == "qwen2";
        c.predicting = static_cast<int>(root_.integer("num_nextn_predict_layers", 0, 1024, 0));
        word("hidden_act", "silu", {"silu", "swish"});
        no({"attention_bias", "mlp_bias"});
        if (architecture == "mistral")
            // Missing means Mistral 7B's window, null means none.
            c.window = static_cast<int>(root_.integer(
                "sliding_window", 1, most, root_.json().contains("sliding_window") ? 0 : 4096));
        if (architecture == "qwen2") no({"use_sliding_window"});
        rotary(c);
        validate(c);
        check_cache(
            c.context, c.layers,
            static_cast<std::size_t>(c.heads.kv_heads) * static_cast<std::size_t>(c.heads.key_dim));
        return c;
    }
    // rope_theta and rope_scaling, or the newer rope_parameters that holds both.
    void rotary(LlamaConfig& c) const {
        c.theta = root_.number("rope_theta", 10000.0);
        const Json* parameters = root_.find("rope_parameters");
        const Json* json = parameters != nullptr ? parameters : root_.find("rope_scaling");
        if (json == nullptr) return;
        const JsonObject rope(
            *json, root_.code(),
            root_.where() + (parameters != nullptr ? ": rope_parameters" : ": rope_scaling"));
        if (parameters != nullptr) c.theta = rope.number("rope_theta", c.theta);
        const std::string type = rope.string("rope_type", rope.string("type", "default"));
        RotaryScaling& s = c.scaling;
        if (type == "default") return;
        s.factor = rope.number("factor");
        require(s.factor > 0.0 && s.factor < 1e6, root_.code(), rope.where(), ": factor ",
                s.factor);
        const auto context = [&](double fallback) {
            const double n = rope.number("original_max_position_embeddings", fallback);
            require(n >= 1.0 && n <= 1e9, root_.code(), rope.where(),
                    ": original_max_position_embeddings ", n);
            return n;
        };
        if (type == "linear") {
            s.kind = RotaryScaling::Kind::linear;
        } else if (type == "llama3") {
            s.kind = RotaryScaling::Kind::llama3;
            s.low_frequency = rope.number("low_freq_factor");
            s.high_frequency = rope.number("high_freq_factor");
            s.original_context = context(8192);
            require(s.low_frequency > 0.0 && s.high_frequency > s.low_frequency, root_.code(),
                    rope.where(), ": low_freq_factor ", s.low_frequency, ", high_freq_factor ",
                    s.high_frequency);
        } else if (type == "yarn") {
            s.kind = RotaryScaling::Kind::yarn;
            s.beta_fast = rope.number("beta_fast", 32.0);
            s.beta_slow = rope.number("beta_slow", 1.0);
            s.attention_factor = rope.number("attention_factor", 0.0);
            s.original_context = context(c.context);
            require(s.beta_slow > 0.0 && s.beta_fast > s.beta_slow && s.attention_factor >= 0.0,
                    root_.code(), rope.where(), ": beta_fast ", s.beta_fast, ", beta_slow ",
                    s.beta_slow, ", attention_factor ", s.attention_factor);
        } else {
            fail(ErrorCode::unsupported, rope.where(), ": type \"", type.substr(0, 60),
                 "\"; known: default, linear, llama3, yarn");
        }
    }

    const JsonObject& root_;
    const FileLimits& limits_;
};

}  // namespace detail

/// Parses the text of a config.json. Throws Error{bad_config, unsupported, limit}.
inline HfConfig parse_hf_config(std::string_view text, const std::string& where,
                                const FileLimits& limits = {}) {
    const FpEnvironment environment;
    const JsonDocument json(parse_json(text, ErrorCode::bad_config, where, limits));
    const JsonObject root(*json, ErrorCode::bad_config, where);
    HfConfig result;
    result.architecture = root.string("model_type");
    result.model = detail::HfConfigReader(root, limits).read(result.architecture);
    if (const Json* eos = root.find("eos_token_id")) {
        std::vector<Token> ids;
        const auto add = [&](const Json& value) {
            ids.push_back(static_cast<Token>(
                root.integer_of(value, "eos_token_id", -1, std::numeric_limits<Token>::max())));
        };
        if (eos->is_array()) {
            require(!eos->empty(), ErrorCode::bad_config, where, ": eos_token_id lists no ids");
            detail::check_limit(eos->size(), limits.end_of_text_tokens, "end_of_text_tokens", where,
                                "ids in eos_token_id", ErrorCode::bad_config);
            for (const Json& value : *eos) add(value);
        } else {
            add(*eos);
        }
        result.end_of_text = detail::known_end_of_text(ids, result.vocabulary(), result.notes);
    }
    return result;
}

}  // namespace cairn::inline CAIRN_ABI
