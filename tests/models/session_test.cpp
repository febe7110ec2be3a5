#include <atomic>
#include <thread>

#include "models/models_support.hpp"
using namespace support;

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

TEST_CASE("a keep by score under a narrower window is refused before any work", "[session]") {
    Random random(5);
    LlamaShape shape;
    shape.attention.mask = Mask::sliding_window(7);
    const auto model = random_llama<RotaryHalf>(random, shape);
    using Model = std::remove_const_t<decltype(model)>;
    const auto session = [&](const char* spec, int capacity) {
        return cairn::Session<Model, AnyCache>(model, capacity, Serial::instance(),
                                               [&](int layer, const HeadLayout& layout, int rows) {
                                                   return CacheSpec::parse(spec).make(layout, rows,
                                                                                      layer);
                                               });
    };
    for (const char* spec : {"contiguous:f16:h2o=4,recent=2", "paged=16:f16:snapkv=4",
                             "contiguous:f32:nacl=6", "contiguous:f16:hashevict=20"}) {
        INFO(spec);
        CHECK(code_of([&] { session(spec, 8); }) == ErrorCode::unsupported);
        session(spec, 7).prefill(random_tokens(random, 7, shape.vocabulary));
    }
    CHECK(code_of([&] { model.session<KvCache<Contiguous<F32>, H2O<4>>>(8); }) ==
          ErrorCode::unsupported);
    model.session<KvCache<Contiguous<F32>, H2O<4>>>(7);
    for (const char* spec : {"contiguous:f16", "paged=16:f16:window=5,sinks=2"})
        session(spec, 40).prefill(random_tokens(random, 30, shape.vocabulary));
}

TEST_CASE("a session outlives the model it was made from", "[session]") {
    auto session = [] { return TinyGpt::random<small>(3).session(8); }();
    CHECK(session.decode(1).size() == 50);
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
    CHECK(code_of([&] { forward(model.model(), std::span(&slice, 1), context).accept_all(); }) ==
          ErrorCode::concurrent_use);
    done = true;
    other.join();
    CHECK(session.position() == 1);
}

TEST_CASE("a call that is refused touches nothing of the thread at work", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    auto twin = model.session<KvCache<Paged<F32>>>(64);
    auto session = model.session<KvCache<Paged<F32>>>(64);
    const std::vector<Token> prompt{1, 2, 3};
    twin.prefill(prompt);
    session.prefill(prompt);
    const auto wanted = copy_of(twin.decode(4));
    std::vector<float> out(2000);
    std::atomic<bool> inside = false, done = false;
    session.context().after_layer = [&](int) {
        inside = true;
        while (!done) std::this_thread::yield();
    };
    std::vector<float> got;
    std::thread owner([&] { got = copy_of(session.decode(4)); });
    while (!inside) std::this_thread::yield();
    const auto refused = [&](auto call) { CHECK(code_of(call) == ErrorCode::concurrent_use); };
    refused([&] { session.prefill(prompt); });
    refused([&] { session.prefill({}); });
    refused([&] { session.decode(1); });
    refused([&] { session.decode(-1); });
    refused([&] { session.score(prompt, out.data()); });
    refused([&] { session.embed(prompt, out.data()); });
    refused([&] { session.expect_prompt(9); });
    refused([&] { session.max_rows(); });
    refused([&] { session.truncate(0); });
    refused([&] { session.clear(); });
    refused([&] { session.drop(1, 2); });
    refused([&] { session.close(1); });
    refused([&] { session.shift(0, 1); });
    refused([&] { session.fork(); });
    refused([&] { session.copy(); });
    refused([&] { session.restore(0, {}); });
    refused([&] { const auto hold = session.exclusive(); });
    refused([&] { session.cache_bytes(); });
    refused([&] { session.payload_bytes(); });
    refused([&] { session.held(); });
    CHECK_FALSE(session.can_truncate(0));
    CHECK_FALSE(session.can_drop(0, 1));
    CHECK(session.logits().empty());
    CHECK(session.position() == 3);
    CHECK(session.capacity() == 64);
    done = true;
    owner.join();
    CHECK(same_bits(got, wanted));
    CHECK(same_bits(session.logits(), wanted));
    session.context().after_layer = {};
    CHECK(same_bits(session.decode(5), twin.decode(5)));
}

TEST_CASE("two threads on a fresh session: each call works or is told", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    ThreadPool pool(2);
    Random random(6);
    const auto tokens = random_tokens(random, 5, 50);
    auto alone = model.session(64);
    const auto wanted = copy_of(alone.prefill(tokens));
    for (int round = 0; round < 20; ++round) {
        auto session = model.session(64, pool);
        std::atomic<int> others = 0;
        const auto work = [&](int seed) {
            Random choose(static_cast<std::uint64_t>(seed));
            std::vector<float> out(5 * 50);
            for (int i = 0; i < 30; ++i) try {
                    switch (choose.below(10)) {
                        case 0: session.score(tokens, out.data()); break;
                        case 1: session.embed(tokens, out.data()); break;
                        case 2: session.truncate(0); break;
                        case 3: session.fork().decode(1); break;
                        case 4: session.copy().decode(1); break;
                        case 5:
                            if (session.cache_bytes() + session.payload_bytes() > 0) session.held();
                            break;
                        case 6:
                            if (session.logits().empty() && session.can_truncate(0))
                                session.max_rows();
                            break;
                        default: session.prefill(tokens); break;
                    }
                } catch (const Error& error) {
                    if (error.code() != ErrorCode::concurrent_use &&
                        error.code() != ErrorCode::capacity && error.code() != ErrorCode::bad_state)
                        ++others;
                }
        };
        std::thread other(work, 2 * round);
        work(2 * round + 1);
        other.join();
        CHECK(others == 0);
        session.clear();
        CHECK(same_bits(session.prefill(tokens), wanted));
    }
}

TEST_CASE("a hook of the working thread may read its session, not change it", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    auto session = model.session(64);
    session.decode(1);
    std::size_t bytes = 0;
    std::vector<ErrorCode> codes;
    session.context().after_layer = [&](int) {
        bytes = session.cache_bytes();
        codes.push_back(code_of([&] { session.truncate(0); }));
    };
    session.decode(2);
    CHECK(bytes > 0);
    CHECK(codes == std::vector<ErrorCode>(3, ErrorCode::concurrent_use));
    CHECK(session.position() == 2);
}

TEST_CASE("logits are those of the last token, or none", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    auto session = model.session(64);
    const std::vector<Token> tokens{1, 2, 3};
    std::vector<float> out(3 * 50);
    const auto first = copy_of(session.prefill(tokens));
    CHECK(same_bits(session.logits(), first));
    session.score(tokens, out.data());
    CHECK(session.logits().empty());  // not those of an older token
    session.truncate(3);
    CHECK(same_bits(session.logits(), first));
    session.truncate(2);
    CHECK(session.logits().empty());
    session.score({&tokens[1], 1}, out.data());
    CHECK(session.logits().empty());
    session.clear();
    CHECK(session.logits().empty());

    // A decode that fails leaves them as they were.
    session.prefill(tokens);
    const auto hook = [](int) { throw std::runtime_error("injected"); };
    session.context().after_layer = hook;
    CHECK_THROWS_AS(session.decode(1), std::runtime_error);
    CHECK(same_bits(session.logits(), first));
    auto fresh = model.session(64);
    fresh.context().after_layer = hook;
    CHECK_THROWS_AS(fresh.decode(1), std::runtime_error);
    CHECK(fresh.logits().empty());
}

TEST_CASE("a session that was moved from says so", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    auto from = model.session<KvCache<Paged<F32>>>(64);
    const std::vector<Token> tokens{1, 2, 3};
    from.prefill(tokens);
    const auto to = std::move(from);
    CHECK(to.position() == 3);
    CHECK(to.logits().size() == 50);
    std::vector<float> out(3 * 50);
    const auto refused = [&](auto call) { CHECK(code_of(call) == ErrorCode::bad_state); };
    refused([&] { from.prefill(tokens); });
    refused([&] { from.prefill({}); });
    refused([&] { from.decode(1); });
    refused([&] { from.score(tokens, out.data()); });
    refused([&] { from.embed(tokens, out.data()); });
    refused([&] { from.expect_prompt(3); });
    refused([&] { from.truncate(0); });
    refused([&] { from.clear(); });
    refused([&] { from.drop(0, 1); });
    refused([&] { from.close(1); });
    refused([&] { from.shift(0, 1); });
    refused([&] { from.fork(); });
    refused([&] { from.copy(); });
    refused([&] { from.restore(0, {}); });
    refused([&] { const auto hold = from.exclusive(); });
    refused([&] { from.layer_cache(0); });
    refused([&] { from.cache(0); });
    Context context;
    const Slice slice{&from, tokens, LogitRows::none, nullptr, nullptr};
    refused([&] { forward(model.model(), {&slice, 1}, context).accept_all(); });
    CHECK(from.position() + from.capacity() + from.held() + from.max_rows() == 0);
    CHECK(from.cache_bytes() + from.payload_bytes() == 0);
    CHECK(from.logits().empty());
    CHECK_FALSE(from.can_truncate(0));
    CHECK_FALSE(from.can_shift(0, 1));
    CHECK(from.model_identity() == nullptr);
    CHECK(code_of([&] { to.layer_cache(3); }) == ErrorCode::invalid_argument);
    from = to.fork();
    CHECK(from.decode(1).size() == 50);
}

TEST_CASE("what is moved into itself is as it was", "[session]") {
    const auto model = TinyGpt::random(small, 1);
    auto session = model.session<KvCache<Paged<F32>>>(64);
    session.prefill(std::vector<Token>{1, 2, 3});
    auto other = session.copy();
    auto& same = session;
    session = std::move(same);
    CHECK(session.position() == 3);
    CHECK(session.logits().size() == 50);
    CHECK(same_bits(session.decode(4), other.decode(4)));
    auto cache = session.layer_cache(0).copy();
    auto& same_cache = cache;
    cache = std::move(same_cache);
    CHECK(cache.committed() == 4);
    auto& same_set = session.caches();
    session.caches() = std::move(same_set);
    CHECK(same_bits(session.decode(5), other.decode(5)));
    auto handle = model.model();
    auto& same_handle = handle;
    handle = std::move(same_handle);
    CHECK(handle.identity() == model.model().identity());
    CHECK(handle.identity() != nullptr);
}

TEST_CASE("caches of another layout than the model's are refused, with both", "[session]") {
    const auto model = TinyGpt::random(small, 1).model();
    using S = Session<std::decay_t<decltype(model)>, KvCache<>>;
    const HeadLayout right = model.layout(0);
    for (int wrong = 0; wrong < 4; ++wrong) {
        HeadLayout other = right;
        if (wrong == 0) other.heads = other.kv_heads = right.heads * 2;
        if (wrong == 1) other.kv_heads = 1;
        if (wrong == 2) other.key_dim *= 2;
        if (wrong == 3) other.value_dim /= 2;
        const auto make = [&](int layer, const HeadLayout& layout, int rows) {
            return KvCache<>(layer == 1 ? other : layout, rows);
        };
        try {
            S session(model, 20, Serial::instance(), make);
            FAIL("no Error was thrown");
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::invalid_argument);
            const std::string what = error.what();
            CHECK(what.find("layer 1") != std::string::npos);
            CHECK(what.find(std::to_string(other.key_dim) + "/" +
                            std::to_string(other.value_dim)) != std::string::npos);
        }
        // Nor is one taken that comes later.
        auto session = S(model, 20);
        session.decode(3);
        KvCache<> held = std::exchange(session.layer_cache(1), KvCache<>(other, 20));
        CHECK(code_of([&] { session.decode(4); }) == ErrorCode::shape_mismatch);
        session.layer_cache(1) = std::move(held);
        CHECK(session.position() == 1);
        session.decode(4);
    }
    auto session = S(model, 20);
    CHECK(code_of([&] { session.expect_prompt(std::numeric_limits<std::size_t>::max()); }) ==
          ErrorCode::limit);
    // Rows of strangers would be attended.
    const auto used = [](int, const HeadLayout& layout, int rows) {
        KvCache<> cache(layout, rows);
        const std::vector<float> row(static_cast<std::size_t>(layout.kv_heads * layout.key_dim));
        cache.stage({row.data(), 0, 1}, {row.data(), 0, 1});
        cache.commit();
        return cache;
    };
    CHECK(code_of([&] { S(model, 20, Serial::instance(), used); }) == ErrorCode::invalid_argument);
}
