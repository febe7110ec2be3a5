#include <algorithm>
#include <cmath>
#include <limits>

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

TEST_CASE("layers beyond the configuration's are an error, other unread tensors a list", "[gpt2]") {
    Gpt2Config c{.layers = 3, .heads = 2, .width = 8, .context = 8, .vocabulary = 11};
    for (const std::string prefix : {"", "transformer."}) {
        Random random(1);
        Tensors t = gpt2_tensors(c, prefix);
        t.add(random, prefix + "h.0.attn.bias", {1, 1, 8, 8});
        t.add(random, "lm_head.weight", {11, 8});
        load_gpt2(c, t);
        std::vector<std::string> unread{"lm_head.weight", prefix + "h.0.attn.bias"};
        std::sort(unread.begin(), unread.end());
        CHECK(unread_tensors(c, t) == unread);
        Gpt2Config fewer = c;
        fewer.layers = 2;
        try {
            load_gpt2(fewer, t);
            FAIL("no error");
        } catch (const Error& error) {
            const std::string text = error.what();
            INFO(text);
            CHECK(error.code() == ErrorCode::bad_config);
            CHECK(text.starts_with("12 tensors do not fit"));
            CHECK(text.find("tensor " + prefix +
                            "h.2.attn.c_attn.weight belongs to layer 2, the "
                            "configuration has 2 layers") != std::string::npos);
        }
    }
    // A number of many digits is a layer too; a name without one is none.
    Tensors odd;
    for (const char* name : {"h.99999999999999999999.x", "h.x", "h.7x.y"}) odd.items[name] = {};
    TensorCheck check(odd);
    check.expect_layers("h.", 2);
    CHECK(code_of([&] { check.done(); }) == ErrorCode::bad_config);
    CHECK(check.unread().size() == 3);
}

TEST_CASE("NaN and infinity in any tensor are named while loading", "[gpt2]") {
    const Gpt2Config c{
        .layers = 2, .heads = 2, .width = 8, .hidden = 20, .context = 8, .vocabulary = 11};
    const Tensors good = gpt2_tensors(c, "");
    const float infinity = std::numeric_limits<float>::infinity();
    for (const auto& item : good.items)
        for (const float bad : {infinity, -infinity, std::nanf("")}) {
            Tensors t = good;
            auto& numbers = t.items[item.first].second;
            numbers[numbers.size() - 1] = bad;
            INFO(item.first);
            try {
                load_gpt2(c, t);
                FAIL("accepted");
            } catch (const Error& error) {
                CHECK(error.code() == ErrorCode::non_finite);
                CHECK(std::string(error.what()).find("tensor " + item.first + ":") !=
                      std::string::npos);
            }
        }
    // A number may be finite and become an infinity in the type it is to be stored as.
    Tensors big = good;
    big.items["h.1.attn.c_attn.weight"].second[30] = 70000.0F;
    CHECK_NOTHROW(load_gpt2(c, big));
    LoadOptions half;
    half.store_as = ElementType::f16;
    try {
        load_gpt2(c, big, half);
        FAIL("accepted");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::non_finite);
        CHECK(
            std::string(error.what()) ==
            "tensor h.1.attn.c_attn.weight: weights: 70000 in row 6, column 1 is too big for f16");
    }
}
