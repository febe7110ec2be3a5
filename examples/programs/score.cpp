// Logits and perplexity of given tokens.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include <cairn/models/audit.hpp>

#include "support.hpp"

using namespace programs;

namespace {

struct Options : ModelOptions {
    std::optional<std::string> tokens;
    std::optional<std::string> text_file;
    std::optional<std::string> logits;
    int window = 0;
    int stride = 0;
    int chunks = 0;
    bool compare = false;
    std::string compare_cache;
    int prompt_tokens = 0;
    std::optional<double> most_kl;
};

// A NumPy array file, version 1.0: '<f4', C order, rows streamed. It appears under its name when it
// is complete; an old one stays until then.
class NpyFile {
  public:
    NpyFile(const std::string& path, std::size_t rows, std::size_t columns) : file_(path) {
        std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                             std::to_string(rows) + ", " + std::to_string(columns) + "), }";
        header.append(63 - (10 + header.size()) % 64, ' ');
        header += '\n';
        const std::string prefix{'\x93',
                                 'N',
                                 'U',
                                 'M',
                                 'P',
                                 'Y',
                                 1,
                                 0,
                                 static_cast<char>(header.size() & 0xFF),
                                 static_cast<char>(header.size() >> 8)};
        file_.write(std::as_bytes(std::span<const char>(prefix + header)));
    }
    void write(std::span<const float> rows) { file_.write(std::as_bytes(rows)); }
    void close() { file_.finish(cairn::OutputFile::Durability::program); }

  private:
    cairn::OutputFile file_;
};

struct Sum {
    double nll = 0.0;
    std::size_t count = 0;
    void add(std::span<const float> logits, Token next) {
        nll -= cairn::log_probability(logits, next);
        ++count;
    }
};

// All positions, on one cache; rows are handed out in pieces that fit memory. More rows at once or
// fewer change no bit, so pieces are an implementation detail and --chunk only an upper bound.
template <class OnRow>
void score_all(Session& session, const std::vector<Token>& tokens, const Options& options,
               OnRow&& on_row) {
    const auto vocabulary = static_cast<std::size_t>(session.model().vocabulary());
    constexpr std::size_t most = 256;
    const std::size_t chunk =
        options.chunk > 0 ? static_cast<std::size_t>(options.chunk) : tokens.size();
    std::vector<float> logits;
    ProgressBar bar("scoring");
    for (std::size_t at = 0; at < tokens.size(); at += chunk) {
        const std::size_t end = std::min(at + chunk, tokens.size());
        std::size_t first = at;
        if (options
                .no_cache) {  // a fresh forward of the whole prefix; only the chunk's rows are read
            session.clear();
            if (at > 0) session.prefill(cairn::Tokens(tokens).first(at));
        }
        while (first < end) {
            const std::size_t count = std::min(most, end - first);
            logits.resize(count * vocabulary);
            session.score(cairn::Tokens(tokens).subspan(first, count), logits.data());
            for (std::size_t r = 0; r < count; ++r)
                on_row(first + r,
                       std::span<const float>(logits).subspan(r * vocabulary, vocabulary));
            first += count;
            bar(static_cast<int>(first), static_cast<int>(tokens.size()));
        }
    }
}

// Overlapping windows, a fresh cache each; only tokens the window before did not score count.
Sum score_windows(Session& session, const std::vector<Token>& tokens, const Options& options) {
    Sum sum;
    const auto window = static_cast<std::size_t>(options.window);
    const auto stride = static_cast<std::size_t>(options.stride);
    std::size_t scored = 0;
    for (std::size_t begin = 0; begin < tokens.size(); begin += stride) {
        const std::size_t end = std::min(begin + window, tokens.size());
        session.clear();
        Options plain = options;
        plain.chunk = 0;
        plain.no_cache = false;
        const std::vector<Token> part(tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                                      tokens.begin() + static_cast<std::ptrdiff_t>(end));
        score_all(session, part, plain, [&](std::size_t row, std::span<const float> logits) {
            const std::size_t next = begin + row + 1;
            if (next < end && next >= scored) sum.add(logits, tokens[next]);
        });
        scored = end;
        if (end == tokens.size()) break;
    }
    return sum;
}

// As llama-perplexity does it: chunks of `size` tokens with a fresh cache, each beginning with the
// beginning-of-text token where the model wants one; the second half of a chunk is scored.
template <class OnRow>
void for_each_chunk(const std::vector<Token>& tokens, std::size_t size,
                    const std::vector<Token>& prefix, OnRow&& on_chunk) {
    for (std::size_t begin = 0; begin + size <= tokens.size(); begin += size) {
        std::vector<Token> chunk(tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                                 tokens.begin() + static_cast<std::ptrdiff_t>(begin + size));
        if (!prefix.empty()) chunk.front() = prefix.front();
        on_chunk(chunk);
    }
}
Sum score_chunks(Session& session, const std::vector<Token>& tokens, const Options& options,
                 const std::vector<Token>& prefix) {
    Sum sum;
    Options plain = options;
    plain.no_cache = false;
    for_each_chunk(tokens, static_cast<std::size_t>(options.chunks), prefix,
                   [&](const std::vector<Token>& chunk) {
                       session.clear();
                       score_all(session, chunk, plain,
                                 [&](std::size_t row, std::span<const float> logits) {
                                     if (row >= chunk.size() / 2 && row + 1 < chunk.size())
                                         sum.add(logits, chunk[row + 1]);
                                 });
                   });
    return sum;
}

// What integer products cost against the same numbers as f32, over all rows: with weights, unless
// --compute says accurate, and in attention, if --attention says fast.
struct Comparison {
    Sum fast;
    Sum accurate;
    cairn::Divergence logits;
};

void compare(const Options& options, Program& program, const std::vector<Token>& tokens) {
    const std::size_t size = std::min<std::size_t>(
        options.chunks > 0 ? static_cast<std::size_t>(options.chunks) : 512, tokens.size());
    Session fast = program.session();
    Session accurate = program.session();
    accurate.context().compute = cairn::Compute::accurate;
    accurate.context().attention = cairn::Compute::accurate;
    const auto vocabulary = static_cast<std::size_t>(fast.model().vocabulary());
    std::vector<float> a(size * vocabulary);
    std::vector<float> b(size * vocabulary);
    Comparison result;
    ProgressBar bar("comparing");
    int done = 0;
    for_each_chunk(tokens, size,
                   program.loaded().tokenizer ? program.tokenizer().prefix() : std::vector<Token>(),
                   [&](const std::vector<Token>& chunk) {
                       fast.clear();
                       accurate.clear();
                       accurate.score(chunk, a.data());
                       fast.score(chunk, b.data());
                       for (std::size_t r = 0; r < size; ++r) {
                           const std::span exact(a.data() + r * vocabulary, vocabulary);
                           const std::span quick(b.data() + r * vocabulary, vocabulary);
                           result.logits.add(exact, quick);
                           if (r < size / 2 || r + 1 == size) continue;
                           result.accurate.add(exact, chunk[r + 1]);
                           result.fast.add(quick, chunk[r + 1]);
                       }
                       bar(++done, static_cast<int>(tokens.size() / size));
                   });
    const auto perplexity = [](const Sum& sum) {
        return cairn::elementary::exp(sum.nll /
                                      static_cast<double>(std::max<std::size_t>(sum.count, 1)));
    };
    if (options.json) {
        std::cout << cairn::Json{{"rows", result.logits.rows},
                                 {"kl", result.logits.mean_kl()},
                                 {"same_best", result.logits.agreement()},
                                 {"perplexity_fast", perplexity(result.fast)},
                                 {"perplexity_accurate", perplexity(result.accurate)}}
                         .dump(2)
                  << '\n';
        return;
    }
    std::cout << "rows                 " << result.logits.rows << "\nKL(accurate || fast) "
              << result.logits.mean_kl() << " nats\nsame best token      "
              << 100.0 * result.logits.agreement() << " %\nperplexity, fast     "
              << perplexity(result.fast) << "\nperplexity, accurate " << perplexity(result.accurate)
              << '\n';
}

// What a cache costs against a plain f32 one, on the whole text.
void compare_cache(const Options& options, Program& program, const std::vector<Token>& tokens) {
    const cairn::CacheSpec spec = parse_cache(options.compare_cache);
    require(tokens.size() <= static_cast<std::size_t>(program.loaded().model.context()),
            ErrorCode::capacity, tokens.size(), " tokens, the model's context is ",
            program.loaded().model.context());
    require(options.prompt_tokens < static_cast<int>(tokens.size()), ErrorCode::usage,
            "--prompt-tokens ", options.prompt_tokens, ": the text has ", tokens.size());
    ProgressBar bar("auditing");
    const cairn::Audit audit = cairn::audit_cache(
        program.loaded().model, tokens,
        [&](int layer, const cairn::HeadLayout& layout, int rows) {
            return make_cache(spec, layout, rows, layer);
        },
        options.prompt_tokens, program.pool(), std::ref(bar));
    cairn::Json layers = cairn::Json::array();
    for (const cairn::RelativeError& error : audit.attention) layers.push_back(error.value());
    cairn::Json keys = cairn::Json::array();
    cairn::Json values = cairn::Json::array();
    for (int a = 0; a < cairn::Audit::ages; ++a) {
        const auto at = static_cast<std::size_t>(a);
        keys.push_back(audit.keys[at].size > 0.0 ? cairn::Json(audit.keys[at].value())
                                                 : cairn::Json());
        values.push_back(audit.values[at].size > 0.0 ? cairn::Json(audit.values[at].value())
                                                     : cairn::Json());
    }
    if (options.json) {
        std::cout << cairn::Json{{"cache", spec.canonical()},
                                 {"token_count", audit.tokens},
                                 {"tokens_scored", audit.scored},
                                 {"kl", audit.logits.mean_kl()},
                                 {"kl_max", audit.logits.most},
                                 {"same_best", audit.logits.agreement()},
                                 {"perplexity", audit.perplexity()},
                                 {"perplexity_f32", audit.perplexity_plain()},
                                 {"bytes", audit.bytes},
                                 {"attention_error_by_layer", layers},
                                 {"key_error_by_age", keys},
                                 {"value_error_by_age", values}}
                         .dump(2)
                  << '\n';
    } else {
        std::cout << "cache              " << spec.canonical() << ", " << audit.bytes
                  << " bytes after " << audit.tokens << " tokens\nKL(f32 || cache)   "
                  << audit.logits.mean_kl() << " nats, at most " << audit.logits.most
                  << "\nsame best token    " << 100.0 * audit.logits.agreement()
                  << " %\nperplexity         " << audit.perplexity() << " (f32 cache "
                  << audit.perplexity_plain() << ", " << audit.scored
                  << " tokens)\n\nrelative error of attention outputs by layer\n";
        for (std::size_t l = 0; l < layers.size(); ++l)
            std::cout << "  " << l << "  " << layers[l].get<double>() << '\n';
        std::cout << "relative error of rows by age: keys, values\n";
        int limit = 16;
        for (std::size_t a = 0; a < keys.size(); ++a, limit *= 4)
            if (!keys[a].is_null())
                std::cout << "  below " << limit << "  " << keys[a].get<double>() << ", "
                          << (values[a].is_null() ? 0.0 : values[a].get<double>()) << '\n';
    }
    require(!options.most_kl || audit.logits.mean_kl() <= *options.most_kl, ErrorCode::limit,
            "the cache costs ", audit.logits.mean_kl(), " nats a token, the budget is ",
            options.most_kl.value_or(0.0));
}

// The logits never take the place of what is read, and have a place to go to before any work.
void check_output(const Options& options) {
    if (!options.logits) return;
    std::error_code error;
    require(!options.text_file ||
                !std::filesystem::equivalent(*options.text_file, *options.logits, error),
            ErrorCode::usage, "the text and the file for the logits are the same");
    refuse_model(options.path, *options.logits);
    const cairn::OutputFile probe(*options.logits);
}

void score(const Options& options) {
    require(options.tokens.has_value() != options.text_file.has_value(), ErrorCode::usage,
            "give one of --tokens and --text-file");
    require((options.window > 0) == (options.stride > 0), ErrorCode::usage,
            "--window and --stride go together");
    require(options.window == 0 || !options.logits, ErrorCode::usage,
            "--logits and --window exclude each other");
    require(options.stride <= options.window, ErrorCode::usage, "--stride ", options.stride,
            " is wider than --window ", options.window);
    require(options.chunks == 0 || (options.window == 0 && !options.logits), ErrorCode::usage,
            "--chunks excludes --window and --logits");
    require(!options.compare || (options.window == 0 && !options.logits && !options.no_cache),
            ErrorCode::usage, "--compare excludes --window, --logits and --no-cache");
    require(!options.compare || options.compute == "fast" || options.attention == "fast",
            ErrorCode::usage, "--compare with --compute and --attention accurate compares nothing");
    require(options.compare_cache.empty() || options.attention == "accurate", ErrorCode::usage,
            "--compare-cache audits with --attention accurate");
    require(
        options.compare_cache.empty() || (options.window == 0 && options.chunks == 0 &&
                                          !options.logits && !options.no_cache && !options.compare),
        ErrorCode::usage,
        "--compare-cache excludes --window, --chunks, --logits, --compare "
        "and --no-cache");
    require(!options.compare_cache.empty() || (options.prompt_tokens == 0 && !options.most_kl),
            ErrorCode::usage, "--prompt-tokens and --max-kl go with --compare-cache");
    if (!options.compare_cache.empty()) parse_cache(options.compare_cache);
    if (options.tokens) parse_tokens(*options.tokens);
    check_output(options);

    Program program(options);
    const std::vector<Token> tokens =
        options.tokens
            ? parse_tokens(*options.tokens)
            : program.encode(read_input(*options.text_file), cairn::SpecialTokens::as_text);
    require(!tokens.empty(), ErrorCode::empty_prompt, "no tokens to score");
    for (std::size_t i = 0; i < tokens.size(); ++i)
        require(tokens[i] >= 0 && tokens[i] < program.loaded().model.vocabulary(),
                ErrorCode::token_range, "token ", tokens[i], " at index ", i, " is not in 0..",
                program.loaded().model.vocabulary() - 1);
    if (options.chunks > 0)
        require(tokens.size() >= static_cast<std::size_t>(options.chunks), ErrorCode::usage,
                "--chunks ", options.chunks, ": the text has only ", tokens.size(), " tokens");
    if (options.compare) {
        compare(options, program, tokens);
        return;
    }
    if (!options.compare_cache.empty()) {
        compare_cache(options, program, tokens);
        return;
    }
    const std::size_t held = options.chunks > 0   ? static_cast<std::size_t>(options.chunks)
                             : options.window > 0 ? static_cast<std::size_t>(options.window)
                                                  : tokens.size();
    require(held <= static_cast<std::size_t>(program.context()), ErrorCode::capacity, held,
            " tokens at once, the context is ", program.context(),
            options.window > 0 ? "" : " (--window and --stride score longer texts)");
    Session session = program.session();
    Sum sum;
    if (options.chunks > 0) {
        sum = score_chunks(
            session, tokens, options,
            program.loaded().tokenizer ? program.tokenizer().prefix() : std::vector<Token>());
    } else if (options.window > 0) {
        sum = score_windows(session, tokens, options);
    } else {
        std::optional<NpyFile> file;
        if (options.logits)
            file.emplace(*options.logits, tokens.size(),
                         static_cast<std::size_t>(program.loaded().model.vocabulary()));
        score_all(session, tokens, options, [&](std::size_t row, std::span<const float> logits) {
            if (file) file->write(logits);
            if (row + 1 < tokens.size()) sum.add(logits, tokens[row + 1]);
        });
        if (file) file->close();
    }
    const double nll = sum.count > 0 ? sum.nll / static_cast<double>(sum.count) : std::nan("");
    const double perplexity = cairn::elementary::exp(nll);
    if (options.json) {
        const cairn::Json result = {
            {"token_count", tokens.size()},
            {"tokens_scored", sum.count},
            {"nll", sum.count > 0 ? cairn::Json(nll) : cairn::Json()},
            {"perplexity", sum.count > 0 ? cairn::Json(perplexity) : cairn::Json()}};
        std::cout << result.dump(2) << '\n';
    } else {
        std::cout << "tokens      " << tokens.size() << "\nscored      " << sum.count;
        if (sum.count > 0)
            std::cout << "\nnll         " << nll << " nats\nperplexity  " << perplexity;
        std::cout << '\n';
    }
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags(
        "Logits and perplexity of given tokens.\n\n"
        "Examples:\n"
        "  score --model examples/models/shakespeare --text-file README.md --window 256 --stride "
        "128\n"
        "  score --model examples/models/shakespeare --text-file prompt.txt --compare-cache "
        "q4_0+rot --max-kl 0.02\n"
        "  score --model examples/models/shakespeare --tokens 1,2,3,4 --logits out.npy --chunk 1 "
        "--json");
    Options options;
    options.add_no_cache(flags, options.add_to(flags));
    options.add_json(flags);
    flags.add("--tokens", options.tokens, "Token ids: 1,2,3");
    flags.add("-f,--text-file", options.text_file, "File or pipe with a text; - is standard input");
    flags.add("--logits", options.logits, "Write the logits of every position to this .npy file");
    flags.add("--window", options.window, "Score in windows of W tokens").at_least(1);
    flags.add("--stride", options.stride, "Step from window to window").at_least(1);
    flags
        .add("--chunks", options.chunks,
             "Perplexity as llama-perplexity has it: chunks of N tokens, second half scored")
        .between(2, 1 << 24);
    flags.add(
        "--compare", options.compare,
        "Integer products (as --compute and --attention say) against f32 products of the same "
        "numbers: KL, best tokens, perplexity");
    flags.add("--compare-cache", options.compare_cache,
              "What the cache SPEC costs against f32: KL, best tokens, perplexity, errors by "
              "layer and age");
    flags
        .add("--prompt-tokens", options.prompt_tokens,
             "With --compare-cache: announce the first N tokens as a prompt")
        .at_least(0);
    flags.add("--max-kl", options.most_kl,
              "With --compare-cache: fail if the mean KL is above this");
    return flags.run(argc, argv, [&] { score(options); });
}
