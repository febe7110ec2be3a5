// Every architecture of the standard parts against Hugging Face transformers, from folders (weights
// in f16) and from GGUF files whose names come from llama.cpp's own package. make_architectures.py
// wrote them.
#include <unistd.h>

#include <cairn/io/gguf_export.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "support.hpp"
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
    for (std::size_t i = 0; i < item["rows"].size(); ++i) {
        const auto wanted = item["logits"][i].get<std::vector<float>>();
        const auto row = item["rows"][i].get<std::size_t>();
        REQUIRE(wanted.size() == vocabulary);
        float largest = 0.0F, worst = 0.0F;
        for (std::size_t v = 0; v < vocabulary; ++v) {
            largest = std::max(largest, std::abs(wanted[v]));
            worst = std::max(worst, std::abs(wanted[v] - logits[row * vocabulary + v]));
        }
        INFO("row " << row << ": off by " << worst << " of " << largest);
        CHECK(worst < 1e-4F * largest);
    }
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
    CHECK(written == 23);
    CHECK(refused == 10);
}
