#include <cairn/io/file.hpp>
#include <cairn/io/gguf_export.hpp>
#include <cairn/io/gguf_source.hpp>
#include <cairn/io/hf_config.hpp>
#include <cairn/io/model_file.hpp>
#include <cmath>
#include <fstream>
#include <limits>

#include "environment_support.hpp"
using namespace support;
namespace fs = std::filesystem;

TEST_CASE("a model is the same whatever the host rounds to while it is loaded", "[model_file]") {
    const std::string models = std::string(CAIRN_TEST_DATA) + "/models/";
    LoadOptions half;
    half.store_as = ElementType::f16;
    for (const char* name : {"llama-llama3", "llama-llama3.gguf", "llama-yarn", "llama-yarn.gguf",
                             "gptj", "qwen2.gguf"})
        for (const LoadOptions& options : {LoadOptions(), half})
            same_everywhere(name, [&] {
                const LoadedModel loaded = load_model(models + name, options);
                auto session = loaded.model.session<KvCache<>>(8);
                Bytes bytes;
                bytes.add(loaded.model.fingerprint());
                bytes.add(session.prefill(std::vector<Token>{1, 2, 3}));
                return bytes;
            });
    const fs::path to = fs::temp_directory_path() / "cairn_environment_test.gguf";
    for (const ElementType type : {ElementType::f16, ElementType::q8_0, ElementType::q4_1})
        same_everywhere("export_gguf", [&] {
            export_gguf(models + "llama-llama3", to.string(), type);
            Bytes bytes;
            bytes.text = read_text(to.string(), std::size_t{1} << 24);
            return bytes;
        });
    same_everywhere("quantised GGUF", [&] {
        const LoadedModel loaded = load_model(to.string());
        auto session = loaded.model.session<KvCache<>>(8);
        Bytes bytes;
        bytes.add(loaded.model.fingerprint());
        bytes.add(session.prefill(std::vector<Token>{1, 2, 3}));
        return bytes;
    });
    fs::remove(to);
    same_everywhere("config.json", [] {
        const HfConfig config = parse_hf_config(
            R"({"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 8,
                "intermediate_size": 8, "max_position_embeddings": 8, "vocab_size": 8,
                "num_attention_heads": 2, "rms_norm_eps": 0.00001234567891,
                "rope_theta": 12345.678901234567891})",
            "config.json");
        Bytes bytes;
        for (const auto& [name, number] : config.numbers)
            if (const auto* real = std::get_if<double>(&number)) bytes.add(*real);
        return bytes;
    });
}

TEST_CASE("an infinity in one weight is found by threads that pack, too", "[model_file]") {
    const std::string original = std::string(CAIRN_TEST_DATA) + "/models/llama-mha.gguf";
    const std::string good = read_text(original, 1 << 24);
    const GgufHeader header = parse_gguf(std::as_bytes(std::span(good)), original);
    const fs::path path = fs::temp_directory_path() / "cairn_infinity_test.gguf";
    ThreadPool pool(3);
    LoadOptions options;
    options.executor = &pool;
    const float infinity = std::numeric_limits<float>::infinity();
    int tried = 0;
    for (const auto& [name, tensor] : header.tensors) {
        if (tensor.type != ElementType::f32) continue;
        ++tried;
        std::string bad = good;
        std::memcpy(bad.data() + tensor.begin + tensor.bytes / 2 / 4 * 4, &infinity, 4);
        std::ofstream(path, std::ios::binary)
            .write(bad.data(), static_cast<std::streamsize>(bad.size()));
        try {
            load_model(path.string(), options);
            FAIL("accepted");
        } catch (const Error& error) {
            INFO(name);
            CHECK(error.code() == ErrorCode::non_finite);
            CHECK(std::string(error.what()).find("tensor " + name + ":") != std::string::npos);
        }
    }
    CHECK(tried > 10);
    fs::remove(path);
}
