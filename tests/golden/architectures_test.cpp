// Every architecture of the standard parts against Hugging Face transformers, from folders (weights
// in f16) and from GGUF files whose names come from llama.cpp's own package. make_architectures.py
// wrote them.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <cairn/io/gguf_export.hpp>
#include <cairn/io/hf_config.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "golden/golden_support.hpp"
using namespace support;

namespace {

std::vector<float> standard_logits(const LoadedModel& loaded, Tokens tokens) {
    auto session = loaded.model.session<KvCache<>>(64);
    std::vector<float> logits(tokens.size() * static_cast<std::size_t>(loaded.model.vocabulary()));
    session.score(tokens, logits.data());
    return logits;
}

void check_standard(const std::string& path, const Json& item) {
    INFO(path);
    const LoadedModel loaded = load_model(path);
    const auto tokens = item["tokens"].get<std::vector<Token>>();
    const auto vocabulary = static_cast<std::size_t>(loaded.model.vocabulary());
    const std::vector<float> logits = standard_logits(loaded, tokens);
    check_golden(item, logits, vocabulary);
    // One by one, and in chunks over pages, gives the same bits.
    auto single = loaded.model.session<KvCache<>>(64);
    for (std::size_t i = 0; i < tokens.size(); ++i)
        REQUIRE(same_bits(single.decode(tokens[i]),
                          std::span(logits).subspan(i * vocabulary, vocabulary)));
    auto paged = loaded.model.session<KvCache<Paged<F32>>>(64);
    paged.prefill(Tokens(tokens).first(7));
    REQUIRE(
        same_bits(paged.prefill(Tokens(tokens).subspan(7)), std::span(logits).last(vocabulary)));
}

}  // namespace

TEST_CASE("architectures of the standard parts agree with Hugging Face",
          "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const Json golden = Json::parse(read_text(data + "/architectures.json", 100000000));
    int folders = 0, ggufs = 0;
    for (const auto& [name, item] : golden["models"].items()) {
        check_standard(data + "/architectures/" + name, item);
        ++folders;
        const std::string gguf = data + "/architectures/" + name + ".gguf";
        if (!std::filesystem::exists(gguf)) continue;
        check_standard(gguf, item);
        ++ggufs;
    }
    CHECK(folders == 33);
    CHECK(ggufs == 19);
}

TEST_CASE("architectures of the standard parts are exported, or the error says why not",
          "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const Json golden = Json::parse(read_text(data + "/architectures.json", 100000000));
    const std::string to = (std::filesystem::temp_directory_path() /
                            ("cairn-architectures-" + std::to_string(::getpid()) + ".gguf"))
                               .string();
    int written = 0, refused = 0;
    for (const auto& [name, item] : golden["models"].items()) {
        INFO(name);
        const std::string from = data + "/architectures/" + name;
        try {
            export_gguf(from, to, ElementType::f16);
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::unsupported);
            CHECK_THAT(error.what(), has_text("GGUF files"));
            ++refused;
            continue;
        }
        check_standard(to, item);
        ++written;
    }
    std::filesystem::remove(to);
    CHECK(written == 21);
    CHECK(refused == 12);
}

TEST_CASE("hostile numbers of the standard parts end in one error that names them",
          "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const auto with = [&](const std::string& model, const char* key, const char* value) {
        Json config =
            Json::parse(read_text(data + "/architectures/" + model + "/config.json", 1 << 20));
        config[key] = Json::parse(value);
        return code_of([&] { parse_hf_config(config.dump(), "config.json"); });
    };
    Json many =
        Json::parse(read_text(data + "/architectures/stablelm-parallel/config.json", 1 << 20));
    many["num_attention_heads"] = many["num_key_value_heads"] = 1 << 20;
    many["hidden_size"] = 1 << 21;
    CHECK(code_of([&] { parse_hf_config(many.dump(), "config.json"); }) == ErrorCode::bad_config);
    CHECK(with("qwen3", "rope_parameters", R"({"rope_type": "default", "rope_theta": 1e300})") ==
          ErrorCode::bad_config);
    CHECK(with("qwen3", "rope_scaling", R"({"rope_type": "yarn", "factor": 4.0})") ==
          ErrorCode::unsupported);
    CHECK(with("gpt-neox", "rope_parameters",
               R"({"rope_type": "default", "partial_rotary_factor": 0.01})") ==
          ErrorCode::unsupported);
    CHECK(with("gemma2", "layer_types", R"(["full_attention"])") == ErrorCode::bad_config);
    CHECK(with("gemma2", "layer_types", R"(["a", "b", "c"])") == ErrorCode::unsupported);
    CHECK(with("smollm3", "no_rope_layers", R"([1, "x"])") == ErrorCode::bad_config);
    CHECK(with("mixtral", "num_experts_per_tok", "6") == ErrorCode::bad_config);
    CHECK(with("mpt-clip", "attn_config", R"({"clip_qkv": -2.0})") == ErrorCode::bad_config);
}

TEST_CASE("what differs in its activation alone has another fingerprint",
          "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const std::string from = data + "/architectures/gpt-neox";
    const auto to =
        std::filesystem::temp_directory_path() / ("cairn-activation-" + std::to_string(::getpid()));
    std::filesystem::create_directories(to);
    std::filesystem::copy_file(from + "/model.safetensors", to / "model.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    Json config = Json::parse(read_text(from + "/config.json", 1 << 20));
    config["hidden_act"] = "gelu_new";
    std::ofstream(to / "config.json") << config.dump();
    CHECK(load_model(from).model.fingerprint() != load_model(to.string()).model.fingerprint());
    std::filesystem::remove_all(to);
}
