// Against Hugging Face transformers and tokenizers: logits, greedy text, token ids. make_golden.py
// wrote golden.json and the model folders beside it.
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "golden/golden_support.hpp"
using namespace support;

namespace {

const Json& golden() {
    static const Json json =
        Json::parse(read_text(std::string(CAIRN_TEST_DATA) + "/golden.json", 100000000));
    return json;
}
std::string folder_of(const std::string& name) {
    return name == "shakespeare" ? std::string(CAIRN_MODELS) + "/shakespeare"
                                 : std::string(CAIRN_TEST_DATA) + "/" + name;
}

}  // namespace

TEST_CASE("logits agree with Hugging Face to 1e-4 of the largest", "[golden]") {
    int models = 0;
    for (const auto& [name, item] : golden()["models"].items()) {
        INFO(name);
        const auto loaded = load_model(folder_of(name), {ElementType::f32, {}, nullptr});
        const auto tokens = item["tokens"].get<std::vector<Token>>();
        auto session = loaded.model.session<KvCache<>>(loaded.model.context());
        std::vector<float> logits(tokens.size() *
                                  static_cast<std::size_t>(loaded.model.vocabulary()));
        session.score(tokens, logits.data());
        check_golden(item, logits, static_cast<std::size_t>(loaded.model.vocabulary()));
        ++models;
    }
    CHECK(models == 4);
}

TEST_CASE("the shipped model's greedy text is Hugging Face's, for every lossless cache",
          "[golden]") {
    const Json& item = golden()["models"]["shakespeare"];
    const auto loaded = load_model(folder_of("shakespeare"));
    const auto prompt = item["tokens"].get<std::vector<Token>>();
    const auto wanted = item["greedy"].get<std::vector<Token>>();
    CHECK(loaded.tokenizer->encode("ROMEO:\nBut, soft! what light") == prompt);
    ThreadPool pool(2);
    Greedy greedy;
    for (const int piece : {0, 1, 5}) {
        auto session = loaded.model.session<KvCache<>>(loaded.model.context(), pool);
        const auto got =
            generate(session, prompt, greedy,
                     {.max_tokens = static_cast<int>(wanted.size()), .prompt_piece = piece});
        CHECK(got.tokens == wanted);
        CHECK(loaded.tokenizer->decode(got.tokens) == item["text"].get<std::string>());
    }
}

TEST_CASE("token ids are those of Hugging Face tokenizers", "[golden]") {
    const auto tokenizer =
        Tokenizer::parse(read_text(folder_of("shakespeare") + "/tokenizer.json", 10000000));
    int strings = 0;
    for (const Json& item : golden()["strings"]) {
        const auto text = item["text"].get<std::string>();
        INFO(item.dump());
        CHECK(tokenizer.encode(text) == item["ids"].get<std::vector<Token>>());
        CHECK(tokenizer.encode(text, SpecialTokens::recognised) ==
              item["special"].get<std::vector<Token>>());
        CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
        ++strings;
    }
    CHECK(strings > 300);
}
