#include <atomic>
#include <map>
#include <stdexcept>
#include <thread>

#include "support.hpp"
using namespace support;

namespace {

constexpr TinyShape small{.layers = 3, .heads = 2, .width = 32, .vocab = 50, .context = 64};

std::vector<float> copy_of(std::span<const float> row) { return {row.begin(), row.end()}; }

// A source of tensors in memory.
struct Tensors final : TensorSource {
    std::map<std::string, std::pair<std::vector<std::size_t>, std::vector<float>>, std::less<>>
        items;
    const std::vector<std::size_t>* shape(std::string_view name) const override {
        const auto at = items.find(name);
        return at == items.end() ? nullptr : &at->second.first;
    }
    ElementType type(std::string_view) const override { return ElementType::f32; }
    void read(std::string_view name, std::size_t first, std::span<float> to) const override {
        std::copy_n(items.find(name)->second.second.begin() + static_cast<std::ptrdiff_t>(first),
                    to.size(), to.begin());
    }
    void read_stored(std::string_view name, std::size_t first,
                     std::span<std::byte> to) const override {
        std::memcpy(to.data(), items.find(name)->second.second.data() + first, to.size());
    }
    void add(Random& random, const std::string& name, std::vector<std::size_t> shape) {
        std::size_t count = 1;
        for (const std::size_t n : shape) count *= n;
        items[name] = {shape, random_vector(random, count, 0.1)};
    }
};
Tensors gpt2_tensors(const Gpt2Config& c, const std::string& prefix) {
    Random random(1);
    Tensors t;
    const auto d = static_cast<std::size_t>(c.width),
               h = static_cast<std::size_t>(c.hidden_width());
    t.add(random, prefix + "wte.weight", {static_cast<std::size_t>(c.vocabulary), d});
    t.add(random, prefix + "wpe.weight", {static_cast<std::size_t>(c.context), d});
    const auto pair = [&](const std::string& name, std::vector<std::size_t> shape) {
        t.add(random, name + ".weight", shape);
        t.add(random, name + ".bias", {shape.back()});
    };
    for (int i = 0; i < c.layers; ++i) {
        const std::string l = prefix + "h." + std::to_string(i) + ".";
        pair(l + "ln_1", {d});
        pair(l + "attn.c_attn", {d, 3 * d});
        pair(l + "attn.c_proj", {d, d});
        pair(l + "ln_2", {d});
        pair(l + "mlp.c_fc", {d, h});
        pair(l + "mlp.c_proj", {h, d});
    }
    pair(prefix + "ln_f", {d});
    return t;
}

}  // namespace

TEST_CASE("a session feeds, truncates, forks and copies", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    auto session = model.session(64);
    Random random(2);
    const auto tokens = random_tokens(random, 20, 50);
    const auto logits = copy_of(session.prefill(tokens));
    CHECK(logits.size() == 50);
    CHECK(session.position() == 20);
    CHECK(session.payload_bytes() == small.cache_bytes(20));
    auto fork = session.fork();
    auto copy = session.copy();
    const auto next = copy_of(session.decode(7));
    CHECK(same_bits(next, fork.decode(7)));
    CHECK(same_bits(next, copy.decode(7)));
    session.truncate(20);
    CHECK(same_bits(next, session.decode(7)));
    session.truncate(5);
    CHECK(same_bits(logits, session.prefill(cairn::Tokens(tokens).subspan(5))));
    session.clear();
    CHECK(session.position() == 0);
    CHECK(same_bits(logits, session.prefill(tokens)));
}

TEST_CASE("bad input is refused before any work", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    auto session = model.session(10);
    const std::vector<Token> ten(10, 1), eleven(11, 1);
    CHECK(code_of([&] { session.prefill({}); }) == ErrorCode::empty_prompt);
    CHECK(code_of([&] { session.prefill(eleven); }) == ErrorCode::capacity);
    for (const Token bad :
         {-1, 50, std::numeric_limits<Token>::max(), std::numeric_limits<Token>::min()})
        CHECK(code_of([&] { session.decode(bad); }) == ErrorCode::token_range);
    CHECK(session.position() == 0);
    session.prefill(ten);
    CHECK(code_of([&] { session.decode(1); }) == ErrorCode::capacity);
    CHECK(code_of([&] { session.truncate(11); }) == ErrorCode::bad_state);
    session.truncate(9);
    session.decode(1);  // room again
    CHECK(code_of([&] { model.session(65); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { model.session(0); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { TinyGpt::random({.layers = 1, .heads = 3, .width = 32}, 1); }) ==
          ErrorCode::bad_config);
}

TEST_CASE("a session outlives the model it was made from", "[session]") {
    auto session = [] { return TinyGpt::random<small>(3).session(8); }();
    CHECK(session.decode(1).size() == 50);
}

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
                CHECK(code_of([&] { forward(model.model(), slices, context); }) ==
                      ErrorCode::cancelled);
            else
                CHECK_THROWS_AS(forward(model.model(), slices, context), std::runtime_error);
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
    forward(model.model(), slices, context);
    for (std::size_t i = 0; i < prompts.size(); ++i) CHECK(same_bits(wanted[i], logits[i]));
    auto again = model.session(64);
    std::vector<float> embedded(30 * 32);
    again.embed(prompts[2], embedded.data());
    CHECK(same_bits(hidden, embedded));
    slices[3].session = slices[0].session;
    CHECK(code_of([&] { forward(model.model(), slices, context); }) == ErrorCode::concurrent_use);
    CHECK(sessions[0].position() == 1);
}

TEST_CASE("NaN in the weights is an error that names the layer", "[forward]") {
    const Gpt2Config c{.layers = 2, .heads = 2, .width = 8, .context = 8, .vocabulary = 11};
    Tensors t = gpt2_tensors(c, "");
    t.items["h.1.mlp.c_fc.weight"].second[3] = std::nanf("");
    auto session = load_gpt2(c, t).session<KvCache<>>(8);
    try {
        session.decode(1);
        FAIL("no error");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::non_finite);
        CHECK(std::string(error.what()).find("layer 1") != std::string::npos);
    }
    CHECK(session.position() == 0);
}

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

TEST_CASE("parameters and bytes are counted", "[decoder]") {
    const auto model =
        random_gpt2({.layers = 2, .heads = 2, .width = 16, .context = 8, .vocabulary = 11}, 1);
    CHECK(model.parameters() == 11 * 16 + 8 * 16 + 2 * (12 * 16 * 16 + 13 * 16) + 2 * 16);
    CHECK(model.decode_bytes() < model.bytes());
    CHECK(model.session<KvCache<>>(8).model().identity() == model.identity());
}

TEST_CASE("a const model serves many threads at once", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    ThreadPool pool(2);
    Random random(5);
    const auto tokens = random_tokens(random, 40, 50);
    auto alone = model.session(64);
    const auto wanted = copy_of(alone.prefill(tokens));
    std::atomic<int> good = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            auto session = i % 2 == 0 ? model.session(64) : model.session(64, pool);
            for (const Token t : tokens) session.decode(t);
            session.truncate(39);
            good += same_bits(wanted, session.decode(tokens.back())) ? 1 : 0;
        });
    for (auto& thread : threads) thread.join();
    CHECK(good == 4);
}

TEST_CASE("two threads on one session: one works, the other is told", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    auto session = model.session(64);
    std::atomic<bool> inside = false, done = false;
    session.context().after_layer = [&](int) {
        inside = true;
        while (!done) std::this_thread::yield();
    };
    std::thread other([&] { session.decode(1); });
    while (!inside) std::this_thread::yield();
    CHECK(code_of([&] { session.truncate(0); }) == ErrorCode::concurrent_use);
    Context context;
    const Token token = 1;
    std::vector<float> logits(50);
    const Slice slice{&session, {&token, 1}, LogitRows::last, logits.data(), nullptr};
    CHECK(code_of([&] { forward(model.model(), std::span(&slice, 1), context); }) ==
          ErrorCode::concurrent_use);
    done = true;
    other.join();
    CHECK(session.position() == 1);
}

TEST_CASE("a session of one model is refused by another", "[forward]") {
    const auto a = TinyGpt::random(small, 1);
    const auto b = TinyGpt::random(small, 1);
    auto session = a.session(8);
    const Token token = 1;
    std::vector<float> logits(50);
    const Slice slice{&session, {&token, 1}, LogitRows::last, logits.data(), nullptr};
    Context context;
    CHECK(code_of([&] { forward(b.model(), std::span(&slice, 1), context); }) ==
          ErrorCode::model_mismatch);
    CHECK(session.position() == 0);
    forward(a.model(), std::span(&slice, 1), context);
}
