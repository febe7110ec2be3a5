// What the KVQuant caches of a model need to know, found on a text and written to a small file.
#include <cairn/cache/codec/kvquant_calibration.hpp>
#include <cairn/io/output_file.hpp>

#include "support.hpp"

using namespace programs;

namespace {

struct Options : ModelOptions {
    std::string text;
    std::string out;
    int tokens = 4096;
};

// Keys before rotation and values of one layer, row after row.
struct LayerRows {
    std::vector<float> keys;
    std::vector<float> values;
};

// Appends what a cache holds, without the first token: it is kept as it is.
void collect(const cairn::AnyCache& cache, LayerRows& to) {
    const cairn::HeadLayout layout = cache.layout();
    const int rows = cache.committed();
    const auto copy = [&](int dims, std::vector<float>& all, auto list_of) {
        const std::size_t before = all.size();
        all.resize(before + static_cast<std::size_t>((rows - 1) * layout.kv_heads * dims));
        for (int h = 0; h < layout.kv_heads; ++h) {
            cairn::RunList keys, values;
            cache.runs(h, keys, values);
            for (const cairn::Run& run : list_of(keys, values))
                for (int row = std::max(run.begin, 1); row < run.end; ++row)
                    run.codec->decode(
                        run.rows(row, row + 1), dims,
                        all.data() + before +
                            static_cast<std::size_t>(((row - 1) * layout.kv_heads + h) * dims),
                        dims);
        }
    };
    using Runs = const cairn::RunList&;
    copy(layout.key_dim, to.keys, [](Runs keys, Runs) -> Runs { return keys; });
    copy(layout.value_dim, to.values, [](Runs, Runs values) -> Runs { return values; });
}

void calibrate(Options options) {
    refuse_model(options.path, options.out);
    const cairn::OutputFile probe(options.out);
    options.cache = "contiguous:f32+bare";
    Program program(options);
    std::vector<Token> tokens =
        program.encode(read_input(options.text), cairn::SpecialTokens::as_text);
    if (tokens.size() > static_cast<std::size_t>(options.tokens))
        tokens.resize(static_cast<std::size_t>(options.tokens));
    require(tokens.size() > 16, ErrorCode::usage, "the text has ", tokens.size(),
            " tokens; 17 at least");
    const cairn::AnyModel& model = program.loaded().model;
    const cairn::HeadLayout layout = model.layout(0);
    std::vector<LayerRows> layers(static_cast<std::size_t>(model.layers()));
    Session session = program.session();
    ProgressBar bar("calibrating");
    const auto window = static_cast<std::size_t>(std::min(program.context(), 2048));
    for (std::size_t at = 0; at < tokens.size(); at += window) {
        const std::size_t count = std::min(window, tokens.size() - at);
        session.clear();
        session.prefill(cairn::Tokens(tokens).subspan(at, count));
        for (int layer = 0; layer < model.layers(); ++layer) {
            const cairn::HeadLayout& held = model.layout(layer);
            require(held.kv_heads == layout.kv_heads && held.key_dim == layout.key_dim &&
                        held.value_dim == layout.value_dim,
                    ErrorCode::unsupported, "layers of several shapes");
            collect(session.layer_cache(layer), layers[static_cast<std::size_t>(layer)]);
        }
        bar(static_cast<int>(at + count), 2 * static_cast<int>(tokens.size()));
    }
    std::vector<float> numbers;
    for (LayerRows& rows : layers) {
        const std::vector<float> found =
            cairn::calibrate_kvquant_layer(rows.keys, rows.values, layout);
        numbers.insert(numbers.end(), found.begin(), found.end());
        rows = {};
        bar(static_cast<int>(&rows - layers.data()) + 1 + model.layers(), 2 * model.layers());
    }
    const cairn::KvQuantTables tables(
        {model.layers(), layout.kv_heads, layout.key_dim, layout.value_dim}, std::move(numbers));
    const std::vector<std::byte> bytes = tables.bytes();
    cairn::OutputFile file(options.out);
    file.write(bytes);
    file.finish();
    if (options.json)
        std::cout << cairn::Json{{"file", cairn::to_utf8(options.out)},
                                 {"bytes", bytes.size()},
                                 {"tokens", tokens.size()},
                                 {"layers", model.layers()}}
                         .dump(2)
                  << '\n';
    else
        std::cout << tokens.size() << " tokens, " << model.layers() << " layers, " << bytes.size()
                  << " bytes, in " << options.out << '\n';
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags(
        "Find what the caches kvquant4, kvquant3 and kvquant2 of a model need to know: ranges of\n"
        "key channels and levels of each layer, on a text.\n\n"
        "Examples:\n"
        "  calibrate examples/models/shakespeare shakespeare.kvq -f README.md\n"
        "  generate -m examples/models/shakespeare --cache kvquant3=shakespeare.kvq -p Hello");
    Options options;
    flags
        .add("-m,--model,model", options.path,
             "GGUF file, or folder with config.json, *.safetensors and tokenizer.json")
        .required();
    flags.add("-o,--out,out", options.out, "File to write").required();
    flags.add("-f,--text-file", options.text, "File or pipe with a text; - is standard input")
        .required();
    flags.add("--tokens", options.tokens, "The most tokens of it to look at").between(17, 1 << 20);
    flags.add("-t,--threads", options.threads, "Threads").between(1, 1024).shown();
    options.add_json(flags);
    return flags.run(argc, argv, [&] { calibrate(options); });
}
