#include <map>
#include <stdexcept>

#include "support.hpp"
using namespace support;

namespace {

std::vector<Token> survivors(auto step, std::vector<float> logits,
                             std::vector<Token> history = {}) {
    Candidates c;
    c.load(logits);
    step.apply(c, history);
    std::vector<Token> ids;
    for (const Candidate& x : c.list) ids.push_back(x.id);
    std::sort(ids.begin(), ids.end());
    return ids;
}
const float infinity = std::numeric_limits<float>::infinity();
const TinyShape shape{.layers = 2, .heads = 2, .width = 32, .vocab = 40, .context = 48};

}  // namespace

TEST_CASE("each step keeps what its definition says", "[sampler]") {
    const std::vector<float> l{std::log(0.5F), std::log(0.2F), std::log(0.15F), std::log(0.1F),
                               std::log(0.05F)};
    CHECK(survivors(top_k(2), l) == std::vector<Token>{0, 1});
    CHECK(survivors(top_k(0), l).size() == 5);
    CHECK(survivors(top_k(99), l).size() == 5);
    CHECK(survivors(top_p(0.6F), l) == std::vector<Token>{0, 1});
    CHECK(survivors(top_p(1.0F), l).size() == 5);
    CHECK(survivors(top_p(1e-6F), l) == std::vector<Token>{0});
    CHECK(survivors(min_p(0.25F), l) == std::vector<Token>{0, 1, 2});
    CHECK(survivors(min_p(1.0F), l) == std::vector<Token>{0});
    CHECK(survivors(temperature(0.0F), l) == std::vector<Token>{0});
    // Entropy 1.33 nats; surprises 0.69 1.61 1.90 2.30 3.00: nearest are 1, 2, 0.
    CHECK(survivors(typical_p(0.3F), l) == std::vector<Token>{1, 2});
    CHECK(survivors(typical_p(0.5F), l) == std::vector<Token>{0, 1, 2});
    CHECK(survivors(top_k(2), {1.0F, 3.0F, 3.0F, 3.0F}) == std::vector<Token>{1, 2});  // ties by id
}

TEST_CASE("penalties and biases change logits as documented", "[sampler]") {
    Candidates c;
    c.load(std::vector<float>{2.0F, -2.0F, 1.0F});
    auto step = penalties(2.0F, 0.5F, 0.25F);
    step.apply(c, std::vector<Token>{0, 0, 1});
    CHECK(c.list[0].logit == 2.0 / 2 - 0.5 - 2 * 0.25);
    CHECK(c.list[1].logit == -2.0 * 2 - 0.5 - 0.25);
    CHECK(c.list[2].logit == 1.0);
    logit_bias({{2, -infinity}, {1, 10.0F}}).apply(c, {});
    CHECK(c.list[1].logit == -4.75 + 10.0);
    CHECK(std::isinf(c.list[2].logit));
}

TEST_CASE("values out of range are refused", "[sampler]") {
    const float nan = std::nanf("");
    CHECK(code_of([] { temperature(-1.0F); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { temperature(nan); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { top_k(-1); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { top_p(0.0F); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { top_p(2.0F); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { min_p(nan); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { typical_p(-0.1F); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { penalties(0.0F); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { penalties(1.0F, nan); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { logit_bias({{1, nan}}); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { logit_bias({{-1, 1.0F}}); }) == ErrorCode::token_range);
}

TEST_CASE("odd logits: ties, infinities, NaN, nothing", "[sampler]") {
    auto chain = temperature(0.7F) | top_k(3) | draw(1);
    Greedy greedy;
    const auto both = [&](std::vector<float> l, auto&& check) {
        check([&] { return greedy(l, {}); });
        check([&] { return chain(l, {}); });
    };
    CHECK(greedy(std::vector<float>(5, 1.0F), {}) == 0);
    both({0.0F, infinity, 3.0F}, [](auto pick) { CHECK(pick() == 1); });
    both({-infinity, -infinity, -1e38F}, [](auto pick) { CHECK(pick() == 2); });
    both({-infinity, -infinity}, [](auto pick) { CHECK(code_of(pick) == ErrorCode::non_finite); });
    both({0.0F, std::nanf("")}, [](auto pick) { CHECK(code_of(pick) == ErrorCode::non_finite); });
    auto forbidden = logit_bias({{0, -infinity}}) | draw(1);
    CHECK(code_of([&] { forbidden(std::vector<float>{1.0F}, {}); }) == ErrorCode::non_finite);
    CHECK(log_probability(std::vector<float>{0.0F, 0.0F}, 1) == Approx(std::log(0.5)));
}

TEST_CASE("draws follow the probabilities, and their seed", "[sampler]") {
    const std::vector<float> l{std::log(0.6F), std::log(0.3F), std::log(0.1F)};
    auto a = temperature(1.0F) | draw(5);
    auto b = temperature(1.0F) | draw(5);
    std::map<Token, int> counts;
    for (int i = 0; i < 20000; ++i) {
        const Token t = a(l, {});
        REQUIRE(t == b(l, {}));
        ++counts[t];
    }
    CHECK(counts[0] == Approx(12000).margin(300));
    CHECK(counts[2] == Approx(2000).margin(200));
    // The same on every machine: these ids are part of the promise.
    auto fixed = top_p(0.95F) | draw(42);
    std::vector<Token> ids;
    for (int i = 0; i < 12; ++i) ids.push_back(fixed(l, {}));
    CHECK(ids == std::vector<Token>{1, 0, 2, 1, 1, 0, 0, 1, 0, 2, 0, 1});
}

TEST_CASE("stop strings cut exactly, across pieces and overlaps", "[stop_strings]") {
    Random random(1);
    for (int round = 0; round < 3000; ++round) {
        const auto word = [&](int least, int most) {
            std::string s;
            for (int n = draw(random, least, most); n > 0; --n)
                s += static_cast<char>('a' + draw(random, 0, 1));
            return s;
        };
        const std::vector<std::string> stops{word(1, 4), word(1, 4)};
        const std::string text = word(0, 12);
        // The reference: the first point of the text where some stop string is complete; of those
        // that end there, the one that begins first. Pieces are single bytes, so that is when it
        // shows.
        std::string wanted = text;
        bool stopped = false;
        for (std::size_t end = 1; end <= text.size() && !stopped; ++end) {
            std::size_t begin = std::string::npos;
            for (const auto& s : stops)
                if (end >= s.size() && text.compare(end - s.size(), s.size(), s) == 0)
                    begin = std::min(begin, end - s.size());
            if (begin != std::string::npos) {
                wanted = text.substr(0, begin);
                stopped = true;
            }
        }
        StopStrings stream(stops);
        std::string got;
        for (const char c : text) got += stream.feed({&c, 1});
        got += stream.finish();
        INFO(text << " | " << stops[0] << " | " << stops[1]);
        REQUIRE(got == wanted);
        REQUIRE(stream.stopped() == stopped);
    }
    CHECK(code_of([] { StopStrings({""}); }) == ErrorCode::invalid_argument);
}

TEST_CASE("generation with the cache and without gives the same tokens", "[generate]") {
    const auto model = TinyGpt::random(shape, 7);
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
    const auto model = TinyGpt::random(shape, 7);
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
    const auto model = TinyGpt::random(shape, 7);
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
    const auto model = TinyGpt::random(shape, 7);
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
    const auto model = TinyGpt::random(shape, 7);
    auto session = model.session(48);
    Greedy greedy;
    Limits limits{.max_tokens = 5};
    limits.on_logits = [](std::span<float> logits, Tokens so_far) { logits[so_far.size()] = 1e9F; };
    CHECK(generate(session, std::vector<Token>{9}, greedy, limits).tokens ==
          std::vector<Token>{1, 2, 3, 4, 5});
}
