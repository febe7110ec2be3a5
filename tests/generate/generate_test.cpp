#include <stdexcept>

#include <cairn/cache/store/paged.hpp>
#include <cairn/generate/beam.hpp>

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

namespace {

// Says what it was told, whatever the logits.
struct Stubborn {
    std::vector<Token> tokens;
    Token operator()(std::span<const float>, Tokens) {
        const Token token = tokens.front();
        tokens.erase(tokens.begin());
        return token;
    }
};

}  // namespace

TEST_CASE("a token that the model does not have is refused before any use", "[generate]") {
    const auto model = TinyGpt::random(small_gpt, 7);
    for (const Token bad :
         {-1, 40, std::numeric_limits<Token>::max(), std::numeric_limits<Token>::min()})
        for (const Caching caching : {Caching::cached, Caching::recompute}) {
            auto session = model.session(48);
            auto other = model.session(48);
            Stubborn stubborn{{3, bad}};
            int seen = 0;
            try {
                generate(session, std::vector<Token>{1, 2}, stubborn,
                         {.caching = caching, .log_probabilities = true}, [&](Token) { ++seen; });
                FAIL("accepted");
            } catch (const Error& error) {
                CHECK(error.code() == ErrorCode::token_range);
                CHECK(std::string(error.what())
                          .find("the sampler chose token " + std::to_string(bad) +
                                ", not in 0..39") != std::string::npos);
            }
            CHECK(seen == 1);
            // What was fed is there, and the session goes on.
            const std::vector<Token> fed =
                caching == Caching::cached ? std::vector<Token>{1, 2, 3} : std::vector<Token>{};
            CHECK(session.position() == static_cast<int>(fed.size()));
            if (!fed.empty()) other.prefill(fed);
            CHECK(same_bits(session.decode(5), other.decode(5)));
        }
}

TEST_CASE("tokens without a text are never sampled", "[generate]") {
    // Every token that greedy generation would take is one without a text.
    const Gpt2 model = TinyGpt::random(small_gpt, 7).model();
    const std::vector<Token> prompt{1, 2, 3};
    Greedy greedy;
    auto plain = model.session<KvCache<>>(48);
    std::vector<Token> unused = generate(plain, prompt, greedy, {.max_tokens = 20}).tokens;
    unused.push_back(39);
    std::sort(unused.begin(), unused.end());
    unused.erase(std::unique(unused.begin(), unused.end()), unused.end());
    REQUIRE(unused.size() < 30);
    const auto padded = model.without(unused);
    CHECK(std::equal(unused.begin(), unused.end(), padded.unused().begin(), padded.unused().end()));
    CHECK(model.unused().empty());
    CHECK(code_of([&] { (void)model.without({40}); }) == ErrorCode::token_range);
    const auto used = [&](const std::vector<Token>& tokens) {
        return std::none_of(tokens.begin(), tokens.end(), [&](Token token) {
            return std::binary_search(unused.begin(), unused.end(), token);
        });
    };
    Limits limits{.max_tokens = 40, .log_probabilities = true};
    for (const bool hook : {false, true}) {
        if (hook)
            limits.on_logits = [&](std::span<float> logits, Tokens) {
                logits[static_cast<std::size_t>(unused.front())] = 1e6F;
            };
        auto session = padded.session<KvCache<>>(48);
        const Generation best = generate(session, prompt, greedy, limits);
        CHECK(used(best.tokens));
        session.clear();
        auto draws = temperature(5.0F) | draw(3);
        CHECK(used(generate(session, prompt, draws, limits).tokens));
    }
    limits.on_logits = {};
    // Probabilities are those among the tokens that are left; the session's logits are the model's.
    auto session = padded.session<KvCache<>>(48);
    const Generation one =
        generate(session, prompt, greedy, {.max_tokens = 1, .log_probabilities = true});
    auto same = model.session<KvCache<>>(48);
    const auto logits = same.prefill(prompt);
    CHECK(same_bits(session.logits(), logits));
    std::vector<float> left(logits.begin(), logits.end());
    for (const Token token : unused)
        left[static_cast<std::size_t>(token)] = -std::numeric_limits<float>::infinity();
    CHECK(one.log_probabilities.front() == log_probability(left, one.tokens.front()));
    // Beams and samples from one prompt.
    auto beams = padded.session<KvCache<Paged<F32>>>(48);
    for (const BeamText& text :
         beam_search(beams, prompt, {.beams = 4, .best = 4, .max_tokens = 12}))
        CHECK(used(text.tokens));
    beams.clear();
    auto one_beam = beam_search(beams, prompt, {.beams = 1, .max_tokens = 1});
    CHECK(one_beam.front().log_probability == Approx(one.log_probabilities.front()).margin(1e-12));
    beams.clear();
    std::vector<Draw> samplers{draw(1), draw(2), draw(3)};
    for (const auto& text : parallel_samples(beams, prompt, samplers, limits)) CHECK(used(text));
}
