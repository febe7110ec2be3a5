// Every architecture against Hugging Face transformers, from safetensors and from GGUF: the two
// files of one model pair the rotated numbers differently. make_models.py wrote them.
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "golden/golden_support.hpp"
using namespace support;

namespace {

void check_model(const std::string& path, const Json& item) {
    INFO(path);
    const LoadedModel loaded = load_model(path);
    const auto tokens = item["tokens"].get<std::vector<Token>>();
    const auto vocabulary = static_cast<std::size_t>(loaded.model.vocabulary());
    auto session = loaded.model.session<KvCache<>>(loaded.model.context());
    std::vector<float> logits(tokens.size() * vocabulary);
    session.score(tokens, logits.data());
    check_golden(item, logits, vocabulary);
    // One by one gives the same bits.
    auto single = loaded.model.session<KvCache<>>(loaded.model.context());
    for (std::size_t i = 0; i < tokens.size(); ++i)
        REQUIRE(same_bits(single.decode(tokens[i]),
                          std::span(logits).subspan(i * vocabulary, vocabulary)));
}

}  // namespace

TEST_CASE("all architectures agree with Hugging Face, from both kinds of file", "[golden]") {
    const std::string data = CAIRN_TEST_DATA;
    const Json golden = Json::parse(read_text(data + "/models.json", 100000000));
    int folders = 0, ggufs = 0;
    for (const auto& [name, item] : golden["models"].items()) {
        check_model(data + "/models/" + name, item);
        ++folders;
        const std::string gguf = data + "/models/" + name + ".gguf";
        if (!std::filesystem::exists(gguf)) continue;
        check_model(gguf, item);
        ++ggufs;
    }
    CHECK(folders == 10);
    CHECK(ggufs == 9);
}
