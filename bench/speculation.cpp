// Decoding behind a text with a draft and without, in turns: speed, acceptance, tokens a forward.
#include <iostream>
#include <memory>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/generate/ngram_draft.hpp>
#include <cairn/generate/session_draft.hpp>
#include <cairn/generate/speculative.hpp>
#include <cairn/generate/view_draft.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "run_options.hpp"
#include "timer.hpp"

using namespace cairn;

namespace {

using AnySession = Session<AnyModel, AnyCache>;

struct Options : bench::RunOptions {
    std::string model, draft_model, text, draft = "ngram", plain = "f16", cache = "f16";
    int depth = 0, tokens = 128, guesses = 8;
    float temperature = 0.0F;
    bool fixed = false, law = false;
};

// A draft that promises most and is wrong: what a text costs on which no guess comes true.
class WrongDraft final : public Draft {
  public:
    int outlook(Tokens) override { return outlooks - 1; }
    void draft(DraftRound& round) override {
        while (round.left() > 0) round.guess(0);
    }
};

AnySession session_over(const AnyModel& model, const std::string& spec, int capacity,
                        Executor& pool) {
    const CacheSpec caches = CacheSpec::parse(spec);
    return AnySession(model, capacity, pool, [&](int layer, const HeadLayout& layout, int rows) {
        return caches.make(layout, rows, layer);
    });
}

int run(const Options& o) {
    ThreadPool pool(o.threads);
    const LoadedModel loaded = load_model(o.model, {std::nullopt, {}, &pool});
    const AnyModel weights = o.draft_model.empty()
                                 ? loaded.model
                                 : load_model(o.draft_model, {std::nullopt, {}, &pool}).model;
    std::vector<Token> prompt =
        loaded.prompt(read_text(o.text, 1 << 26), SpecialTokens::recognised);
    if (o.depth > 0 && prompt.size() > static_cast<std::size_t>(o.depth))
        prompt.resize(static_cast<std::size_t>(o.depth));
    const int capacity = static_cast<int>(prompt.size()) + o.tokens + 1;
    const Tokens before = Tokens(prompt).first(prompt.size() - 1);
    AnySession plain = session_over(loaded.model, o.plain, capacity, pool);
    AnySession target = session_over(loaded.model, o.cache, capacity, pool);
    plain.prefill(before);
    if (o.cache == o.plain)
        target = plain.copy();
    else
        target.prefill(before);
    Limits limits{.max_tokens = o.tokens};
    limits.history.assign(before.begin(), before.end());
    const Tokens last = Tokens(prompt).last(1);
    const auto sampler = temperature(o.temperature) | draw(1);
    const SpeculationSettings settings{o.guesses,
                                       o.fixed ? GuessLengths::fixed : GuessLengths::adaptive,
                                       o.law ? GuessRule::same_law : GuessRule::same_text};
    bench::Samples with, without, ratio;
    SpeculativeGeneration got;
    bool same = true;
    for (int round = 0; round < o.rounds; ++round) {
        AnySession a = plain.copy();
        AnySession b = target.copy();
        auto first = sampler, second = sampler;
        std::unique_ptr<Draft> draft = std::make_unique<NgramDraft>();
        if (o.draft == "view")
            draft = std::make_unique<ViewDraft<AnySession, AnyModel>>(b, weights);
        else if (o.draft == "wrong")
            draft = std::make_unique<WrongDraft>();
        else if (o.draft != "ngram")
            draft = std::make_unique<SessionDraft<AnySession>>(
                session_over(weights, o.draft, capacity, pool));
        Generation text;
        const auto one = [&] { text = generate(a, last, first, limits); };
        const auto other = [&] { got = speculate(b, last, second, *draft, settings, limits); };
        if (round % 2 == 0)
            one(), other();
        else
            other(), one();
        without.add(text.decode_rate());
        with.add(got.decode_rate());
        ratio.add(got.decode_rate() / text.decode_rate());
        same = same && text.tokens == got.tokens;
    }
    std::cout << Json{{"prompt_tokens", prompt.size()},
                      {"tokens", got.tokens.size()},
                      {"draft", o.draft},
                      {"cache", o.cache},
                      {"plain_cache", o.plain},
                      {"plain_tokens_per_second", without.median()},
                      {"tokens_per_second", with.median()},
                      {"ratio", ratio.median()},
                      {"least_ratio", ratio.least()},
                      {"most_ratio", ratio.most()},
                      {"same_text", same},
                      {"rounds", got.rounds},
                      {"steps", got.steps},
                      {"guesses", got.guesses},
                      {"acceptance", got.acceptance()},
                      {"tokens_per_forward", got.tokens_per_forward()},
                      {"draft_share", got.draft_seconds / got.decode_seconds}}
                     .dump(2)
              << '\n';
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Decodes behind a text with a draft and without, in turns.\n\nExamples:\n"
        "  speculation --model m.gguf --text edit.txt --draft ngram\n"
        "  speculation --model m.gguf --text long.txt --depth 4096 --draft view --cache quantspec "
        "--plain f16 --fixed --guesses 4"};
    Options o;
    app.add_option("--model", o.model, "The model")->required();
    app.add_option("--text", o.text, "File whose text is the prompt")->required();
    app.add_option("--depth", o.depth, "Tokens of it (0: all)");
    app.add_option(
        "--draft", o.draft,
        "ngram, view, wrong (no guess comes true), or a cache SPEC for a second session");
    app.add_option("--draft-model", o.draft_model, "Weights of the draft");
    app.add_option("--cache", o.cache, "Cache of the model that checks")->capture_default_str();
    app.add_option("--plain", o.plain, "Cache of the model without a draft")->capture_default_str();
    app.add_option("--tokens", o.tokens, "Tokens to generate")->capture_default_str();
    app.add_option("--guesses", o.guesses, "Guesses in a round")->capture_default_str();
    app.add_option("--temperature", o.temperature, "0: greedy")->capture_default_str();
    app.add_flag("--fixed", o.fixed, "Rounds of one length");
    app.add_flag("--law", o.law, "Rejection by laws instead of the same text");
    o.add_to(app);
    CLI11_PARSE(app, argc, argv);
    try {
        return run(o);
    } catch (const Error& error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
}
