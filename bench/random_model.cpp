// Writes a GGUF of random weights in a given shape: for speed and memory, never for text.
#include <iostream>

#include <CLI/CLI.hpp>
#include <cairn/io/gguf_writer.hpp>
#include <cairn/io/io.hpp>

#include "random_blocks.hpp"

using namespace cairn;

namespace {

struct Shape {
    const char* name;
    const char* architecture;
    int layers, width, heads, kv_heads, hidden, vocabulary, context;
};
constexpr Shape shapes[] = {
    {"llama-1b", "llama", 16, 2048, 32, 8, 8192, 32000, 32768},
    {"llama-small", "llama", 12, 1024, 16, 4, 4096, 32000, 8192},
    {"mistral-7b", "llama", 32, 4096, 32, 8, 14336, 32000, 8192},
    {"llama-13b", "llama", 40, 5120, 40, 40, 13824, 32000, 4096},
    {"gpt2-xl", "gpt2", 48, 1600, 25, 25, 6400, 50257, 1024},
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Write a GGUF of random weights.\n\nExamples:\n"
        "  random_model llama-1b q4_0 build/models/llama-1b.q4_0.gguf"};
    std::string name, type_name, out;
    std::vector<std::string> names, types;
    for (const Shape& s : shapes) names.emplace_back(s.name);
    for (std::size_t i = 0; i < element_types; ++i)
        types.emplace_back(block_size(static_cast<ElementType>(i)).name);
    app.add_option("shape", name, "Shape")->required()->check(CLI::IsMember(names));
    app.add_option("type", type_name, "Format of the matrices")
        ->required()
        ->check(CLI::IsMember(types));
    app.add_option("out", out, "File to write")->required();
    CLI11_PARSE(app, argc, argv);
    const Shape& s = *std::find_if(std::begin(shapes), std::end(shapes),
                                   [&](const Shape& x) { return name == x.name; });
    const auto type =
        static_cast<ElementType>(std::find(types.begin(), types.end(), type_name) - types.begin());
    const auto size = [](int n) { return static_cast<std::size_t>(n); };
    const int head = s.width / s.heads;
    const std::string arch = s.architecture;
    const bool gpt2 = arch == "gpt2";
    GgufWriter w;
    w.add("general.architecture", arch);
    w.add("general.name", name + "-random");
    w.add_u32(arch + ".block_count", s.layers);
    w.add_u32(arch + ".context_length", s.context);
    w.add_u32(arch + ".embedding_length", s.width);
    w.add_u32(arch + ".feed_forward_length", s.hidden);
    w.add_u32(arch + ".attention.head_count", s.heads);
    w.add_u32(arch + ".attention.head_count_kv", s.kv_heads);
    w.add_u32(arch + ".vocab_size", s.vocabulary);
    if (gpt2) {
        w.add_f32(arch + ".attention.layer_norm_epsilon", 1e-5);
    } else {
        w.add_f32(arch + ".attention.layer_norm_rms_epsilon", 1e-5);
        w.add_u32(arch + ".rope.dimension_count", head);
        w.add_f32(arch + ".rope.freq_base", 10000.0);
    }
    w.add("tokenizer.ggml.model", std::string("no_vocab"));
    Random random(1);
    const auto matrix = [&](const std::string& tensor, int rows, int columns) {
        const bool fits = size(columns) % block_size(type).values == 0;
        const ElementType stored = fits ? type : ElementType::f16;
        w.tensor(tensor, {size(rows), size(columns)}, stored,
                 [&random, stored, rows, columns](const GgufWriter::Sink& sink) {
                     std::vector<std::byte> row(
                         block_size(stored).size_of(static_cast<std::size_t>(columns)));
                     for (int r = 0; r < rows; ++r) {
                         bench::random_blocks(random, stored, static_cast<std::size_t>(columns),
                                              row);
                         sink(row);
                     }
                 });
    };
    const auto vector = [&](const std::string& tensor, int n, float value) {
        w.tensor(tensor, {size(n)}, ElementType::f32, [n, value](const GgufWriter::Sink& sink) {
            const std::vector<float> x(static_cast<std::size_t>(n), value);
            sink(std::as_bytes(std::span(x)));
        });
    };
    const auto norm = [&](const std::string& tensor) {
        vector(tensor + ".weight", s.width, 1.0F);
        if (gpt2) vector(tensor + ".bias", s.width, 0.0F);
    };
    const auto linear = [&](const std::string& tensor, int rows, int columns) {
        matrix(tensor + ".weight", rows, columns);
        if (gpt2) vector(tensor + ".bias", rows, 0.0F);
    };
    matrix("token_embd.weight", s.vocabulary, s.width);
    if (gpt2)
        w.tensor("position_embd.weight", {size(s.context), size(s.width)}, ElementType::f32,
                 [n = size(s.context) * size(s.width)](const GgufWriter::Sink& sink) {
                     const std::vector<float> x(n, 0.01F);
                     sink(std::as_bytes(std::span(x)));
                 });
    norm("output_norm");
    matrix("output.weight", s.vocabulary, s.width);
    for (int i = 0; i < s.layers; ++i) {
        const std::string p = "blk." + std::to_string(i) + ".";
        norm(p + "attn_norm");
        norm(p + "ffn_norm");
        if (gpt2) {
            linear(p + "attn_qkv", 3 * s.width, s.width);
        } else {
            linear(p + "attn_q", s.heads * head, s.width);
            linear(p + "attn_k", s.kv_heads * head, s.width);
            linear(p + "attn_v", s.kv_heads * head, s.width);
            linear(p + "ffn_gate", s.hidden, s.width);
        }
        linear(p + "attn_output", s.width, s.heads * head);
        linear(p + "ffn_up", s.hidden, s.width);
        linear(p + "ffn_down", s.width, s.hidden);
    }
    try {
        w.write(out);
    } catch (const Error& error) {
        std::cerr << "error[" << code_name(error.code()) << "]: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
