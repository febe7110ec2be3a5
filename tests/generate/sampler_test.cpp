#include <map>

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

TEST_CASE("a bias beyond the vocabulary, and steps that make NaN, are errors", "[sampler]") {
    const std::vector<float> logits{1.0F, infinity, 0.5F};
    auto beyond = logit_bias({{3, 1.0F}}) | draw(1);
    CHECK(code_of([&] { beyond(logits, {}); }) == ErrorCode::token_range);
    auto within = top_k(1) | logit_bias({{2, 1.0F}}) | greedy();
    CHECK(within(logits, {}) == 1);
    // Forbidden is forbidden, at any logit.
    auto forbidden = logit_bias({{1, -infinity}}) | top_k(2) | greedy();
    CHECK(forbidden(logits, {}) == 0);
    struct Spoil {
        void apply(Candidates& c, Tokens) const {
            c.list[2].logit = std::numeric_limits<double>::quiet_NaN();
        }
    };
    auto spoilt = Spoil{} | draw(1);
    CHECK(code_of([&] { spoilt(logits, {}); }) == ErrorCode::non_finite);
}
