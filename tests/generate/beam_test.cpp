// Beam search against an exhaustive one, and parallel samples against samples alone.
#include <cairn/cache/store/paged.hpp>
#include <cairn/generate/beam.hpp>

#include "support.hpp"
using namespace support;

namespace {

using Model = LlamaLike<RotaryHalf>;
using Cache = KvCache<Paged<F32>>;

Model tiny(int vocabulary) {
    Random random(13);
    LlamaShape shape;
    shape.layout = {2, 1, 8, 8};
    shape.vocabulary = vocabulary;
    shape.context = 64;
    return random_llama<RotaryHalf>(random, shape);
}

}  // namespace

TEST_CASE("with beams for all texts the search is exhaustive", "[beam]") {
    const Model model = tiny(4);
    const std::vector<Token> prompt{1, 2, 0};
    auto session = model.session<Cache>(40);
    BeamSettings settings;
    settings.beams = 64;
    settings.best = 5;
    settings.max_tokens = 3;
    const auto found = beam_search(session, prompt, settings);
    CHECK(session.position() == 3);

    std::vector<BeamText> all;
    for (int code = 0; code < 64; ++code) {
        const std::vector<Token> text{code / 16, code / 4 % 4, code % 4};
        auto alone = model.session<Cache>(40);
        double sum = 0.0;
        auto logits = alone.prefill(prompt);
        for (const Token token : text) {
            sum += log_probability(logits, token);
            logits = alone.decode(token);
        }
        all.push_back({text, sum, sum / 3.0});
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const BeamText& a, const BeamText& b) { return a.score > b.score; });
    REQUIRE(found.size() == 5);
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(found[i].tokens == all[i].tokens);
        CHECK(std::abs(found[i].score - all[i].score) < 1e-9);
    }
}

TEST_CASE("one beam is greedy; ends, lengths, patience, errors", "[beam]") {
    const Model model = tiny(20);
    const std::vector<Token> prompt{3, 5, 7};
    auto session = model.session<Cache>(40);
    auto other = model.session<Cache>(40);
    BeamSettings one;
    one.beams = 1;
    one.max_tokens = 12;
    Greedy greedy;
    Limits limits;
    limits.max_tokens = 12;
    const auto texts = beam_search(session, prompt, one);
    const auto plain = generate(other, prompt, greedy, limits).tokens;
    CHECK(texts[0].tokens == plain);

    session.clear();
    BeamSettings several;
    several.beams = 4;
    several.best = 4;
    several.max_tokens = 10;
    several.end_of_text = {plain[0], plain[1]};
    const auto ended = beam_search(session, prompt, several);
    CHECK(ended.size() == 4);
    for (std::size_t i = 1; i < ended.size(); ++i) CHECK(ended[i - 1].score >= ended[i].score);
    for (const BeamText& text : ended)
        for (std::size_t i = 0; i + 1 < text.tokens.size(); ++i)
            CHECK((text.tokens[i] != plain[0] && text.tokens[i] != plain[1]));
    session.clear();
    several.length_penalty = 0.0;
    for (const BeamText& text : beam_search(session, prompt, several))
        CHECK(text.score == text.log_probability);
    session.clear();
    several.best = 5;
    CHECK(code_of([&] { beam_search(session, prompt, several); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { beam_search(session, {}, one); }) == ErrorCode::empty_prompt);
}

TEST_CASE("parallel samples are the samples alone, and share the prompt's blocks", "[beam]") {
    const Model model = tiny(30);
    Random random(9);
    const auto prompt = random_tokens(random, 33, 30);
    auto session = model.session<Cache>(60);
    std::vector<decltype(make_sampler({}))> samplers;
    SamplingSettings settings;
    settings.temperature = 1.0F;
    for (int i = 0; i < 6; ++i) {
        settings.seed = static_cast<std::uint64_t>(i);
        samplers.push_back(make_sampler(settings));
    }
    Limits limits;
    limits.max_tokens = 15;
    limits.end_of_text = {4};
    const auto texts = parallel_samples(session, prompt, samplers, limits);
    REQUIRE(texts.size() == 6);
    for (int i = 0; i < 6; ++i) {
        auto alone = model.session<Cache>(60);
        settings.seed = static_cast<std::uint64_t>(i);
        auto sampler = make_sampler(settings);
        CHECK(generate(alone, prompt, sampler, limits).tokens ==
              texts[static_cast<std::size_t>(i)]);
    }
    CHECK(session.position() == 33);
}

TEST_CASE("what cannot work is refused before the session has changed", "[beam]") {
    const auto model =
        TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 40, .context = 48}, 7);
    auto session = model.session<KvCache<Paged<F32>>>(16);
    const std::vector<Token> prompt{1, 2};
    const auto beam = [&](std::vector<Token> tokens, const BeamSettings& settings) {
        return code_of([&] { beam_search(session, tokens, settings); });
    };
    const double infinity = std::numeric_limits<double>::infinity();
    CHECK(beam({}, {}) == ErrorCode::empty_prompt);
    CHECK(beam({1, 40}, {}) == ErrorCode::token_range);
    CHECK(beam({-1}, {}) == ErrorCode::token_range);
    CHECK(beam(std::vector<Token>(17, 1), {}) == ErrorCode::capacity);
    CHECK(beam(prompt, {.length_penalty = infinity - infinity}) == ErrorCode::invalid_argument);
    CHECK(beam(prompt, {.length_penalty = infinity}) == ErrorCode::invalid_argument);
    CHECK(beam(prompt, {.patience = infinity}) == ErrorCode::invalid_argument);
    std::vector<Greedy> greedy(2);
    const auto samples = [&](std::vector<Token> tokens, const Limits& limits) {
        return code_of([&] { parallel_samples(session, tokens, greedy, limits); });
    };
    CHECK(samples({}, {}) == ErrorCode::empty_prompt);
    CHECK(samples({40}, {}) == ErrorCode::token_range);
    CHECK(samples(prompt, {.max_tokens = -1}) == ErrorCode::invalid_argument);
    CHECK(session.position() == 0);
    // A sampler's token that the model does not have: the prompt is fed, and that is all.
    struct Bad {
        Token operator()(std::span<const float>, Tokens) { return 40; }
    };
    std::vector<Bad> bad(2);
    CHECK(code_of([&] { parallel_samples(session, prompt, bad, {}); }) == ErrorCode::token_range);
    CHECK(session.position() == 2);
}

TEST_CASE("parallel samples see hooks and history as generate does", "[beam]") {
    const auto model =
        TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 40, .context = 48}, 7);
    Limits limits{.max_tokens = 8, .history = {5, 6, 7}};
    limits.on_logits = [](std::span<float> logits, Tokens so_far) {
        logits[so_far.size()] += 3.0F;
    };
    const auto sampler = [](std::uint64_t seed) {
        return penalties(1.5F, 0.5F) | temperature(1.0F) | draw(seed);
    };
    std::vector<decltype(sampler(1))> samplers{sampler(1), sampler(2)};
    auto session = model.session<KvCache<Paged<F32>>>(48);
    const std::vector<Token> prompt{1, 2};
    const auto together = parallel_samples(session, prompt, samplers, limits);
    for (std::size_t i = 0; i < 2; ++i) {
        auto alone = model.session<KvCache<Paged<F32>>>(48);
        auto own = sampler(i + 1);
        CHECK(generate(alone, prompt, own, limits).tokens == together[i]);
    }
}
