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
