#include <stdexcept>

#include "support.hpp"
using namespace support;

namespace {

const TinyShape small_gpt{.layers = 2, .heads = 2, .width = 32, .vocab = 40, .context = 48};

}  // namespace

TEST_CASE("generation with the cache and without gives the same tokens", "[generate]") {
    const auto model = TinyGpt::random(small_gpt, 7);
    Random random(1);
    const auto prompt = random_tokens(random, 5, 40);
    const auto run = [&](Caching caching, int piece) {
        auto session = model.session<KvCache<Contiguous<F16>>>(48);
        auto sampler = temperature(1.2F) | top_k(20) | draw(3);
        return generate(session, prompt, sampler,
                        {.max_tokens = 30,
                         .caching = caching,
                         .prompt_piece = piece,
                         .log_probabilities = true});
    };
    const Generation cached = run(Caching::cached, 0);
    const Generation uncached = run(Caching::recompute, 0);
    CHECK(cached.tokens == uncached.tokens);
    CHECK(cached.log_probabilities == uncached.log_probabilities);
    CHECK(run(Caching::cached, 2).tokens == cached.tokens);
    CHECK(cached.tokens.size() == 30);
    CHECK(cached.reason == StopReason::length);
    CHECK(cached.log_probabilities.size() == 30);
    CHECK(*std::max_element(cached.log_probabilities.begin(), cached.log_probabilities.end()) <
          0.0);
}

TEST_CASE("every reason to stop", "[generate]") {
    const auto model = TinyGpt::random(small_gpt, 7);
    const std::vector<Token> prompt{1, 2, 3};
    Greedy greedy;
    auto session = model.session(48);
    const auto all = generate(session, prompt, greedy, {.max_tokens = 1000});
    CHECK(all.reason == StopReason::context);
    CHECK(all.tokens.size() == 46);  // 45 rows are free, and the last token needs none
    CHECK(session.position() == 48);
    session.clear();
    CHECK(generate(session, prompt, greedy, {.max_tokens = 0}).tokens.empty());
    CHECK(session.position() == 3);
    session.clear();
    const auto eos =
        generate(session, prompt, greedy, {.max_tokens = 10, .end_of_text = {all.tokens[2]}});
    CHECK(eos.reason == StopReason::eos);
    CHECK(eos.tokens.back() == all.tokens[2]);
    session.clear();
    int seen = 0;
    CHECK(generate(session, prompt, greedy, {}, [&](Token) { return ++seen < 4; }).reason ==
          StopReason::stop);
    CHECK(seen == 4);
    session.clear();
    std::stop_source source;
    session.context().cancel = source.get_token();
    const auto cancelled = generate(session, prompt, greedy, {}, [&](Token) {
        if (++seen == 7) source.request_stop();
    });
    CHECK(cancelled.reason == StopReason::cancelled);
    CHECK(cancelled.tokens.size() == 3);
    CHECK(session.position() == 5);
}

TEST_CASE("generate refuses bad prompts before any work", "[generate]") {
    const auto model = TinyGpt::random(small_gpt, 7);
    auto session = model.session(10);
    Greedy greedy;
    CHECK(code_of([&] { generate(session, {}, greedy, {}); }) == ErrorCode::empty_prompt);
    CHECK(code_of([&] { generate(session, std::vector<Token>(11, 1), greedy, {}); }) ==
          ErrorCode::capacity);
    CHECK(code_of([&] {
              generate(session, std::vector<Token>{1, 40}, greedy, {.prompt_piece = 1});
          }) == ErrorCode::token_range);
    CHECK(code_of([&] { generate(session, std::vector<Token>{1}, greedy, {.max_tokens = -1}); }) ==
          ErrorCode::invalid_argument);
    CHECK(session.position() == 0);
    session.decode(1);
    CHECK(code_of([&] {
              generate(session, std::vector<Token>{1}, greedy, {.caching = Caching::recompute});
          }) == ErrorCode::bad_state);
}

TEST_CASE("a callback that throws leaves the last complete token", "[generate]") {
    const auto model = TinyGpt::random(small_gpt, 7);
    auto session = model.session(48);
    Greedy greedy;
    int seen = 0;
    CHECK_THROWS_AS(generate(session, std::vector<Token>{1, 2}, greedy, {},
                             [&](Token) {
                                 if (++seen == 3) throw std::runtime_error("host");
                             }),
                    std::runtime_error);
    CHECK(session.position() == 4);  // the prompt and two tokens; the third was never fed
    session.decode(5);
}

TEST_CASE("the logits hook sees the text and steers", "[generate]") {
    const auto model = TinyGpt::random(small_gpt, 7);
    auto session = model.session(48);
    Greedy greedy;
    Limits limits{.max_tokens = 5};
    limits.on_logits = [](std::span<float> logits, Tokens so_far) { logits[so_far.size()] = 1e9F; };
    CHECK(generate(session, std::vector<Token>{9}, greedy, limits).tokens ==
          std::vector<Token>{1, 2, 3, 4, 5});
}
