#include <stdexcept>

#include "models/models_support.hpp"
using namespace support;

TEST_CASE("a failure or a cancel in any layer leaves every session as it was", "[forward]") {
    const auto model = TinyGpt::random(small, 1);
    Random random(3);
    const auto tokens = random_tokens(random, 9, 50);
    auto reference = model.session(64);
    reference.prefill(tokens);
    const auto wanted = copy_of(reference.decode(5));
    for (int layer = 0; layer < 3; ++layer) {
        for (const bool cancel : {false, true}) {
            auto a = model.session(64), b = model.session(64);
            a.prefill(tokens);
            b.prefill(tokens);
            std::vector<float> logits(100, -7.0F);
            const Token next = 5;
            const Slice slices[] = {{&a, {&next, 1}, LogitRows::last, logits.data(), nullptr},
                                    {&b, {&next, 1}, LogitRows::last, logits.data() + 50, nullptr}};
            Context context;
            std::stop_source source;
            context.cancel = source.get_token();
            context.after_layer = [&](int l) {
                if (l != layer) return;
                if (cancel)
                    source.request_stop();
                else
                    throw std::runtime_error("injected");
            };
            if (cancel && layer == 2) continue;  // nothing asks after the last layer
            if (cancel)
                CHECK(code_of([&] { forward(model.model(), slices, context).accept_all(); }) ==
                      ErrorCode::cancelled);
            else
                CHECK_THROWS_AS(forward(model.model(), slices, context).accept_all(),
                                std::runtime_error);
            CHECK(a.position() == 9);
            CHECK(a.layer_cache(0).length() == 9);
            CHECK(logits == std::vector<float>(100, -7.0F));
            CHECK(same_bits(wanted, a.decode(5)));
            CHECK(same_bits(wanted, b.decode(5)));
        }
    }
}

TEST_CASE("sessions in one batch do not know of each other", "[forward]") {
    const auto model = TinyGpt::random(small, 1);
    Random random(4);
    std::vector<std::vector<Token>> prompts;
    for (const int n : {1, 7, 30, 2}) prompts.push_back(random_tokens(random, n, 50));
    std::vector<std::vector<float>> wanted;
    for (const auto& prompt : prompts) {
        auto alone = model.session(64);
        wanted.push_back(copy_of(alone.prefill(prompt)));
    }
    std::vector<Session<Gpt2, KvCache<>>> sessions;
    for (std::size_t i = 0; i < prompts.size(); ++i) sessions.push_back(model.session(64));
    std::vector<std::vector<float>> logits(prompts.size(), std::vector<float>(50));
    std::vector<float> hidden(30 * 32);
    std::vector<Slice> slices;
    for (std::size_t i = 0; i < prompts.size(); ++i)
        slices.push_back({&sessions[i], prompts[i], LogitRows::last, logits[i].data(),
                          i == 2 ? hidden.data() : nullptr});
    Context context;
    forward(model.model(), slices, context).accept_all();
    for (std::size_t i = 0; i < prompts.size(); ++i) CHECK(same_bits(wanted[i], logits[i]));
    auto again = model.session(64);
    std::vector<float> embedded(30 * 32);
    again.embed(prompts[2], embedded.data());
    CHECK(same_bits(hidden, embedded));
    slices[3].session = slices[0].session;
    CHECK(code_of([&] { forward(model.model(), slices, context).accept_all(); }) ==
          ErrorCode::concurrent_use);
    CHECK(sessions[0].position() == 1);
}

TEST_CASE("numbers that overflow are an error that names the layer", "[forward]") {
    const Gpt2Config c{.layers = 2, .heads = 2, .width = 8, .context = 8, .vocabulary = 11};
    const auto message = [&](const Tensors& t) {
        auto session = load_gpt2(c, t).session<KvCache<Contiguous<F16>>>(8);
        try {
            session.decode(1);
            FAIL("no error");
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::non_finite);
            CHECK(session.position() == 0);
            return std::string(error.what());
        }
        return std::string();
    };
    Tensors hidden = gpt2_tensors(c, "");
    hidden.items["h.1.mlp.c_fc.bias"].second.assign(32, 3e38F);
    hidden.items["h.1.mlp.c_proj.weight"].second.assign(32 * 8, 2.0F);
    CHECK(message(hidden).find("layer 1") != std::string::npos);
    // A key of minus infinity gets no weight, and a 16-bit row would keep it as a number.
    Tensors key = gpt2_tensors(c, "");
    auto& bias = key.items["h.1.attn.c_attn.bias"].second;
    auto& weights = key.items["h.1.attn.c_attn.weight"].second;
    bias[10] = -3e38F;
    for (std::size_t row = 0; row < 8; ++row) weights[row * 24 + 10] = 0.0F;
    key.items["h.1.ln_1.weight"].second.assign(8, 0.0F);
    key.items["h.1.ln_1.bias"].second.assign(8, -1.0F);
    weights[10] = 3e38F;
    CHECK(message(key).find("layer 1: NaN or infinity in queries, keys or values, row 0 of 1") !=
          std::string::npos);
}

TEST_CASE("a session of one model is refused by another", "[forward]") {
    const auto a = TinyGpt::random(small, 1);
    const auto b = TinyGpt::random(small, 1);
    auto session = a.session(8);
    const Token token = 1;
    std::vector<float> logits(50);
    const Slice slice{&session, {&token, 1}, LogitRows::last, logits.data(), nullptr};
    Context context;
    CHECK(code_of([&] { forward(b.model(), std::span(&slice, 1), context).accept_all(); }) ==
          ErrorCode::model_mismatch);
    CHECK(session.position() == 0);
    forward(a.model(), std::span(&slice, 1), context).accept_all();
}
