// How fast texts become token ids: processor seconds for each size of a text, and for texts that
// are hard on tokenizers. Prints one JSON object a line; bench/tokenizers sets it beside others.
#include <ctime>
#include <iostream>

#include <CLI/CLI.hpp>
#include <cairn/io/file.hpp>
#include <cairn/io/gguf.hpp>
#include <cairn/io/tokenizer_gguf.hpp>
#include <cairn/io/tokenizer_json.hpp>
#include <cairn/numeric/random.hpp>

using namespace cairn;

namespace {

double processor_seconds() {
    return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
}

Tokenizer load(const std::string& path) {
    const std::string bytes = read_text(path, std::size_t{1} << 34);
    if (path.ends_with(".json")) return Tokenizer::parse(bytes);
    auto tokenizer = gguf_tokenizer(parse_gguf(std::as_bytes(std::span(bytes)), path).metadata);
    require(tokenizer.has_value(), ErrorCode::bad_tokenizer, path, ": no tokenizer");
    return std::move(*tokenizer);
}

std::string repeated(std::string_view unit, std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += unit;
    text.resize(bytes);
    return text;
}

// FNV-1a over the ids as little-endian 32-bit numbers.
std::uint32_t hash_of(const std::vector<Token>& ids) {
    std::uint32_t h = 0x811C9DC5U;
    for (const Token id : ids)
        for (int byte = 0; byte < 4; ++byte)
            h = (h ^ (static_cast<std::uint32_t>(id) >> (8 * byte) & 255U)) * 0x01000193U;
    return h;
}

void measure(const Tokenizer& tokenizer, const std::string& name, std::string_view text,
             int rounds) {
    double best = 1e9;
    std::vector<Token> ids;
    for (int i = 0; i < rounds; ++i) {
        const double start = processor_seconds();
        ids = tokenizer.encode(text);
        best = std::min(best, processor_seconds() - start);
    }
    std::cout << Json{{"text", name},
                      {"bytes", text.size()},
                      {"ids", ids.size()},
                      {"hash", hash_of(ids)},
                      {"seconds", best}}
                     .dump()
              << std::endl;
}

std::string drawn(std::string_view letters, std::size_t bytes) {
    Random random(1);
    std::string text(bytes, ' ');
    for (char& c : text) c = letters[random.below(letters.size())];
    return text;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Processor seconds to turn texts into token ids, as JSON lines.");
    std::string path;
    std::string text_path;
    std::vector<std::size_t> sizes;
    std::size_t hard = 0;
    int rounds = 5;
    app.add_option("--tokenizer", path, "A GGUF file or a tokenizer.json")->required();
    app.add_option("--text", text_path, "File with a text, repeated to each size")->required();
    app.add_option("--sizes", sizes, "Bytes of the texts")->delimiter(',');
    app.add_option("--hard", hard, "Also hard texts of so many bytes, and of half of that");
    app.add_option("--rounds", rounds, "The best of so many runs")->check(CLI::Range(1, 1000));
    CLI11_PARSE(app, argc, argv);
    try {
        const Tokenizer tokenizer = load(path);
        const std::string text = read_text(text_path, std::size_t{1} << 30);
        for (const std::size_t size : sizes)
            measure(tokenizer, "text", repeated(text, size), rounds);
        if (hard == 0) return 0;
        std::string any(256, '\0');
        for (std::size_t i = 0; i < 256; ++i) any[i] = static_cast<char>(i);
        const std::vector<std::pair<std::string, std::string>> texts{
            {"one letter", std::string(hard, 'a')},
            {"letters without spaces", drawn("abcdefghijklmnopqrstuvwxyz", hard)},
            {"digits", drawn("0123456789", hard)},
            {"spaces", std::string(hard, ' ')},
            {"newlines", std::string(hard, '\n')},
            {"combining marks", repeated("\xCC\x81", hard)},
            {"no UTF-8", drawn("\xFF\xFE\x80\xC3", hard)},
            {"any bytes", drawn(any, hard)}};
        for (const auto& [name, long_text] : texts)
            for (const std::size_t size : {hard / 2, hard})
                measure(tokenizer, name, std::string_view(long_text).substr(0, size), rounds);
    } catch (const Error& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
