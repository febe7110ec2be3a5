// Token ids against Hugging Face tokenizers and llama.cpp, for every pre-tokenizer and for
// SentencePiece, from tokenizer.json and from GGUF (make_tokenizers.py).
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <sstream>

#include <cairn/io/gguf.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/tokenizer_gguf.hpp>
#include <cairn/io/tokenizer_json.hpp>

#include "support.hpp"
using namespace support;

namespace {

const std::string data = CAIRN_TEST_DATA;
const Json& tokenizer_goldens() {
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
        const auto text = tokenizer_goldens()["strings"][i].get<std::string>();
        const auto got = tokenizer.encode(text);
        if (got == ids[i].get<std::vector<Token>>()) continue;
        ++count;
        UNSCOPED_INFO(Json(text).dump()
                      << " gives " << Json(got).dump() << " not " << ids[i].dump());
    }
    return count;
}

// FNV-1a over the ids as little-endian 32-bit numbers, as make_tokenizers.py has it.
std::uint32_t hash_of(const std::vector<Token>& ids) {
    std::uint32_t h = 0x811C9DC5U;
    for (const Token id : ids)
        for (int byte = 0; byte < 4; ++byte)
            h = (h ^ (static_cast<std::uint32_t>(id) >> (8 * byte) & 255U)) * 0x01000193U;
    return h;
}

}  // namespace

TEST_CASE("ids of every vocabulary are those of both references", "[golden][tokenizer]") {
    CHECK(tokenizer_goldens()["strings"].size() > 600);
    int compared = 0;
    for (const auto& [name, ids] : tokenizer_goldens()["vocabularies"].items()) {
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

TEST_CASE("thousands of strings in many scripts, by the hash of their ids", "[golden][tokenizer]") {
    const Json more = Json::parse(read_text(data + "/tokenizers_more.json", 100000000));
    const Json& strings = more["strings"];
    REQUIRE(strings.size() > 2000);
    const auto same = [&](const Tokenizer& tokenizer, const Json& hashes) {
        REQUIRE(hashes.size() == strings.size());
        for (std::size_t i = 0; i < strings.size(); ++i) {
            INFO(strings[i].dump());
            const auto text = strings[i].get<std::string>();
            const auto ids = tokenizer.encode(text);
            CHECK(hash_of(ids) == hashes[i].get<std::uint32_t>());
            REQUIRE(tokenizer.decode(ids) == text);
        }
    };
    for (const auto& [name, hashes] : more["vocabularies"].items()) {
        INFO(name);
        const std::string path = data + "/tokenizers/" + name;
        same(from_gguf(path + ".gguf"), hashes["llama.cpp"]);
        if (name == "default") continue;  // Hugging Face has no such pre-tokenizer
        // Hugging Face's own ids are listed where they differ.
        same(Tokenizer::parse(read_text(path + ".json", 1 << 24)),
             hashes.contains("tokenizers") ? hashes["tokenizers"] : hashes["llama.cpp"]);
    }
}

TEST_CASE("what was encoded decodes to itself", "[golden][tokenizer]") {
    for (const auto& [name, ids] : tokenizer_goldens()["vocabularies"].items()) {
        INFO(name);
        const Tokenizer tokenizer = from_gguf(data + "/tokenizers/" + name + ".gguf");
        for (const Json& item : tokenizer_goldens()["strings"]) {
            const auto text = item.get<std::string>();
            REQUIRE(tokenizer.decode(tokenizer.encode(text)) == text);
        }
    }
}

TEST_CASE("the other pre-tokenizers that files name cut as the models' own",
          "[golden][tokenizer]") {
    const Json names = Json::parse(read_text(data + "/tokenizers_names.json", 10000000));
    const Json strings =
        Json::parse(read_text(data + "/tokenizers_more.json", 100000000))["strings"];
    const Json file = Json::parse(read_text(data + "/tokenizers/qwen2.json", 1 << 24));
    const std::string header = read_text(data + "/tokenizers/qwen2.gguf", 1 << 24);
    CHECK(names.size() == 15);
    for (const auto& [name, golden] : names.items()) {
        INFO(name);
        Json changed = file;
        changed["pre_tokenizer"] = golden["pre_tokenizer"];
        changed["model"]["ignore_merges"] = name == "tekken";
        const Tokenizer from_json = Tokenizer::parse(changed.dump());
        std::string bytes = header;  // "qwen2" behind its key, its type and its length
        const std::size_t at = bytes.find("tokenizer.ggml.pre") + 18 + 4;
        bytes[at] = static_cast<char>(name.size());
        bytes.replace(at + 8, 5, name);
        const Tokenizer from_header =
            *gguf_tokenizer(parse_gguf(std::as_bytes(std::span(bytes)), name).metadata);
        for (const Tokenizer* tokenizer : {&from_json, &from_header}) {
            std::vector<Token> row;
            int wrong = 0;
            for (std::size_t i = 0; i < strings.size(); ++i) {
                const auto text = strings[i].get<std::string>();
                const std::vector<Token> ids = tokenizer->encode(text);
                wrong += tokenizer->decode(ids) != text;
                row.insert(row.end(), ids.begin(), ids.end());
                if (i % 24 < 23 && i + 1 < strings.size()) continue;
                wrong += hash_of(row) != golden["hashes"][i / 24].get<std::uint32_t>();
                row.clear();
            }
            CHECK(wrong == 0);
        }
    }
}

// Vocabularies of published models as llama.cpp's own test has them: a GGUF file without tensors,
// texts between lines of their own, and a line of ids for each.
TEST_CASE("the strings of published vocabularies, in a folder that is named",
          "[golden][tokenizer]") {
    const char* folder = std::getenv("CAIRN_VOCABULARIES");
    if (folder == nullptr) return;
    int compared = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const std::string path = entry.path().string();
        if (!path.ends_with(".gguf") || !std::filesystem::exists(path + ".inp")) continue;
        INFO(path);
        const Tokenizer tokenizer = from_gguf(path);
        std::string texts = read_text(path + ".inp", 1 << 20);
        std::istringstream lines(read_text(path + ".out", 1 << 20));
        const std::string between = "\n__ggml_vocab_test__\n";
        for (std::string line; std::getline(lines, line);) {
            const std::size_t end = std::min(texts.find(between), texts.size());
            const std::string text = texts.substr(0, end);
            texts.erase(0, std::min(end + between.size(), texts.size()));
            std::istringstream numbers(line);
            const std::vector<Token> ids{std::istream_iterator<Token>(numbers), {}};
            INFO(Json(text).dump());
            CHECK(tokenizer.encode(text) == ids);
            ++compared;
        }
    }
    CHECK(compared > 0);
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

TEST_CASE("words cut without merges: Unigram and WordPiece as both references cut them",
          "[golden][tokenizer]") {
    const Json golden = Json::parse(read_text(data + "/tokenizers_models.json", 10000000));
    Json strings = Json::parse(read_text(data + "/tokenizers_more.json", 100000000))["strings"];
    for (const Json& text : golden["strings"]) strings.push_back(text);
    const auto wrong = [&](const Tokenizer& tokenizer, const Json& hashes, const Json& left_out) {
        std::vector<Token> row;
        int count = 0;
        for (std::size_t i = 0; i < strings.size(); ++i) {
            std::vector<Token> ids = tokenizer.encode(strings[i].get<std::string>());
            if (std::find(left_out.begin(), left_out.end(), Json(i)) != left_out.end()) ids.clear();
            row.insert(row.end(), ids.begin(), ids.end());
            if (i % 24 < 23 && i + 1 < strings.size()) continue;
            const bool same = hash_of(row) == hashes[i / 24].get<std::uint32_t>();
            if (!same) UNSCOPED_INFO("strings up to " << i);
            count += same ? 0 : 1;
            row.clear();
        }
        return count;
    };
    CHECK(golden["models"].size() == 4);
    for (const auto& [name, entry] : golden["models"].items()) {
        INFO(name);
        const std::string path = data + "/tokenizers/" + name;
        const Tokenizer tokenizer = Tokenizer::parse(read_text(path + ".json", 1 << 24));
        CHECK(wrong(tokenizer, entry["hashes"], entry["left out"]) == 0);
        CHECK(entry["left out"].size() < 60);
        std::vector<Token> around = tokenizer.prefix();
        for (const Token id : tokenizer.encode("a")) around.push_back(id);
        around.insert(around.end(), tokenizer.suffix().begin(), tokenizer.suffix().end());
        CHECK(around == entry["around"][0].get<std::vector<Token>>());
        CHECK(tokenizer.decode(tokenizer.encode("the king is dead")) == "the king is dead");
        if (!std::filesystem::exists(path + ".gguf")) continue;
        // SentencePiece's own rules for Unigram; BERT's models know Hugging Face's.
        const Tokenizer file = from_gguf(path + ".gguf");
        CHECK(wrong(file, entry[name == "unigram" ? "llama.cpp" : "hashes"], entry["left out"]) ==
              0);
        CHECK(file.prefix() == tokenizer.prefix());
        CHECK(file.suffix() == tokenizer.suffix());
        CHECK(file.decode(file.encode("the king is dead")) == "the king is dead");
    }
}
