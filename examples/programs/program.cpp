// What the programs share, compiled once: loading any model, making any cache, reading flags.
#include "support.hpp"

namespace programs {

namespace {

cairn::LoadedModel load(const ModelOptions& options, cairn::Executor& pool, double& seconds) {
    const auto start = std::chrono::steady_clock::now();
    ProgressBar bar("loading");
    auto loaded = cairn::load_model(options.path, {std::nullopt, std::ref(bar), &pool});
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

void ModelOptions::add_to(Flags& flags) {
    flags
        .add("--model", path,
             "GGUF file, or folder with config.json, *.safetensors and tokenizer.json")
        .required();
    Flag spec = flags.add(
        "--cache", cache,
        "Cache SPEC: STORE[:[CODEC][:KEEP]]; stores: " + std::string(cairn::CacheSpec::stores) +
            "; codecs: " + std::string(cairn::CacheSpec::codecs) +
            "; keeps: " + std::string(cairn::CacheSpec::keeps));
    spec.shown();
    flags.add("--no-cache", no_cache, "Recompute everything at each step").excludes(spec);
    flags.add("--chunk", chunk, "Rows of the prompt fed at once (0: all)").at_least(0);
    flags.add("--context", context, "Tokens to make room for (0: the model's context)").at_least(0);
    flags.add("--threads", threads, "Threads").between(1, 1024).shown();
    flags
        .add("--compute", compute,
             "Products with quantised weights: fast (integers) or accurate (f32)")
        .one_of({"fast", "accurate"})
        .shown();
    flags.add("--json", json, "Print one JSON object on standard output");
}

cairn::AnyCache make_cache(const cairn::CacheSpec& spec, const cairn::HeadLayout& layout, int rows,
                           int layer) {
    return spec.make(layout, rows, layer);
}

Program::Program(const ModelOptions& options)
    : spec_(cairn::CacheSpec::parse(options.cache)),
      pool_(options.threads),
      loaded_(load(options, pool_, seconds_)),
      compute_(options.compute == "accurate" ? cairn::Compute::accurate : cairn::Compute::fast) {
    const int most = loaded_.model.context();
    const bool streams = spec_.keep() == cairn::CacheSpec::KeepKind::window &&
                         loaded_.model.relative_positions() && !options.no_cache;
    require(options.context <= most || streams, ErrorCode::capacity, "--context ", options.context,
            ": the model has ", most, " positions");
    context_ = options.context > 0 ? options.context : most;
}

Session Program::session() {
    Session result(loaded_.model, context_, pool_,
                   [&](int layer, const cairn::HeadLayout& layout, int rows) {
                       return make_cache(spec_, layout, rows, layer);
                   });
    result.context().compute = compute_;
    return result;
}

}  // namespace programs
