// A TinyGpt is a model as any other.
#include <cairn/models/verify.hpp>

#include "models/models_support.hpp"
using namespace support;

TEST_CASE("README's model is proved and used like any other", "[tiny_gpt][verify]") {
    const auto model =
        TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 256}, /*seed=*/42);
    const auto tokens = bytes("Once upon a time");
    const auto make = [](int, const HeadLayout& layout, int rows) {
        return KvCache<Contiguous<F16>>(layout, rows);
    };
    const Equivalence found = verify_equivalence(model, tokens, make);
    CHECK(found.exact);
    CHECK(found.rounds == 8);

    // The same weights, whoever asks.
    Session<TinyGpt> own(model, 32);
    auto session = model.session(32);
    CHECK(own.model().identity() == model.model().identity());
    CHECK(same_bits(own.prefill(tokens), session.prefill(tokens)));
}
