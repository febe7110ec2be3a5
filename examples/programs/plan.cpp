// What a cache will cost before anything is allocated, and what fits a budget.
#include <iomanip>

#include <cairn/cache/planner.hpp>

#include "model_contents.hpp"

using namespace programs;

namespace {

// Tokens of a sequence, where no model says how many.
constexpr int longest = 1 << 24;

struct Options {
    std::string path;
    std::vector<std::string> caches;
    std::string shape;
    int context = 0;
    int prompt = -1;
    int sequences = 1;
    std::string budget;
    bool json = false;
};

// "512M" as bytes: K, M, G, T are powers of 1024.
std::size_t parse_bytes(const std::string& text) {
    double value = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    const std::size_t power = unit.empty() ? 0 : std::string_view("KMGT").find(unit[0]) + 1;
    require(error == std::errc() && value >= 0.0 && unit.size() <= 1 &&
                (unit.empty() || std::string_view("KMGT").find(unit[0]) != std::string_view::npos),
            ErrorCode::usage, "--budget: \"", text.substr(0, 40),
            "\" is not BYTES, nK, nM, nG or nT");
    for (std::size_t i = 0; i < power; ++i) value *= 1024.0;
    require(value < 1e18, ErrorCode::usage, "--budget: ", text.substr(0, 40), " is too much");
    return static_cast<std::size_t>(value);
}

// "layers,heads,kv_heads,head_width".
cairn::ModelShape parse_shape(const std::string& text) {
    const std::vector<Token> n = parse_tokens(text);
    require(n.size() == 4, ErrorCode::usage, "--shape: \"", text.substr(0, 40),
            "\" is not LAYERS,HEADS,KV_HEADS,HEAD_WIDTH");
    require(n[0] > 0 && n[0] <= 1 << 16, ErrorCode::usage, "--shape: ", n[0], " layers");
    const cairn::HeadLayout layout{n[1], n[2], n[3], n[3]};
    try {
        cairn::validate(layout);
    } catch (const Error& error) {
        throw Error(ErrorCode::usage, std::string("--shape: ") + error.what());
    }
    return {"", n[0], 0, longest, 0, layout};
}

void plan(Options options) {
    require(options.path.empty() != options.shape.empty(), ErrorCode::usage,
            "give one of --model and --shape");
    const std::size_t budget = options.budget.empty() ? 0 : parse_bytes(options.budget);
    const cairn::ModelShape shape =
        options.shape.empty() ? read_contents(options.path).shape : parse_shape(options.shape);
    if (options.caches.empty() && shape.heads.leading)
        options.caches = {"contiguous:f32+latent",  "contiguous:f16+latent",
                          "contiguous:q8_0+latent", "paged:q8_0+latent",
                          "contiguous:q4_0+latent", "contiguous:f16+latent:window=1024,sinks=4"};
    if (options.caches.empty())
        options.caches = {"contiguous:f32",      "contiguous:f16",
                          "contiguous:q8_0",     "paged:q8_0",
                          "contiguous:q4_0+rot", "contiguous:kivi4",
                          "contiguous:kivi2",    "contiguous:f16:window=1024,sinks=4"};
    std::vector<cairn::CacheSpec> specs;
    for (const std::string& text : options.caches) specs.push_back(parse_cache(text));
    const int context = options.context > 0     ? options.context
                        : options.shape.empty() ? shape.context
                                                : 4096;
    const bool forgets = std::all_of(specs.begin(), specs.end(),
                                     [](const cairn::CacheSpec& spec) { return spec.streaming(); });
    require(context <= shape.context || (forgets && context <= longest), ErrorCode::capacity,
            "--context ", context, ": the model has ", shape.context, " positions");
    const int prompt = options.prompt < 0 ? context : std::min(options.prompt, context);
    cairn::Json rows = cairn::Json::array();
    for (const cairn::CacheSpec& spec : specs) {
        const cairn::CachePlan plan = cairn::plan_model(
            spec, shape.heads, shape.layers, options.sequences, {context, context, prompt});
        cairn::Json row{{"cache", spec.canonical()},
                        {"payload_bytes", plan.payload},
                        {"bytes", plan.committed},
                        {"peak_bytes", plan.peak}};
        if (budget > 0) {
            row["longest_context"] = cairn::longest_context(
                spec, shape.heads, shape.layers, options.sequences, budget, shape.context);
            row["most_sequences"] =
                cairn::most_sequences(spec, shape.heads, shape.layers, context, budget);
        }
        rows.push_back(row);
    }
    if (options.json) {
        std::cout << cairn::Json{{"layers", shape.layers},
                                 {"kv_heads", shape.heads.kv_heads},
                                 {"head_width", shape.heads.key_dim},
                                 {"context", context},
                                 {"prompt", prompt},
                                 {"sequences", options.sequences},
                                 {"budget", budget},
                                 {"caches", rows}}
                         .dump(2)
                  << '\n';
        return;
    }
    const auto mib = [](const cairn::Json& bytes) {
        std::ostringstream out;
        out << std::fixed << std::setprecision(2) << bytes.get<double>() / 1048576.0;
        return out.str();
    };
    std::cout << options.sequences << " sequence" << (options.sequences == 1 ? "" : "s") << " of "
              << context << " tokens, " << shape.layers << " layers, " << shape.heads.kv_heads
              << " key heads of " << shape.heads.key_dim << "\n\n"
              << std::left << std::setw(36) << "cache" << std::right << std::setw(14)
              << "payload MiB" << std::setw(14) << "memory MiB" << std::setw(12) << "peak MiB";
    if (budget > 0)
        std::cout << std::setw(16) << "longest context" << std::setw(16) << "most sequences";
    std::cout << '\n';
    for (const cairn::Json& row : rows) {
        std::cout << std::left << std::setw(36) << row["cache"].get<std::string>() << std::right
                  << std::setw(14) << mib(row["payload_bytes"]) << std::setw(14)
                  << mib(row["bytes"]) << std::setw(12) << mib(row["peak_bytes"]);
        if (budget > 0)
            std::cout << std::setw(16) << row["longest_context"].get<int>() << std::setw(16)
                      << row["most_sequences"].get<std::size_t>();
        std::cout << '\n';
    }
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags(
        "What a cache will cost before anything is allocated, and what fits a budget.\n\n"
        "Examples:\n"
        "  plan --model examples/models/shakespeare --context 512\n"
        "  plan --shape 32,32,8,128 --context 8192 --sequences 16 --budget 24G\n"
        "  plan --shape 30,9,3,64 --cache paged=16:q8_0 --cache contiguous:f16:h2o=512 --json");
    Options options;
    flags.add("-m,--model", options.path,
              "GGUF file, or folder with config.json and *.safetensors");
    flags.add("--shape", options.shape, "LAYERS,HEADS,KV_HEADS,HEAD_WIDTH instead of a model");
    flags.add("--cache", options.caches, "Cache SPEC; may be repeated (default: a choice)");
    flags.add("-c,--context", options.context, "Tokens of a sequence (0: the model's context)")
        .at_least(0);
    flags.add("--prompt-tokens,--prompt", options.prompt, "Of these, prompt (default: all)")
        .at_least(0);
    flags.add("--sequences", options.sequences, "Sequences held at once").between(1, 1 << 20);
    flags.add("--budget", options.budget,
              "Bytes for caches (512M, 24G): also the longest context and most sequences");
    flags.add("--json", options.json, "Print one JSON object on standard output");
    return flags.run(argc, argv, [&] { plan(options); });
}
