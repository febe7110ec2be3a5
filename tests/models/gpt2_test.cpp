#include "models/models_support.hpp"
using namespace support;

TEST_CASE("GPT-2 loads under both spellings, and every misfit is listed", "[gpt2]") {
    const Gpt2Config c{
        .layers = 2, .heads = 2, .width = 8, .hidden = 20, .context = 8, .vocabulary = 11};
    auto a = load_gpt2(c, gpt2_tensors(c, "")).session<KvCache<>>(8);
    auto b = load_gpt2(c, gpt2_tensors(c, "transformer.")).session<KvCache<>>(8);
    CHECK(same_bits(a.decode(3), b.decode(3)));
    Tensors broken = gpt2_tensors(c, "");
    broken.items.erase("h.0.ln_1.bias");
    broken.items["wpe.weight"].first = {9, 8};
    try {
        load_gpt2(c, broken);
        FAIL("no error");
    } catch (const Error& error) {
        const std::string text = error.what();
        CHECK(error.code() == ErrorCode::bad_config);
        CHECK(text.find("h.0.ln_1.bias is missing") != std::string::npos);
        CHECK(text.find("wpe.weight is [9, 8], the configuration wants [8, 8]") !=
              std::string::npos);
    }
    Gpt2Config untied = c;
    untied.tied = false;
    CHECK(code_of([&] { load_gpt2(untied, gpt2_tensors(c, "")); }) == ErrorCode::bad_config);
    int calls = 0;
    LoadOptions options;
    options.progress = [&](int done, int total) {
        ++calls;
        CHECK(total == 28);
        CHECK(done == calls);
    };
    load_gpt2(c, gpt2_tensors(c, ""), options);
    CHECK(calls == 28);
}
