// Which heads of a model look far back: the file that `duo=N,heads=FILE` reads.
#include <fstream>
#include <iostream>

#include <CLI/CLI.hpp>
#include <cairn/io/io.hpp>
#include <cairn/models/calibrate_heads.hpp>

using namespace cairn;

int main(int argc, char** argv) {
    CLI::App app{
        "Scores of a model's KV heads, from 0 (never looks far back) to 1, one line a layer.\n\n"
        "Example:\n  head_scores model.gguf --text-file README.md >heads.tsv"};
    std::string path;
    std::string text;
    HeadCalibration settings;
    app.add_option("model", path, "A folder or a GGUF file")->required();
    app.add_option("--text-file", text, "Text to measure on")->required();
    app.add_option("--piece", settings.piece, "Tokens that are read twice")->capture_default_str();
    app.add_option("--pieces", settings.pieces, "Of the text, at most")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        ThreadPool pool(hardware_threads());
        const LoadedModel loaded = load_model(path, {{}, {}, &pool});
        const std::vector<Token> tokens = loaded.tokenizer.value().encode(read_text(text, 1 << 24));
        std::cout
            << calibrate_heads(loaded.model, tokens, Contiguous<F32>(), settings, pool).text();
    } catch (const Error& error) {
        std::cerr << "error[" << code_name(error.code()) << "]: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
