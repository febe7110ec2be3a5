// What the programs share, compiled once: loading any model, making any cache, reading flags.
#include "support.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

namespace programs {

namespace {

cairn::LoadedModel load(const std::string& path, bool quiet, cairn::Executor& pool,
                        double& seconds) {
    const auto start = std::chrono::steady_clock::now();
    ProgressBar bar("loading");
    const auto show = [&](int done, int total) {
        if (!quiet) bar(done, total);
    };
    auto loaded = cairn::load_model(path, {std::nullopt, show, &pool});
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return loaded;
}

}  // namespace

std::string one_line(std::string_view text) {
    std::string result = cairn::to_utf8(text);
    for (char& c : result)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    return result;
}

std::vector<Token> parse_tokens(std::string_view text) {
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

void refuse_model(const std::string& model, const std::string& output) {
    try {
        cairn::check_not_model(model, output);
    } catch (const Error& error) {
        if (error.code() != ErrorCode::invalid_argument) throw;
        throw Error(ErrorCode::usage, error.what());
    }
}

std::string read_input(const std::string& path) {
    constexpr std::size_t most = std::size_t{1} << 30;
    struct stat status {};
    const bool standard = path == "-";
    if (!standard &&
        (::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)))
        return cairn::read_text(path, most);
    // A pipe or a device: it ends when it says so.
    struct Descriptor {
        int number;
        ~Descriptor() {
            if (number > STDERR_FILENO) ::close(number);
        }
    } const from{standard ? STDIN_FILENO : cairn::uninterrupted([&] {
        return ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    })};
    const std::string name = standard ? "standard input" : path;
    if (from.number < 0) cairn::fail_io(errno, name);
    std::string text;
    for (std::size_t held = 0;;) {
        text.resize(held + (std::size_t{1} << 16));
        const ssize_t n = cairn::uninterrupted(
            [&] { return ::read(from.number, text.data() + held, text.size() - held); });
        if (n < 0) cairn::fail_io(errno, name);
        held += static_cast<std::size_t>(n);
        require(held <= most, ErrorCode::limit, name, ": more than ", most, " bytes");
        text.resize(held);
        if (n == 0) return text;
    }
}

cairn::CacheSpec parse_cache(const std::string& text) { return cairn::CacheSpec::parse(text); }

Flag ModelOptions::add_to(Flags& flags) {
    flags
        .add("-m,--model", path,
             "GGUF file, or folder with config.json, *.safetensors and tokenizer.json")
        .required();
    Flag spec = flags.add(
        "--cache", cache,
        "Cache SPEC: STORE[:[CODEC][:[KEEP][:READ]]], a codec alone means contiguous; stores: " +
            cairn::CacheSpec::stores() + "; codecs: " + cairn::CacheSpec::codecs() +
            "; keeps: " + cairn::CacheSpec::keeps() + "; reads: " + cairn::CacheSpec::reads());
    spec.shown();
    flags.add("--chunk", chunk, "Rows of the prompt fed at once (0: all)").at_least(0);
    flags.add("-c,--context", context, "Tokens to make room for (0: the model's context)")
        .at_least(0);
    flags.add("-t,--threads", threads, "Threads").between(1, 1024).shown();
    flags
        .add("--compute", compute,
             "Products with quantised or bf16 weights: fast (rounded) or accurate (f32)")
        .one_of({"fast", "accurate"})
        .shown();
    flags
        .add("--attention", attention,
             "Attention over caches of q8_0, int8, q4_0, q4_1, int4, bf16: accurate (f32) or fast "
             "(integers, bf16)")
        .one_of({"accurate", "fast"})
        .shown();
    return spec;
}
void ModelOptions::add_no_cache(Flags& flags, const Flag& spec) {
    flags.add("--no-cache", no_cache, "Recompute everything at each step").excludes(spec);
}
void ModelOptions::add_json(Flags& flags) {
    flags.add("--json", json, "Print one JSON object on standard output");
}
void ModelOptions::add_quiet(Flags& flags) {
    flags.add("-q,--quiet", quiet, "Only the new text: no prompt, no progress, no closing line");
}

cairn::AnyCache make_cache(const cairn::CacheSpec& spec, const cairn::HeadLayout& layout, int rows,
                           int layer) {
    return spec.make(layout, rows, layer);
}

Program::Program(const ModelOptions& options)
    : spec_(parse_cache(options.cache)),
      pool_(options.threads),
      loaded_(load(options.path, options.quiet, pool_, seconds_)),
      compute_(options.compute == "accurate" ? cairn::Compute::accurate : cairn::Compute::fast),
      attention_(options.attention == "fast" ? cairn::Compute::fast : cairn::Compute::accurate) {
    const int most = loaded_.model.context();
    const bool streams =
        spec_.streaming() && loaded_.model.relative_positions() && !options.no_cache;
    require(options.context <= most || streams, ErrorCode::capacity, "--context ", options.context,
            ": the model has ", most, " positions");
    context_ = options.context > 0 ? options.context : most;
}

Session Program::session() { return session_of(loaded_.model, spec_, context_); }

Session Program::session_of(const cairn::AnyModel& model, const cairn::CacheSpec& spec,
                            int context) {
    Session result(model, context, pool_,
                   [&](int layer, const cairn::HeadLayout& layout, int rows) {
                       return make_cache(spec, layout, rows, layer);
                   });
    result.context().compute = compute_;
    result.context().attention = attention_;
    return result;
}

Session Program::draft_session(const std::string& draft, bool quiet) {
    if (draft == "self" || draft.starts_with("self:"))
        return session_of(loaded_.model, parse_cache(draft == "self" ? "q4_0" : draft.substr(5)),
                          context_);
    const cairn::AnyModel other = draft_model(draft, quiet);
    return session_of(other, parse_cache("f16"), std::min(context_, other.context()));
}

cairn::AnyModel Program::draft_model(const std::string& path, bool quiet) {
    double seconds = 0.0;
    cairn::AnyModel other = load(path, quiet, pool_, seconds).model;
    require(other.vocabulary() == loaded_.model.vocabulary(), ErrorCode::model_mismatch,
            "--draft: ", path, " has ", other.vocabulary(), " tokens, the model ",
            loaded_.model.vocabulary());
    return other;
}

}  // namespace programs
