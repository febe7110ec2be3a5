#include "support.hpp"
using namespace support;

TEST_CASE("parameters and bytes are counted", "[decoder]") {
    const auto model =
        random_gpt2({.layers = 2, .heads = 2, .width = 16, .context = 8, .vocabulary = 11}, 1);
    CHECK(model.parameters() == 11 * 16 + 8 * 16 + 2 * (12 * 16 * 16 + 13 * 16) + 2 * 16);
    CHECK(model.decode_bytes() < model.bytes());
    CHECK(model.session<KvCache<>>(8).model().identity() == model.identity());
}

TEST_CASE("a model that was moved from says so", "[decoder]") {
    auto from = TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 50}, 1);
    const auto session = from.session(8);
    const auto to = std::move(from);
    const auto& gone = from.model();
    CHECK(gone.layers() + gone.width() + gone.vocabulary() + gone.context() == 0);
    CHECK(gone.parameters() + gone.bytes() + gone.decode_bytes() == 0);
    CHECK(gone.architecture().empty());
    CHECK(gone.identity() == nullptr);
    CHECK_FALSE(gone.relative_positions());
    const auto refused = [&](auto call) { CHECK(code_of(call) == ErrorCode::bad_state); };
    refused([&] { from.session(8); });
    refused([&] { gone.session<KvCache<>>(8); });
    refused([&] { gone.block(0); });
    refused([&] { gone.layout(0); });
    refused([&] { gone.fingerprint(); });
    Context context;
    std::vector<float> x(64);
    const Activations rows{x.data(), 32, 1};
    refused([&] { gone.embed(1, 0, x.data(), x.data() + 32); });
    refused([&] { gone.finish(rows, rows, context); });
    refused([&] { gone.project(rows, rows, context); });
    refused([&] { (void)forward(gone, {}, context); });
    CHECK(to.model().layers() == 2);
    CHECK(code_of([&] { to.model().block(2); }) == ErrorCode::invalid_argument);
    from = to;
    CHECK(from.session(8).capacity() == session.capacity());
}
