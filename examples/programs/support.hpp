// What the programs share: flags, one-line errors, progress, and models from a path.
#pragma once

#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <limits>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <cairn/io/check_not_model.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "flags.hpp"

namespace programs {

using cairn::Error;
using cairn::ErrorCode;
using cairn::fail;
using cairn::require;
using cairn::Token;

/// Text safe for one line of a terminal.
std::string one_line(std::string_view text);

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
std::vector<Token> parse_tokens(std::string_view text);

/// A text that a user names: the file at `path`, a pipe, or standard input for "-". Throws
/// Error{io}, and Error{limit} beyond a GiB.
std::string read_input(const std::string& path);

/// A cache SPEC as programs take it: a codec alone means the contiguous store. Throws Error{usage}.
cairn::CacheSpec parse_cache(const std::string& text);

/// Error{usage} if writing `output` would replace a file of the model at `model`.
void refuse_model(const std::string& model, const std::string& output);

/// Flags that programs with a model have; each adds to its help only what it takes.
struct ModelOptions {
    std::string path;
    std::string cache = "contiguous:f32";
    bool no_cache = false;
    int chunk = 0;
    int context = 0;
    int threads = cairn::hardware_threads();
    std::string compute = "fast";
    std::string attention = "accurate";
    bool json = false;
    bool quiet = false;

    /// What all of them take. Returns the flag of the cache.
    Flag add_to(Flags& flags);
    /// --no-cache, which excludes the flag of the cache.
    void add_no_cache(Flags& flags, const Flag& spec);
    void add_json(Flags& flags);
    void add_quiet(Flags& flags);
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
    /// A session that guesses for it: of this model for "self" or "self:SPEC" (q4_0 by default),
    /// otherwise of the model at a path.
    Session draft_session(const std::string& draft, bool quiet);
    /// The model at a path, for guesses. Error{model_mismatch} for another vocabulary.
    cairn::AnyModel draft_model(const std::string& path, bool quiet);
    const cairn::Tokenizer& tokenizer() const {
        require(loaded_.tokenizer.has_value(), ErrorCode::unsupported,
                "the model has no tokenizer: give --tokens instead of text");
        return *loaded_.tokenizer;
    }
    /// A text as the model expects it: with what the tokenizer's metadata puts in front.
    /// Error{capacity} as soon as there are certainly more than `most` tokens.
    std::vector<Token> encode(std::string_view text, cairn::SpecialTokens special,
                              std::size_t most = std::numeric_limits<std::size_t>::max()) const {
        (void)tokenizer();  // without one the flag to use instead is named
        return loaded_.prompt(text, special, most);
    }
    const cairn::LoadedModel& loaded() const noexcept { return loaded_; }
    const cairn::CacheSpec& spec() const noexcept { return spec_; }
    cairn::Executor& pool() noexcept { return pool_; }
    int context() const noexcept { return context_; }
    double load_seconds() const noexcept { return seconds_; }

  private:
    Session session_of(const cairn::AnyModel& model, const cairn::CacheSpec& spec, int context);
    double seconds_ = 0.0;
    cairn::CacheSpec spec_;
    cairn::ThreadPool pool_;
    cairn::LoadedModel loaded_;
    cairn::Compute compute_;
    cairn::Compute attention_;
    int context_ = 0;
};

/// A number for JSON: null where it is not finite or not there.
inline cairn::Json number(double value) {
    return value > 0.0 && value < 1e300 ? cairn::Json(value) : cairn::Json(nullptr);
}

}  // namespace programs
