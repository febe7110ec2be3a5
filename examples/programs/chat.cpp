// A conversation with a chat model. One session holds all of it: a new turn feeds only new tokens.
#include <fstream>
#include <optional>

#include <cairn/io/chat_format.hpp>

#include "support.hpp"

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
    std::vector<Token> unfed;  ///< the answer's last token, if it was cut off
};

class Chat {
  public:
    Chat(const Options& options, Program& program)
        : options_(options),
          program_(program),
          format_(options.format.empty()
                      ? cairn::ChatFormat::recognise(program.loaded().chat_template)
                      : cairn::ChatFormat::named(options.format)),
          session_(program.session()),
          sampler_(cairn::make_sampler(options.sampling)) {}

    const cairn::ChatFormat& format() const { return format_; }

    template <class Show>
    std::string answer(const std::string& question, Show&& show) {
        const cairn::Tokenizer& tokenizer = program_.tokenizer();
        const int before = session_.position();
        std::vector<Token> prompt;
        if (!exchanges_.empty()) {
            prompt = exchanges_.back().unfed;
            const auto end = format_.close(tokenizer);
            prompt.insert(prompt.end(), end.begin(), end.end());
        }
        const auto turn = format_.turn(tokenizer, exchanges_.empty(), options_.system, question);
        prompt.insert(prompt.end(), turn.begin(), turn.end());
        const auto room = static_cast<std::size_t>(session_.capacity() - before);
        require(prompt.size() < room, ErrorCode::capacity, "this turn has ", prompt.size(),
                " tokens, the context has room for ", room, "; /reset or /undo makes room");
        cairn::Limits limits;
        limits.max_tokens = options_.count;
        limits.end_of_text = program_.loaded().end_of_text;
        if (options_.chunk > 0) limits.prompt_piece = options_.chunk;
        cairn::TextStream stream(tokenizer, {});
        std::string text;
        const auto add = [&](const std::string& piece) {
            text += piece;
            show(piece);
        };
        const auto on_token = [&](Token token) {
            const auto& ends = limits.end_of_text;
            if (std::find(ends.begin(), ends.end(), token) == ends.end()) add(stream.feed(token));
            return true;
        };
        std::vector<Token> unfed;
        try {
            const Interrupt interrupt(session_.context());
            unfed = not_yet_fed(cairn::generate(session_, prompt, sampler_, limits, on_token),
                                limits.end_of_text);
        } catch (...) {
            session_.context().after_layer = {};
            session_.truncate(before);
            throw;
        }
        session_.context().after_layer = {};
        session_.context().cancel = {};
        add(stream.finish());
        exchanges_.push_back({question, text, before, std::move(unfed)});
        return text;
    }
    void reset() {
        session_.clear();
        exchanges_.clear();
    }
    bool undo() {
        if (exchanges_.empty()) return false;
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
        std::ofstream file(path, std::ios::trunc);
        file << list.dump(2) << '\n';
        file.close();
        require(static_cast<bool>(file), ErrorCode::io, path, ": cannot be written");
    }
    int position() const { return session_.position(); }

  private:
    // A sampled token is fed only when the next one is wanted.
    static std::vector<Token> not_yet_fed(const cairn::Generation& g,
                                          const std::vector<Token>& ends) {
        if (g.tokens.empty() || std::find(ends.begin(), ends.end(), g.tokens.back()) != ends.end())
            return {};
        return {g.tokens.back()};
    }

    const Options& options_;
    Program& program_;
    cairn::ChatFormat format_;
    Session session_;
    decltype(cairn::make_sampler({})) sampler_;
    std::vector<Exchange> exchanges_;
};

void converse(const Options& options) {
    require(!options.json, ErrorCode::usage, "--json: a conversation has no one object");
    require(!options.no_cache, ErrorCode::usage, "--no-cache: a conversation lives in its cache");
    Program program(options);
    Chat chat(options, program);
    const bool colours = ::isatty(STDOUT_FILENO) != 0;
    const bool prompts = ::isatty(STDIN_FILENO) != 0;
    if (prompts)
        std::cerr << "chat format " << chat.format().name() << ", context " << program.context()
                  << " tokens. " << commands << '\n';
    std::string line;
    while (true) {
        if (prompts) std::cerr << (colours ? "\x1b[32m> \x1b[0m" : "> ") << std::flush;
        if (!std::getline(std::cin, line)) break;
        if (line.empty()) continue;
        try {
            if (line == "/quit") break;
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
            } else if (line.front() == '/') {
                require(false, ErrorCode::usage, "no command ", line.substr(0, 40), "; ", commands);
            } else {
                if (colours) std::cout << "\x1b[36m";
                chat.answer(line,
                            [](const std::string& piece) { std::cout << piece << std::flush; });
                std::cout << (colours ? "\x1b[0m\n" : "\n");
            }
        } catch (const Error& error) {
            // A wrong command or a full context ends a turn, not the conversation.
            if (!prompts) throw;
            std::cerr << "error[" << cairn::code_name(error.code())
                      << "]: " << one_line(error.what()) << '\n';
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags(
        std::string("Talk to a chat model. Each line is one turn; only its tokens are fed.\n") +
        commands +
        ".\n\nExamples:\n"
        "  chat --model build/models/SmolLM2-135M-Instruct.Q4_1.gguf\n"
        "  echo 'What is a cairn?' | chat --model model.gguf --system 'Answer briefly.'");
    Options options;
    cairn::SamplingSettings& s = options.sampling;
    options.add_to(flags);
    flags.add("--format", options.format, "Chat format, if the file's template is unknown")
        .one_of(std::vector<std::string>(cairn::ChatFormat::names.begin(),
                                         cairn::ChatFormat::names.end()));
    flags.add("--system", options.system, "What the model is told first");
    flags.add("-n", options.count, "Most tokens of an answer").at_least(1).shown();
    flags.add("--temperature", s.temperature, "0: always the best token").shown();
    flags.add("--top-k", s.top_k, "Only the K best tokens (0: all)").shown();
    flags.add("--top-p", s.top_p, "The fewest best tokens that reach probability P").shown();
    flags
        .add("--repetition-penalty", s.repetition_penalty,
             "Divides the logits of tokens that occurred")
        .shown();
    flags.add("--seed", s.seed, "Seed of the draws").shown();
    return flags.run(argc, argv, [&] { converse(options); });
}
