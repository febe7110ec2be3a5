// Block formats against ggml's own decoder and quantiser (tests/golden/make_blocks.py).
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "../quantised_support.hpp"
using namespace support;

namespace {

std::vector<std::byte> bytes_of(const std::string& hex) {
    std::vector<std::byte> result;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        result.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    return result;
}
std::vector<float> floats_of(const std::string& hex) {
    const std::vector<std::byte> bytes = bytes_of(hex);
    std::vector<float> result(bytes.size() / 4);
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
}

}  // namespace

TEST_CASE("block formats decode and encode as ggml does", "[quantised][golden]") {
    const std::string path = std::string(CAIRN_TEST_DATA) + "/blocks.json";
    const Json golden = Json::parse(read_text(path, std::size_t{1} << 24));
    for (int f = 0; f < block_types; ++f) {
        const ElementType type = block_type(f);
        const std::string name(block_size(type).name);
        INFO(name);
        const auto blocks = bytes_of(golden["decode"][name]["blocks"]);
        const auto values = floats_of(golden["decode"][name]["values"]);
        REQUIRE(values.size() == 2 * block_size(type).values);
        REQUIRE(blocks.size() == 2 * block_size(type).bytes);
        std::vector<float> decoded(values.size());
        quantised::decode(type, blocks.data(), values.size(), decoded.data());
        for (std::size_t i = 0; i < values.size(); ++i)  // one rounding here, two there
            REQUIRE(std::fabs(decoded[i] - values[i]) <= 1e-6F);
    }
    for (const auto& [name, entry] : golden["encode"].items()) {
        INFO(name);
        const auto values = floats_of(entry["values"]);
        const auto blocks = bytes_of(entry["blocks"]);
        for (const quantised::Format* format : quantised::formats) {
            if (block_size(format->type).name != name) continue;
            REQUIRE(format->encode != nullptr);
            std::vector<std::byte> encoded(blocks.size());
            format->encode(values.data(), values.size() / 32, encoded.data());
            CHECK(encoded == blocks);
        }
    }
}
