#include "support.hpp"
using namespace support;

TEST_CASE("parameters and bytes are counted", "[decoder]") {
    const auto model =
        random_gpt2({.layers = 2, .heads = 2, .width = 16, .context = 8, .vocabulary = 11}, 1);
    CHECK(model.parameters() == 11 * 16 + 8 * 16 + 2 * (12 * 16 * 16 + 13 * 16) + 2 * 16);
    CHECK(model.decode_bytes() < model.bytes());
    CHECK(model.session<KvCache<>>(8).model().identity() == model.identity());
}
