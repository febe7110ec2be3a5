// A conversation with a chat model. One session holds all of it: a new turn feeds only new tokens.
#include <cstdlib>
#include <ctime>
#include <optional>
#include <span>

#include <cairn/io/chat_format.hpp>

#include "line_editor.hpp"
#include "watch.hpp"

using namespace programs;

namespace {

struct Options : ModelOptions {
    std::string format;
    std::string system;
    int count = 512;
    cairn::SamplingSettings sampling;
};

const char* const commands =
    "/reset forgets the conversation, /undo the last turn, /save FILE writes it, /help, /quit";

// One question and its answer, and where the session stood before.
struct Exchange {
    std::string question;
    std::string answer;
    int position;
    std::vector<Token> unfed;  ///< tokens of it that the session has not seen
};

// The day, for models that are told it.
cairn::ChatDate today() {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    return localtime_r(&now, &local) == nullptr
               ? cairn::ChatDate{}
               : cairn::ChatDate{local.tm_year + 1900, local.tm_mon + 1, local.tm_mday};
}

class Chat {
  public:
    Chat(const Options& options, Program& program)
        : options_(options),
          program_(program),
          format_((options.format.empty()
                       ? cairn::ChatFormat::recognise(program.loaded().chat_template)
                       : cairn::ChatFormat::named(options.format))
                      .dated(today())),
          session_(program.session()),
          sampler_(cairn::make_sampler(options.sampling)) {}

    const cairn::ChatFormat& format() const { return format_; }
    const Session& session() const { return session_; }

    /// Answers, and remembers it. A question that got no token of an answer, for an error or
    /// Ctrl-C, is forgotten.
    template <class Show>
    cairn::Generation answer(const std::string& question, Show&& show) {
        const cairn::Tokenizer& tokenizer = program_.tokenizer();
        Exchange now{question, {}, session_.position(), {}};
        std::vector<Token> text = turn(question);
        const auto room = static_cast<std::size_t>(session_.capacity() - now.position);
        require(text.size() < room, ErrorCode::capacity, "this turn has ", text.size(),
                " tokens, the context has room for ", room, "; /reset or /undo makes room");
        cairn::Limits limits;
        limits.max_tokens = options_.count;
        limits.end_of_text = program_.loaded().end_of_text;
        if (options_.chunk > 0) limits.prompt_piece = options_.chunk;
        cairn::TextStream stream(tokenizer, {});
        const auto add = [&](const std::string& piece) {
            now.answer += piece;
            show(piece);
        };
        cairn::Generation result;
        try {
            Watch watch(session_, text.size(), options_.chunk,
                        options_.quiet ? Watch::Bar::hidden : Watch::Bar::shown);
            const auto on_token = [&](Token token) {
                watch.prompt_is_fed();
                const auto& ends = limits.end_of_text;
                if (std::find(ends.begin(), ends.end(), token) == ends.end())
                    add(stream.feed(token));
            };
            result = cairn::generate(session_, text, sampler_, limits, on_token);
        } catch (...) {
            forget(std::move(now), std::move(text));
            throw;
        }
        add(stream.finish());
        if (result.tokens.empty()) {
            forget(std::move(now), std::move(text));
            return result;
        }
        // The end of the answer is fed with the next turn, as the format writes it.
        const auto& ends = limits.end_of_text;
        const bool ended = std::find(ends.begin(), ends.end(), result.tokens.back()) != ends.end();
        text.insert(text.end(), result.tokens.begin(), result.tokens.end() - (ended ? 1 : 0));
        remember(std::move(now), std::move(text));
        return result;
    }
    void reset() {
        session_.clear();
        exchanges_.clear();
    }
    bool undo() {
        if (exchanges_.empty()) return false;
        require(session_.can_truncate(exchanges_.back().position), ErrorCode::bad_state,
                "/undo: this cache has let go of rows and cannot go back; /reset can");
        session_.truncate(exchanges_.back().position);
        exchanges_.pop_back();
        return true;
    }
    void save(const std::string& path) const {
        cairn::Json list = cairn::Json::array();
        if (!options_.system.empty())
            list.push_back({{"role", "system"}, {"content", cairn::to_utf8(options_.system)}});
        for (const Exchange& e : exchanges_) {
            list.push_back({{"role", "user"}, {"content", cairn::to_utf8(e.question)}});
            list.push_back({{"role", "assistant"}, {"content", e.answer}});
        }
        refuse_model(options_.path, path);
        // Whole or not at all: the file of an earlier /save stays until then.
        const std::string text = list.dump(2) + '\n';
        cairn::OutputFile file(path);
        file.write(std::as_bytes(std::span(text)));
        file.finish();
    }

  private:
    // The tokens of a question as they follow what the session holds.
    std::vector<Token> turn(const std::string& question) const {
        std::vector<Token> result;
        const auto add = [&](const std::vector<Token>& more) {
            result.insert(result.end(), more.begin(), more.end());
        };
        if (!exchanges_.empty()) {
            add(exchanges_.back().unfed);
            add(format_.close(program_.tokenizer()));
        }
        add(format_.turn(program_.tokenizer(),
                         exchanges_.empty() ? cairn::ChatTurn::first : cairn::ChatTurn::later,
                         options_.system, question));
        return result;
    }
    // `text`: all tokens since `exchange.position`, of which the session has seen the first ones.
    void remember(Exchange exchange, std::vector<Token> text) {
        const int seen = session_.position() - exchange.position;
        exchange.unfed.assign(text.begin() + std::min<std::ptrdiff_t>(seen, std::ssize(text)),
                              text.end());
        exchanges_.push_back(std::move(exchange));
    }
    // Back to where the session stood; a cache that cannot go back keeps the question instead.
    void forget(Exchange exchange, std::vector<Token> text) {
        if (session_.can_truncate(exchange.position))
            session_.truncate(exchange.position);
        else
            remember(std::move(exchange), std::move(text));
    }

    const Options& options_;
    Program& program_;
    cairn::ChatFormat format_;
    Session session_;
    decltype(cairn::make_sampler({})) sampler_;
    std::vector<Exchange> exchanges_;
};

// What a line that begins with a slash asks for. False: to leave.
bool command(Chat& chat, const std::string& line) {
    if (line == "/quit") return false;
    if (line == "/help") {
        std::cout << commands << '\n';
    } else if (line == "/reset") {
        chat.reset();
        std::cout << "forgotten\n";
    } else if (line == "/undo") {
        std::cout << (chat.undo() ? "undone\n" : "nothing to undo\n");
    } else if (line.starts_with("/save")) {
        const std::string path = line.size() > 6 ? line.substr(6) : "";
        require(!path.empty(), ErrorCode::usage, "/save needs a file name");
        chat.save(path);
        std::cout << "saved to " << path << '\n';
    } else {
        require(false, ErrorCode::usage, "no command ", line.substr(0, 40), "; ", commands);
    }
    return true;
}

// Prints an answer as it comes, and how it went.
cairn::StopReason answer(Chat& chat, const std::string& question, const Options& options) {
    const bool colours = ::isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
    // Whatever ends the answer, the terminal is as before.
    struct Colour {
        bool on;
        ~Colour() { std::cout << (on ? "\x1b[0m" : "") << std::endl; }
    };
    cairn::Generation result;
    {
        if (colours) std::cout << "\x1b[36m";
        const Colour colour{colours};
        result = chat.answer(question,
                             [](const std::string& piece) { std::cout << piece << std::flush; });
    }
    if (!options.quiet)
        note(closing_line(result, chat.session().cache_bytes()) +
             (result.tokens.empty() ? "; the question is forgotten" : ""));
    return result.reason;
}

int converse(const Options& options) {
    Program program(options);
    Chat chat(options, program);
    LineEditor editor;
    const bool person = editor.interactive();
    // A person leaves by Ctrl-D: Ctrl-C is for the line or the answer, and for nothing in between.
    if (person) std::signal(SIGINT, SIG_IGN);
    if (person && !options.quiet)
        std::cerr << "chat format " << chat.format().name() << ", context " << program.context()
                  << " tokens. " << commands << ". Ctrl-C stops an answer, Ctrl-D leaves.\n";
    for (std::string line;;) {
        std::cout.flush();
        const LineEditor::Got got = editor.read("> ", line);
        if (got == LineEditor::Got::end) {
            if (person) std::cerr << '\n';
            return 0;
        }
        if (got == LineEditor::Got::interrupted || line.empty()) continue;
        try {
            if (line.front() == '/') {
                if (!command(chat, line)) return 0;
            } else if (answer(chat, line, options) == cairn::StopReason::cancelled && !person) {
                return 130;
            }
        } catch (const Error& error) {
            // A wrong command or a full context ends a turn, not the conversation.
            if (!person) throw;
            std::cerr << "error[" << cairn::code_name(error.code())
                      << "]: " << one_line(error.what()) << '\n';
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags(
        std::string("Talk to a chat model. Each line is one turn; only its tokens are fed.\n") +
        commands + ".\nA line that ends in \\ goes on in the next one. " +
        std::string(LineEditor::described()) +
        "\nCtrl-C stops an answer, or drops the line; Ctrl-D leaves.\n\n"
        "Examples:\n"
        "  chat --model build/models/SmolLM2-135M-Instruct.Q4_1.gguf\n"
        "  echo 'What is a cairn?' | chat --model model.gguf --system 'Answer briefly.'");
    Options options;
    cairn::SamplingSettings& s = options.sampling;
    // The best token at each step leads small models in circles; so does a text without a penalty.
    s.temperature = 0.7F;
    s.top_p = 0.9F;
    s.repetition_penalty = 1.1F;
    options.add_to(flags);
    options.add_quiet(flags);
    flags.add("--format", options.format, "Chat format, if the file's template is unknown")
        .one_of(std::vector<std::string>(cairn::ChatFormat::names.begin(),
                                         cairn::ChatFormat::names.end()));
    flags.add("--system", options.system, "What the model is told first");
    flags.add("-n", options.count, "Most tokens of an answer").at_least(1).shown();
    flags.add("--temperature", s.temperature, "0: always the best token").shown();
    flags.add("--top-k", s.top_k, "Only the K best tokens (0: all)").shown();
    flags.add("--top-p", s.top_p, "The fewest best tokens that reach probability P").shown();
    flags.add("--min-p", s.min_p, "Tokens at least P times as likely as the best").shown();
    flags
        .add("--repetition-penalty", s.repetition_penalty,
             "Divides the logits of tokens that occurred")
        .shown();
    flags.add("--seed", s.seed, "Seed of the draws; the same seed gives the same answers").shown();
    return flags.run(argc, argv, [&] { return converse(options); });
}
