// What the programs share: flags, one-line errors, progress, and models from a path.
#pragma once

#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <iostream>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <cairn/io/io.hpp>

namespace programs {

using cairn::Error;
using cairn::ErrorCode;
using cairn::fail;
using cairn::require;
using cairn::Token;

/// Text safe for one line of a terminal.
inline std::string one_line(std::string_view text) {
    std::string result = cairn::to_utf8(text);
    for (char& c : result)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    return result;
}

/// Runs a program: flags to `options`, then `body`. Exit 0: done, 1: failed, 2: wrong usage.
template <class Body>
int run(CLI::App& app, int argc, char** argv, Body&& body) {
    const auto report = [](std::string_view code, std::string_view message) {
        std::cerr << "error[" << code << "]: " << one_line(message) << '\n';
    };
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        report("usage", std::string(error.what()) + " (see --help)");
        return 2;
    }
    try {
        body();
        std::cout.flush();
        require(static_cast<bool>(std::cout), ErrorCode::io, "standard output cannot be written");
        return 0;
    } catch (const Error& error) {
        report(cairn::code_name(error.code()), error.what());
        return error.code() == ErrorCode::usage ? 2 : 1;
    } catch (const std::bad_alloc&) {
        report("out_of_memory", "memory is exhausted");
    } catch (const std::exception& error) {
        report("internal", error.what());
    }
    return 1;
}

/// Numbers from `least` on; the answer to another one names it and the bound.
inline CLI::Validator at_least(int least) {
    const std::string bound = ">= " + std::to_string(least);
    return CLI::Validator(
        [least, bound](std::string& text) {
            long long value = 0;
            const auto [stop, error] =
                std::from_chars(text.data(), text.data() + text.size(), value);
            if (error == std::errc::result_out_of_range) return text + " does not fit";
            if (error != std::errc() || stop != text.data() + text.size())
                return "\"" + text + "\" is no whole number";
            return value < least ? text + " is not " + bound : std::string();
        },
        bound);
}

/// A progress bar on standard error, if that is a terminal and the work takes more than a second.
class ProgressBar {
  public:
    explicit ProgressBar(std::string what) : what_(std::move(what)), shown_(::isatty(2) != 0) {}
    ~ProgressBar() {
        if (drawn_) std::fprintf(stderr, "\r\033[K");
    }
    void operator()(int done, int total) {
        const auto now = std::chrono::steady_clock::now();
        if (!shown_ || now - start_ < std::chrono::seconds(1) ||
            now - last_ < std::chrono::milliseconds(100))
            return;
        last_ = now;
        drawn_ = true;
        constexpr int width = 30;
        const int filled = total > 0 ? done * width / total : 0;
        std::fprintf(stderr, "\r%s [%.*s%*s] %d%%\033[K", what_.c_str(), filled,
                     "##############################", width - filled, "",
                     total > 0 ? done * 100 / total : 0);
    }

  private:
    std::string what_;
    bool shown_;
    bool drawn_ = false;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point last_{};
};

/// "1,2,3" as token ids. Error{usage}.
inline std::vector<Token> parse_tokens(std::string_view text) {
    std::vector<Token> result;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        Token id = 0;
        const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, id);
        require(error == std::errc() && stop == text.data() + end, ErrorCode::usage, "--tokens: \"",
                text.substr(at, std::min<std::size_t>(end - at, 40)), "\" at character ", at,
                " is no token id");
        result.push_back(id);
        at = end + 1;
    }
    return result;
}

/// Flags that all programs with a model have.
struct ModelOptions {
    std::string path;
    std::string cache = "contiguous:f32";
    bool no_cache = false;
    int chunk = 0;
    int context = 0;
    int threads = cairn::hardware_threads();
    std::string compute = "fast";
    bool json = false;

    void add_to(CLI::App& app) {
        app.add_option("--model", path,
                       "GGUF file, or folder with config.json, *.safetensors and tokenizer.json")
            ->required();
        auto* spec = app.add_option("--cache", cache,
                                    "Cache SPEC: STORE[:[CODEC][:KEEP]]; stores: " +
                                        std::string(cairn::CacheSpec::stores) +
                                        "; codecs: " + std::string(cairn::CacheSpec::codecs) +
                                        "; keeps: " + std::string(cairn::CacheSpec::keeps))
                         ->capture_default_str();
        app.add_flag("--no-cache", no_cache, "Recompute everything at each step")->excludes(spec);
        app.add_option("--chunk", chunk, "Rows of the prompt fed at once (0: all)")
            ->check(at_least(0));
        app.add_option("--context", context, "Tokens to make room for (0: the model's context)")
            ->check(at_least(0));
        app.add_option("--threads", threads, "Threads")
            ->check(CLI::Range(1, 1024))
            ->capture_default_str();
        app.add_option("--compute", compute,
                       "Products with quantised weights: fast (integers) or accurate (f32)")
            ->check(CLI::IsMember({"fast", "accurate"}))
            ->capture_default_str();
        app.add_flag("--json", json, "Print one JSON object on standard output");
    }
};

using Session = cairn::Session<cairn::AnyModel, cairn::AnyCache>;

/// `CacheSpec::make`, compiled once for all programs (program.cpp).
cairn::AnyCache make_cache(const cairn::CacheSpec& spec, const cairn::HeadLayout& layout, int rows,
                           int layer);

/// A loaded model, its threads, and sessions on the cache the flags name. What knows every model
/// and every cache is compiled once, in program.cpp.
class Program {
  public:
    /// Loads the model. Throws what `load_model` throws, Error{usage} for a cache SPEC and
    /// Error{capacity} for a context that the model does not have.
    explicit Program(const ModelOptions& options);
    /// A session on the cache the flags name.
    Session session();
    const cairn::Tokenizer& tokenizer() const {
        require(loaded_.tokenizer.has_value(), ErrorCode::unsupported,
                "the model has no tokenizer: give --tokens instead of text");
        return *loaded_.tokenizer;
    }
    /// A text as the model expects it: with what the tokenizer's metadata puts in front.
    std::vector<Token> encode(std::string_view text, cairn::SpecialTokens special) const {
        std::vector<Token> result = tokenizer().prefix();
        const std::vector<Token> ids = tokenizer().encode(text, special);
        result.insert(result.end(), ids.begin(), ids.end());
        return result;
    }
    const cairn::LoadedModel& loaded() const noexcept { return loaded_; }
    const cairn::CacheSpec& spec() const noexcept { return spec_; }
    cairn::Executor& pool() noexcept { return pool_; }
    int context() const noexcept { return context_; }
    double load_seconds() const noexcept { return seconds_; }

  private:
    double seconds_ = 0.0;
    cairn::CacheSpec spec_;
    cairn::ThreadPool pool_;
    cairn::LoadedModel loaded_;
    cairn::Compute compute_;
    int context_ = 0;
};

/// A number for JSON: null where it is not finite or not there.
inline cairn::Json number(double value) {
    return value > 0.0 && value < 1e300 ? cairn::Json(value) : cairn::Json(nullptr);
}

/// Ctrl-C ends a generation at the next layer instead of the process; a second one kills it.
class Interrupt {
  public:
    explicit Interrupt(cairn::Context& context) {
        context.cancel = source_.get_token();
        context.after_layer = [this](int) {
            if (flag() != 0) source_.request_stop();
        };
        std::signal(SIGINT, [](int) {
            flag() = 1;
            std::signal(SIGINT, SIG_DFL);
        });
    }

  private:
    static volatile std::sig_atomic_t& flag() {
        static volatile std::sig_atomic_t raised = 0;
        return raised;
    }
    std::stop_source source_;
};

}  // namespace programs
