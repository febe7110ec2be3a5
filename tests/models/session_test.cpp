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
    CHECK(code_of([&] { forward(model.model(), std::span(&slice, 1), context); }) ==
          ErrorCode::concurrent_use);
    done = true;
    other.join();
    CHECK(session.position() == 1);
}
