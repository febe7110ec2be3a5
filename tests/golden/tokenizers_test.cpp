// Token ids against Hugging Face tokenizers and llama.cpp, for every pre-tokenizer and for
// SentencePiece, from tokenizer.json and from GGUF (make_tokenizers.py).
#include <cairn/io/io.hpp>

#include "support.hpp"
using namespace support;

namespace {

const std::string data = CAIRN_TEST_DATA;
const Json& golden() {
    static const Json json = Json::parse(read_text(data + "/tokenizers.json", 100000000));
    return json;
}
Tokenizer from_gguf(const std::string& path) {
    const std::string bytes = read_text(path, std::size_t{1} << 30);
    const auto header = parse_gguf(std::as_bytes(std::span(bytes)), path);
    return *gguf_tokenizer(header.metadata);
}
int differences(const Tokenizer& tokenizer, const Json& ids) {
    int count = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        const auto text = golden()["strings"][i].get<std::string>();
        const auto got = tokenizer.encode(text);
        if (got == ids[i].get<std::vector<Token>>()) continue;
        ++count;
        UNSCOPED_INFO(Json(text).dump()
                      << " gives " << Json(got).dump() << " not " << ids[i].dump());
    }
    return count;
}

}  // namespace

TEST_CASE("ids of every vocabulary are those of both references", "[golden][tokenizer]") {
    CHECK(golden()["strings"].size() > 600);
    int compared = 0;
    for (const auto& [name, ids] : golden()["vocabularies"].items()) {
        INFO(name);
        const std::string path = data + "/tokenizers/" + name;
        CHECK(differences(from_gguf(path + ".gguf"), ids["llama.cpp"]) == 0);
        ++compared;
        if (!ids.contains("tokenizers")) continue;
        const Tokenizer tokenizer = Tokenizer::parse(read_text(path + ".json", 1 << 24));
        CHECK(differences(tokenizer, ids["tokenizers"]) == 0);
        ++compared;
    }
    CHECK(compared == 11);
}

TEST_CASE("what was encoded decodes to itself", "[golden][tokenizer]") {
    for (const auto& [name, ids] : golden()["vocabularies"].items()) {
        INFO(name);
        const Tokenizer tokenizer = from_gguf(data + "/tokenizers/" + name + ".gguf");
        for (const Json& item : golden()["strings"]) {
            const auto text = item.get<std::string>();
            REQUIRE(tokenizer.decode(tokenizer.encode(text)) == text);
        }
    }
}

TEST_CASE("form C before the vocabulary, as Qwen's tokenizer.json asks for",
          "[golden][tokenizer]") {
    const Json nfc = Json::parse(read_text(data + "/tokenizers_nfc.json", 10000000));
    Json file = Json::parse(read_text(data + "/tokenizers/qwen2.json", 1 << 24));
    file["normalizer"] = {{"type", "NFC"}};
    const Tokenizer tokenizer = Tokenizer::parse(file.dump());
    int changed = 0;
    REQUIRE(nfc["strings"].size() > 400);
    for (std::size_t i = 0; i < nfc["strings"].size(); ++i) {
        const auto text = nfc["strings"][i].get<std::string>();
        INFO(nfc["strings"][i].dump());
        const std::string composed = unicode_nfc(text);
        REQUIRE(Json(composed).dump() == nfc["normalized"][i].dump());
        REQUIRE(unicode_nfc(composed) == composed);
        CHECK(tokenizer.encode(text) == nfc["ids"][i].get<std::vector<Token>>());
        changed += composed != text;
    }
    CHECK(changed > 200);
}
