// reliability 2.4: every field absent, null, of the wrong type, zero, negative, huge, repeated.
#include <cmath>
#include <map>

#include <cairn/io/hf_config.hpp>

#include "support.hpp"
using namespace support;

namespace {

using Fields = std::map<std::string, std::string>;
const Fields base{{"model_type", "\"gpt2\""},
                  {"n_layer", "2"},
                  {"n_head", "2"},
                  {"n_embd", "8"},
                  {"n_positions", "16"},
                  {"vocab_size", "100"},
                  {"layer_norm_epsilon", "1e-5"},
                  {"activation_function", "\"gelu_new\""},
                  {"eos_token_id", "5"}};
std::string text_of(const Fields& fields, const std::string& extra = "") {
    std::string text = "{";
    for (const auto& [key, value] : fields)
        if (!value.empty()) text += (text.size() > 1 ? ",\"" : "\"") + key + "\":" + value;
    return text + extra + "}";
}
HfConfig parse(Fields fields) { return parse_hf_config(text_of(fields), "config.json"); }
// The numbers alone, by the recipe that they belong to.
template <class Read>
auto numbers_of(const Fields& fields, const Read& read) {
    const JsonDocument json(parse_json(text_of(fields), ErrorCode::bad_config, "config.json"));
    const JsonObject root(*json, ErrorCode::bad_config, "config.json");
    HfNumbers numbers(root, root.string("model_type"));
    return read(numbers);
}
ErrorCode error(const std::string& key, const std::string& value) {
    Fields fields = base;
    fields[key] = value;
    INFO(key << " = " << value);
    return code_of([&] { parse(fields); });
}

}  // namespace

TEST_CASE("the text part alone of a model that reads prompts both ways is refused", "[hf_config]") {
    const std::string part = R"(","text_config":)" + text_of(base) + "}";
    CHECK(parse_hf_config(R"({"model_type":"other)" + part, "config.json").architecture == "gpt2");
    CHECK(code_of([&] { parse_hf_config(R"({"model_type":"paligemma)" + part, "config.json"); }) ==
          ErrorCode::unsupported);
}

TEST_CASE("a good config is read", "[hf_config]") {
    const HfConfig c = parse(base);
    CHECK(c.recipe.shape.layers == 2);
    CHECK(numbers_of(base, read_gpt2_config).hidden_width() == 32);
    CHECK(numbers_of(base, read_gpt2_config).tied);
    CHECK(c.end_of_text == std::vector<Token>{5});
    Fields several = base;
    several["eos_token_id"] = "[1, 2]";
    CHECK(parse(several).end_of_text.size() == 2);
    several["eos_token_id"] = "null";
    CHECK(parse(several).end_of_text.empty());
    several["n_inner"] = "null";
    several["layer_norm_epsilon"] = "";
    CHECK(numbers_of(several, read_gpt2_config).epsilon == 1e-5F);
}

TEST_CASE("every count refuses what is none", "[hf_config]") {
    for (const char* key : {"n_layer", "n_head", "n_embd", "n_positions", "vocab_size"})
        for (const char* value :
             {"", "null", "\"12\"", "12.5", "2.0", "-1", "0", "2147483648", "9223372036854775808",
              "18446744073709551615", "true", "[]", "{}"})
            CHECK(error(key, value) == ErrorCode::bad_config);
    for (const char* key : {"n_layer", "n_head", "n_embd", "vocab_size"})
        CHECK(error(key, "1e400") == ErrorCode::bad_config);
    CHECK(error("n_layer", "1025") == ErrorCode::bad_config);
    CHECK(error("n_head", "3") == ErrorCode::bad_config);
    for (const char* value : {"-1", "0", "1.5", "\"4\""})
        CHECK(error("n_inner", value) == ErrorCode::bad_config);
    for (const char* value : {"0", "-1e-5", "2", "\"1e-5\"", "true"})
        CHECK(error("layer_norm_epsilon", value) == ErrorCode::bad_config);
    for (const char* value : {"[]", "-2", "1.0", "\"5\"", "[5,4294967296]"})
        CHECK(error("eos_token_id", value) == ErrorCode::bad_config);
    std::string long_list = "[0";
    for (int i = 0; i < 100000; ++i) long_list += ",0";
    CHECK(error("eos_token_id", long_list + "]") == ErrorCode::bad_config);
    CHECK(error("tie_word_embeddings", "1") == ErrorCode::bad_config);
}

TEST_CASE("what is not known is named, never guessed", "[hf_config]") {
    CHECK(error("model_type", "\"gpt3\"") == ErrorCode::unsupported);
    Fields unknown = base;
    unknown["model_type"] = "\"gpt3\"";
    try {
        parse(unknown);
    } catch (const Error& failure) {
        CHECK(
            std::string(failure.what()) ==
            "config.json: the architecture \"gpt3\" is not known; known: gpt2, gptj, deepseek_v2, "
            "deepseek_v3, llama, mistral, qwen2, mixtral, qwen3, qwen3_moe, gemma2, gemma3_text, "
            "phi3, smollm3, gpt_oss, olmo2, olmo3, granite, gpt_neox, gpt_bigcode, starcoder2, "
            "cohere, stablelm, bloom, "
            "mpt; "
            "docs/extend.md shows how a program adds one");
    }
    CHECK(error("model_type", "") == ErrorCode::bad_config);
    CHECK(error("activation_function", "\"relu\"") == ErrorCode::unsupported);
    CHECK(error("scale_attn_by_inverse_layer_idx", "true") == ErrorCode::unsupported);
    CHECK(error("scale_attn_weights", "false") == ErrorCode::unsupported);
    CHECK(error("add_cross_attention", "true") == ErrorCode::unsupported);
    Fields huge = base;
    huge["n_layer"] = "1024";
    huge["n_embd"] = "2000000";
    huge["n_positions"] = "16000000";
    CHECK(code_of([&] { parse(huge); }) == ErrorCode::limit);
    // Numbers for 32 GiB of zeros a layer, which an export would write beside matrices of that
    // size.
    const char* zeros = R"({"model_type": "gpt_oss", "attention_bias": false,
        "num_hidden_layers": 1024, "hidden_size": 2097152, "num_attention_heads": 2097152,
        "num_key_value_heads": 1, "head_dim": 4096, "num_local_experts": 1,
        "num_experts_per_tok": 1, "vocab_size": 8, "max_position_embeddings": 64,
        "intermediate_size": 8, "rope_scaling": {"type": "linear", "factor": 1}})";
    CHECK_NOTHROW(parse_hf_config(zeros, "x"));
    CHECK(code_of([&] { parse_hf_config(text_of(base, ",\"n_layer\":2"), "x"); }) ==
          ErrorCode::bad_config);  // repeated
    for (const char* text : {"", "[]", "null", "{", "{\"a\":NaN}", "\xEF\xBB\xBF{}"})
        CHECK(code_of([&] { parse_hf_config(text, "x"); }) == ErrorCode::bad_config);
    CHECK(code_of([&] { parse_hf_config(std::string(100000, '['), "x"); }) ==
          ErrorCode::bad_config);
    CHECK(code_of([&] {
              parse_hf_config("{\"a\":" + std::string(70, '[') + std::string(70, ']') + "}", "x");
          }) == ErrorCode::bad_config);
}

TEST_CASE("an architecture of the program is found by model_type or class, the last one first",
          "[hf_config]") {
    const auto reader = [](int layers) {
        return [layers](ModelNumbers& numbers, const TensorSource& source) {
            CHECK(source.shape("any") == nullptr);
            ModelRecipe recipe;
            recipe.shape = {numbers.architecture(), layers,      8, 16,
                            numbers.vocabulary(),   {1, 1, 8, 8}};
            return recipe;
        };
    };
    register_architecture("config-test", reader(1));
    register_architecture({"ConfigTestForCausalLM", "", reader(3)});
    Fields fields = base;
    fields["model_type"] = "\"config-test\"";
    CHECK(parse(fields).recipe.shape.layers == 1);
    CHECK(parse(fields).gguf == "config-test");
    register_architecture("config-test", reader(2));
    CHECK(parse(fields).recipe.shape.layers == 2);
    fields["architectures"] = R"(["ConfigTestForCausalLM"])";
    CHECK(parse(fields).recipe.shape.layers == 2);  // model_type first
    fields["model_type"] = "";
    const HfConfig c = parse(fields);
    CHECK(c.recipe.shape.layers == 3);
    CHECK(c.gguf.empty());
    CHECK(c.architecture == "ConfigTestForCausalLM");
    fields["architectures"] = "[]";
    CHECK(code_of([&] { parse(fields); }) == ErrorCode::bad_config);
    fields["architectures"] = "[7]";
    CHECK(code_of([&] { parse(fields); }) == ErrorCode::unsupported);
}

TEST_CASE("Llama's config, in both spellings of the rotation", "[hf_config]") {
    const Fields llama{{"model_type", "\"llama\""},
                       {"num_hidden_layers", "2"},
                       {"hidden_size", "24"},
                       {"intermediate_size", "40"},
                       {"num_attention_heads", "3"},
                       {"num_key_value_heads", "1"},
                       {"max_position_embeddings", "64"},
                       {"vocab_size", "100"},
                       {"rms_norm_eps", "1e-5"},
                       {"hidden_act", "\"silu\""}};
    const auto config = [](const Fields& f) {
        parse(f);
        return numbers_of(f, read_llama_config);
    };
    const auto with = [&](const std::string& key, const std::string& value) {
        Fields f = llama;
        f[key] = value;
        return f;
    };
    const auto bad = [&](const std::string& key, const std::string& value) {
        INFO(key << " = " << value);
        return code_of([&] { parse(with(key, value)); });
    };
    Fields old = with("rope_theta", "500.0");
    old["rope_scaling"] = R"({"type": "linear", "factor": 4.0})";
    const LlamaConfig a = config(old);
    const LlamaConfig b = config(
        with("rope_parameters", R"({"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0})"));
    for (const LlamaConfig& c : {a, b}) {
        CHECK(c.theta == 500.0);
        CHECK(c.scaling.kind == RotaryScaling::Kind::linear);
        CHECK(c.scaling.factor == 4.0);
        CHECK(c.heads.key_dim == 8);
        CHECK(c.heads.kv_heads == 1);
        CHECK_FALSE(c.tied);
    }
    CHECK(config(with("head_dim", "10")).heads.key_dim == 10);
    CHECK(config(with("model_type", "\"mistral\"")).window == 4096);  // the model's own default
    Fields mistral = with("model_type", "\"mistral\"");
    mistral["sliding_window"] = "null";
    CHECK(config(mistral).window == 0);
    CHECK(config(with("model_type", "\"qwen2\"")).qkv_bias);
    for (const char* value : {"0", "-1", "1.5", "\"3\"", "2147483648", "5"})
        CHECK(bad("num_key_value_heads", value) == ErrorCode::bad_config);
    CHECK(bad("num_attention_heads", "5") == ErrorCode::bad_config);  // 24 / 5
    CHECK(bad("head_dim", "7") == ErrorCode::bad_config);             // odd
    for (const char* value : {"0", "-1", "1e400", "\"x\"", "true"})
        CHECK(bad("rope_theta", value) == ErrorCode::bad_config);
    CHECK(bad("rope_scaling", R"({"type": "linear"})") == ErrorCode::bad_config);
    CHECK(bad("rope_scaling", R"({"type": "linear", "factor": 0})") == ErrorCode::bad_config);
    for (const char* value :
         {R"({"type": "linear", "factor": 1e-300})", R"({"type": "linear", "factor": 1e7})",
          R"({"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 1e300})",
          R"({"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4})",
          R"({"type": "yarn", "factor": 4, "beta_fast": -1})",
          R"({"type": "yarn", "factor": 4, "beta_slow": 1e-300})",
          R"({"type": "yarn", "factor": 4, "attention_factor": 1e300})",
          R"({"type": "yarn", "factor": 4, "original_max_position_embeddings": 0})"})
        CHECK(bad("rope_scaling", value) == ErrorCode::bad_config);
    // What Llama's own recipe has no place for is put together from the usual parts.
    const std::string four = R"("short_factor": [1, 1, 1, 1], "long_factor": [2, 2, 2, 2]})";
    for (const char* architecture : {"\"llama\"", "\"mistral\"", "\"qwen2\""})
        for (const std::string& value :
             {R"({"type": "longrope", )" + four, R"({"rope_type": "su", )" + four,
              std::string(R"({"type": "yarn", "factor": 4, "truncate": false})")}) {
            INFO(architecture << " " << value);
            Fields f = with("rope_scaling", value);
            f["model_type"] = architecture;
            f["original_max_position_embeddings"] = "32";
            const HfConfig c = parse(f);
            const bool written =
                value.find("yarn") == std::string::npos && std::string(architecture) != "\"qwen2\"";
            CHECK(c.recipe.not_in_gguf.empty() == written);
            CHECK(code_of([&] { numbers_of(f, read_llama_config); }) == ErrorCode::unsupported);
            const TensorEntry* bias = c.recipe.tensors.find("model.layers.1.self_attn.q_proj.bias");
            CHECK((bias->need == Need::always) == (std::string(architecture) == "\"qwen2\""));
            f["attention_bias"] = "true";
            CHECK(code_of([&] { parse(f); }) == ErrorCode::unsupported);
            f["attention_bias"] = "false";
            f["hidden_act"] = "\"relu\"";
            CHECK(code_of([&] { parse(f); }) == ErrorCode::unsupported);
        }
    for (const char* value :
         {R"({"type": "longrope", "short_factor": [1, 1], "long_factor": [2, 2]})",
          R"({"type": "longrope", "short_factor": [1, 1, 1, 1]})",
          R"({"type": "yarn", "truncate": false})",
          R"({"type": "yarn", "factor": 4, "truncate": 0})", R"({"type": 7})", "7"})
        CHECK(bad("rope_scaling", value) == ErrorCode::bad_config);
    CHECK(config(with("rope_scaling",
                      R"({"type": "yarn", "factor": 40, "mscale": 0.707, "mscale_all_dim": 1.0})"))
              .scaling.attention_factor ==
          Approx((0.0707 * std::log(40.0) + 1.0) / (0.1 * std::log(40.0) + 1.0)));
    CHECK(bad("rope_scaling", R"({"type": "dynamic", "factor": 2})") == ErrorCode::unsupported);
    CHECK(bad("attention_bias", "true") == ErrorCode::unsupported);
    CHECK(bad("hidden_act", "\"relu\"") == ErrorCode::unsupported);
    for (const char* value : {"0", "-1e-5", "2"})
        CHECK(bad("rms_norm_eps", value) == ErrorCode::bad_config);
}

TEST_CASE("end-of-text tokens beyond the vocabulary are ignored with a note", "[hf_config]") {
    Fields fields = base;
    fields["eos_token_id"] = "50256";  // the default that Hugging Face writes
    HfConfig c = parse(fields);
    CHECK(c.end_of_text.empty());
    REQUIRE(c.notes.size() == 1);
    CHECK(c.notes[0].find("50256") != std::string::npos);
    CHECK(c.notes[0].find("100") != std::string::npos);
    fields["eos_token_id"] = "[100, 5, -1, 99]";
    c = parse(fields);
    CHECK(c.end_of_text == std::vector<Token>{5, 99});
    CHECK(c.notes.size() == 2);
    CHECK(parse(base).notes.empty());
}
