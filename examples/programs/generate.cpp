// Continues a prompt with a model, on any cache.
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

#include <cairn/generate/ngram_draft.hpp>
#include <cairn/generate/session_draft.hpp>
#include <cairn/generate/speculative.hpp>
#include <cairn/generate/view_draft.hpp>

#include "watch.hpp"

using namespace programs;

namespace {

struct Options : ModelOptions {
    std::optional<std::string> prompt;
    std::optional<std::string> prompt_file;
    std::optional<std::string> tokens;
    int count = 128;
    cairn::SamplingSettings sampling;
    std::vector<std::string> biases;
    std::vector<std::string> stops;
    bool ignore_eos = false;
    bool special = false;
    std::string save_session;
    std::string load_session;
    std::string draft;
    int draft_tokens = 16;
    std::string draft_rule = "text";
    std::string draft_lengths = "adaptive";
    bool draft_set = false;       // by any flag of a draft
    bool sampling_given = false;  // by flags: a loaded session's own settings do not apply
};

// "ID=B" as a logit bias.
std::pair<Token, float> parse_bias(const std::string& text) {
    const std::size_t equals = text.find('=');
    Token id = 0;
    float bias = 0.0F;
    bool good = equals != std::string::npos;
    if (good) {
        const char* end = text.data() + text.size();
        const auto a = std::from_chars(text.data(), text.data() + equals, id);
        const auto b = std::from_chars(text.data() + equals + 1, end, bias);
        good = a.ec == std::errc() && a.ptr == text.data() + equals && b.ec == std::errc() &&
               b.ptr == end;
    }
    require(good, ErrorCode::usage, "--logit-bias: \"", text.substr(0, 40), "\" is not ID=BIAS");
    return {id, bias};
}

// Values out of range are wrong usage here, not failures.
auto checked_sampler(const cairn::SamplingSettings& settings) {
    try {
        return cairn::make_sampler(settings);
    } catch (const Error& error) {
        throw Error(ErrorCode::usage, error.what());
    }
}

// What the user gave: its tokens, and its text for the echo.
struct Prompt {
    std::vector<Token> tokens;
    std::string text;
};

// The text of a token; an id that stands for none shows nothing.
std::string shown(const cairn::Tokenizer& tokenizer, Token token) {
    try {
        return tokenizer.bytes(token);
    } catch (const Error&) {
        return {};
    }
}

Prompt read_prompt(const Options& options, const Program& program) {
    Prompt result;
    if (options.tokens) {
        result.tokens = parse_tokens(*options.tokens);
        for (const Token token : result.tokens)
            result.text += program.loaded().tokenizer ? shown(program.tokenizer(), token)
                                                      : std::to_string(token) + " ";
        return result;
    }
    result.text = options.prompt ? *options.prompt : read_input(*options.prompt_file);
    result.tokens = program.encode(
        result.text,
        options.special ? cairn::SpecialTokens::recognised : cairn::SpecialTokens::as_text,
        static_cast<std::size_t>(program.context()));
    return result;
}

// Wrong usage of the flags of a draft, before any model is loaded.
void check_draft(const Options& options) {
    if (options.draft.empty()) {
        require(!options.draft_set, ErrorCode::usage,
                "--draft: give ngram, self[:SPEC], view[:MODEL] or a model");
        return;
    }
    require(!options.no_cache, ErrorCode::usage, "--draft needs a cache to check its guesses with");
    require(options.draft != "view:", ErrorCode::usage, "--draft view: names no model");
    if (options.draft.starts_with("self:")) parse_cache(options.draft.substr(5));
}
std::unique_ptr<cairn::Draft> make_draft(const Options& options, Program& program,
                                         Session& session) {
    if (options.draft == "ngram") return std::make_unique<cairn::NgramDraft>();
    if (options.draft == "view" || options.draft.starts_with("view:"))
        return std::make_unique<cairn::ViewDraft<Session, cairn::AnyModel>>(
            session, options.draft == "view"
                         ? program.loaded().model
                         : program.draft_model(options.draft.substr(5), options.quiet));
    return std::make_unique<cairn::SessionDraft<Session>>(
        program.draft_session(options.draft, options.quiet));
}
cairn::SpeculationSettings speculation(const Options& options) {
    cairn::SpeculationSettings settings;
    settings.guesses = options.draft_tokens;
    if (options.draft_rule == "law") settings.rule = cairn::GuessRule::same_law;
    if (options.draft_lengths == "fixed") settings.lengths = cairn::GuessLengths::fixed;
    return settings;
}
cairn::Json draft_report(const Options& options, const cairn::SpeculativeGeneration& g) {
    if (options.draft.empty()) return {};
    return {{"kind", options.draft},
            {"rounds", g.rounds},
            {"steps", g.steps},
            {"guesses", g.guesses},
            {"accepted", g.accepted},
            {"acceptance", number(g.acceptance())},
            {"tokens_per_forward", number(g.tokens_per_forward())},
            {"seconds", g.draft_seconds}};
}
std::string draft_line(const cairn::SpeculativeGeneration& g) {
    std::ostringstream line;
    line.precision(2);
    line << std::fixed << ", draft: " << g.accepted << " of " << g.guesses << " guesses came true, "
         << g.tokens_per_forward() << " tokens a forward";
    return line.str();
}

cairn::Json report(const Options& options, const Program& program, const Session& session,
                   const std::vector<Token>& prompt, const cairn::SpeculativeGeneration& g,
                   const cairn::Json& text) {
    const cairn::AnyModel& model = program.loaded().model;
    return {{"prompt_tokens", prompt},
            {"tokens", g.tokens},
            {"text", text},
            {"stop_reason", std::string(cairn::stop_reason_name(g.reason))},
            {"load_seconds", program.load_seconds()},
            {"prefill_seconds", g.prefill_seconds},
            {"decode_seconds", g.decode_seconds},
            {"prefill_tokens_per_second", number(g.prefill_rate())},
            {"decode_tokens_per_second", number(g.decode_rate())},
            {"draft", draft_report(options, g)},
            {"cache",
             {{"spec", options.no_cache ? "none" : program.spec().canonical()},
              {"tokens", options.no_cache ? 0 : session.held()},
              {"bytes", options.no_cache ? 0 : session.cache_bytes()},
              {"payload_bytes", options.no_cache ? 0 : session.payload_bytes()}}},
            {"model",
             {{"architecture", model.architecture()},
              {"parameters", model.parameters()},
              {"bytes", model.bytes()}}}};
}

int generate(Options& options) {
    const int prompts = int{options.prompt.has_value()} + int{options.prompt_file.has_value()} +
                        int{options.tokens.has_value()};
    const bool loading = !options.load_session.empty();
    require(prompts == 1 || (prompts == 0 && loading), ErrorCode::usage,
            "give one of --prompt, --prompt-file and --tokens");
    require(!options.no_cache || (!loading && options.save_session.empty()), ErrorCode::usage,
            "--no-cache has no session to save or load");
    check_draft(options);
    for (const std::string& bias : options.biases)
        options.sampling.logit_bias.push_back(parse_bias(bias));
    auto sampler = checked_sampler(options.sampling);
    for (const std::string& stop : options.stops)
        require(!stop.empty(), ErrorCode::usage, "--stop: an empty text");
    if (options.tokens) parse_tokens(*options.tokens);  // wrong usage before the model is loaded
    // A place that cannot be written is an error before any work.
    if (!options.save_session.empty()) {
        refuse_model(options.path, options.save_session);
        const cairn::OutputFile probe(options.save_session);
    }

    Program program(options);
    Session session = program.session();
    cairn::SessionText saved;
    cairn::SessionOwner owner;
    if (loading || !options.save_session.empty())
        owner = cairn::SessionOwner::of(program.loaded(), session.context().compute,
                                        session.context().attention);
    if (loading) {
        saved = cairn::load_session(options.load_session, session, owner);
        if (!options.sampling_given) {
            options.sampling = saved.sampling;
            sampler = checked_sampler(options.sampling);
        }
        sampler.picker().random().set_state(saved.random);
    }
    // What a loaded session sampled and did not feed yet comes first.
    const auto held = static_cast<std::ptrdiff_t>(session.position());
    std::vector<Token> prompt(saved.tokens.begin() + held, saved.tokens.end());
    const std::size_t resumed = prompt.size();
    Prompt given;
    if (prompts == 1) given = read_prompt(options, program);
    prompt.insert(prompt.end(), given.tokens.begin(), given.tokens.end());
    saved.tokens.resize(static_cast<std::size_t>(held));
    const int vocabulary = program.loaded().model.vocabulary();
    require(!prompt.empty() || !session.logits().empty(), ErrorCode::empty_prompt,
            "the prompt has no tokens, and the model adds none");
    require(prompt.size() <= static_cast<std::size_t>(program.context()) - saved.tokens.size(),
            ErrorCode::capacity, "the prompt has ", prompt.size(), " tokens, the context ",
            program.context(), held > 0 ? ", and the session holds " : "",
            held > 0 ? std::to_string(held) : "");
    for (const auto& bias : options.sampling.logit_bias)
        require(bias.first < vocabulary, ErrorCode::token_range, "--logit-bias: token ", bias.first,
                " is not in 0..", vocabulary - 1);
    const bool has_text = program.loaded().tokenizer.has_value();
    require(has_text || options.stops.empty(), ErrorCode::unsupported, "--stop needs a tokenizer");

    cairn::Limits limits;
    limits.max_tokens = options.count;
    limits.history = saved.tokens;
    limits.resumed = resumed;
    if (!options.ignore_eos) limits.end_of_text = program.loaded().end_of_text;
    if (options.no_cache) limits.caching = cairn::Caching::recompute;
    if (options.chunk > 0) limits.prompt_piece = options.chunk;

    std::optional<cairn::TextStream> stream;
    if (has_text) stream.emplace(program.tokenizer(), options.stops);
    std::optional<Watch> watch;
    watch.emplace(session, prompt.size(), options.chunk,
                  options.quiet ? Watch::Bar::hidden : Watch::Bar::shown);
    std::string text;
    // The prompt is shown when it was read: what is refused leaves standard output empty.
    bool echo = !options.json && !options.quiet;
    const auto show = [&](const std::string& piece) {
        watch->prompt_is_fed();
        text += piece;
        if (std::exchange(echo, false)) std::cout << given.text;
        if (!options.json) std::cout << piece << std::flush;
    };
    const auto on_token = [&](Token token) {
        const auto& ends = limits.end_of_text;
        if (std::find(ends.begin(), ends.end(), token) != ends.end()) return true;
        if (stream)
            show(stream->feed(token));
        else
            show(std::to_string(token) + " ");
        return !(stream && stream->stopped());
    };
    cairn::SpeculativeGeneration result;
    if (const auto draft = options.draft.empty() ? nullptr : make_draft(options, program, session))
        result = cairn::speculate(session, prompt, sampler, *draft, speculation(options), limits,
                                  on_token);
    else
        static_cast<cairn::Generation&>(result) =
            cairn::generate(session, prompt, sampler, limits, on_token);
    show(stream ? stream->finish() : "");
    watch.reset();
    if (!options.save_session.empty()) {
        saved.tokens.insert(saved.tokens.end(), prompt.begin(), prompt.end());
        saved.tokens.insert(saved.tokens.end(), result.tokens.begin(), result.tokens.end());
        saved.sampling = options.sampling;
        saved.random = sampler.picker().random().state();
        cairn::save_session(options.save_session, session, saved, owner);
    }
    if (options.json)
        std::cout << report(options, program, session, prompt, result,
                            has_text ? cairn::Json(text) : cairn::Json())
                         .dump(2)
                  << '\n';
    else
        std::cout << std::endl;
    if (!options.json && !options.quiet)
        note(closing_line(result, options.no_cache ? 0 : session.cache_bytes()) +
             (options.draft.empty() ? "" : draft_line(result)));
    return result.reason == cairn::StopReason::cancelled ? 130 : 0;
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags(
        "Continue a prompt with a model, on any cache. Prints the prompt, the new text, and on\n"
        "standard error how it went. Ctrl-C ends it early: exit 130.\n\n"
        "Examples:\n"
        "  generate --model examples/models/shakespeare --prompt 'ROMEO:' -n 200 --temperature 0.8 "
        "--seed 1\n"
        "  generate --model examples/models/shakespeare --prompt 'ROMEO:' --cache contiguous:f16 "
        "--json\n"
        "  generate --model examples/models/shakespeare --tokens 1,2,3 -n 8 --no-cache\n"
        "  generate --model examples/models/shakespeare --prompt 'ROMEO:' --draft ngram\n"
        "  generate --model examples/models/shakespeare --prompt 'ROMEO:' -n 50 --save-session "
        "romeo.cairn\n"
        "  generate -m examples/models/shakespeare -f - -n 50 --quiet <prompt.txt\n"
        "  generate --model examples/models/shakespeare --load-session romeo.cairn -n 50");
    Options options;
    cairn::SamplingSettings& s = options.sampling;
    flags.add("-p,--prompt", options.prompt, "Text to continue");
    flags.add("-f,--prompt-file", options.prompt_file,
              "File or pipe with the text to continue; - is standard input");
    flags.add("--tokens", options.tokens, "Token ids to continue: 1,2,3");
    flags.add("-n", options.count, "Tokens to generate").at_least(0).shown();
    options.add_no_cache(flags, options.add_to(flags));
    flags.add("--temperature", s.temperature, "0: always the best token").shown();
    flags.add("--top-k", s.top_k, "Only the K best tokens (0: all)").shown();
    flags.add("--top-p", s.top_p, "The fewest best tokens that reach probability P").shown();
    flags.add("--min-p", s.min_p, "Tokens at least P times as likely as the best").shown();
    flags.add("--typical-p", s.typical_p, "Locally typical tokens that reach probability P")
        .shown();
    flags
        .add("--repetition-penalty", s.repetition_penalty,
             "Divides the logits of tokens that occurred")
        .shown();
    flags.add("--presence-penalty", s.presence_penalty, "Taken from tokens that occurred").shown();
    flags
        .add("--frequency-penalty", s.frequency_penalty,
             "Taken from tokens for each time they occurred")
        .shown();
    flags.add("--logit-bias", options.biases, "ID=BIAS, added to a token's logit; may be repeated");
    flags.add("--seed", s.seed, "Seed of the draws; the same seed gives the same text everywhere")
        .shown();
    flags.add("--stop", options.stops, "Text that ends the output; may be repeated");
    flags.add("--draft", options.draft,
              "Guesses tokens that the model checks many at once: ngram (what followed the last "
              "words before), self[:SPEC] (the model through a cheaper cache, q4_0), view[:MODEL] "
              "(coarse rows of its own cache, with cheaper weights), or a model");
    flags.add("--draft-tokens", options.draft_tokens, "Guesses checked at once, at most")
        .between(1, 64)
        .shown();
    flags
        .add("--draft-rule", options.draft_rule,
             "text: the same text as without a draft; law: text of the same law, more guesses stay")
        .one_of({"text", "law"})
        .shown();
    flags
        .add("--draft-lengths", options.draft_lengths,
             "As many guesses as pay (adaptive), or always as many as may be (fixed)")
        .one_of({"adaptive", "fixed"})
        .shown();
    flags.add("--save-session", options.save_session, "Write the session to this file when done");
    flags.add("--load-session", options.load_session,
              "Go on from a saved session; a prompt is appended, none is needed");
    flags.add("--ignore-eos", options.ignore_eos, "Go on after an end-of-text token");
    options.add_json(flags);
    options.add_quiet(flags);
    flags.add("--special", options.special, "Names of special tokens in the prompt stand for them");
    return flags.run(argc, argv, [&] {
        for (const char* flag : {"--draft", "--draft-tokens", "--draft-rule", "--draft-lengths"})
            options.draft_set = options.draft_set || flags.given(flag);
        for (const char* flag :
             {"--temperature", "--top-k", "--top-p", "--min-p", "--typical-p",
              "--repetition-penalty", "--presence-penalty", "--frequency-penalty", "--logit-bias"})
            options.sampling_given = options.sampling_given || flags.given(flag);
        return generate(options);
    });
}
