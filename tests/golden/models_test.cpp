// Every architecture against Hugging Face transformers, from safetensors and from GGUF: the two
// files of one model pair the rotated numbers differently. make_models.py wrote them.
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "support.hpp"
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
