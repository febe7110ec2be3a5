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
    int head = 0;  // 0: width / heads
    int experts = 0, experts_used = 0, expert_hidden = 0;
    int dense = 0;  // layers without experts, which come first
    bool tied = false;
};
// The mixtures have fewer layers than their models, and all their experts. llama.cpp reads a
// DeepSeek V2 without compressed queries only with V2-Lite's 26 or 27 layers: most are dense, which
// cost a token as much as its eight experts.
constexpr Shape shapes[] = {
    {"llama-1b", "llama", 16, 2048, 32, 8, 8192, 32000, 32768},
    {"llama-small", "llama", 12, 1024, 16, 4, 4096, 32000, 8192},
    {"mistral-7b", "llama", 32, 4096, 32, 8, 14336, 32000, 8192},
    {"llama-13b", "llama", 40, 5120, 40, 40, 13824, 32000, 4096},
    {"gpt2-xl", "gpt2", 48, 1600, 25, 25, 6400, 50257, 1024},
    {.name = "qwen3-0.6b",
     .architecture = "qwen3",
     .layers = 28,
     .width = 1024,
     .heads = 16,
     .kv_heads = 8,
     .hidden = 3072,
     .vocabulary = 151936,
     .context = 40960,
     .head = 128,
     .tied = true},
    {.name = "qwen3-30b-a3b",
     .architecture = "qwen3moe",
     .layers = 4,
     .width = 2048,
     .heads = 32,
     .kv_heads = 4,
     .hidden = 6144,
     .vocabulary = 151936,
     .context = 40960,
     .head = 128,
     .experts = 128,
     .experts_used = 8,
     .expert_hidden = 768},
    {.name = "deepseek-v2-lite",
     .architecture = "deepseek2",
     .layers = 26,
     .width = 2048,
     .heads = 16,
     .kv_heads = 1,
     .hidden = 10944,
     .vocabulary = 102400,
     .context = 32768,
     .experts = 64,
     .experts_used = 6,
     .expert_hidden = 1408,
     .dense = 22},
    {.name = "gpt-oss-20b",
     .architecture = "gpt-oss",
     .layers = 4,
     .width = 2880,
     .heads = 64,
     .kv_heads = 8,
     .hidden = 2880,
     .vocabulary = 201088,
     .context = 131072,
     .head = 64,
     .experts = 32,
     .experts_used = 4,
     .expert_hidden = 2880},
};
// DeepSeek V2-Lite's attention.
constexpr int latent = 512, rotated = 64, plain = 128, value = 128, shared_experts = 2;

std::size_t size(int n) { return static_cast<std::size_t>(n); }

// The numbers and tensors of a shape, as llama.cpp's converters write them.
class RandomFile {
  public:
    RandomFile(const Shape& shape, ElementType type)
        : s_(shape),
          // Published files have experts in mxfp4, the rest in q8_0.
          type_(type == ElementType::mxfp4 ? ElementType::q8_0 : type),
          expert_type_(type),
          arch_(shape.architecture),
          gpt2_(arch_ == "gpt2"),
          gpt_oss_(arch_ == "gpt-oss") {
        numbers();
        matrix("token_embd.weight", {s_.vocabulary, s_.width});
        if (gpt2_)
            w_.tensor("position_embd.weight", {size(s_.context), size(s_.width)}, ElementType::f32,
                      [n = size(s_.context) * size(s_.width)](const GgufWriter::Sink& sink) {
                          const std::vector<float> x(n, 0.01F);
                          sink(std::as_bytes(std::span(x)));
                      });
        norm("output_norm");
        if (!s_.tied) matrix("output.weight", {s_.vocabulary, s_.width});
        for (int i = 0; i < s_.layers; ++i) layer(i);
    }
    void write(const std::string& path) { w_.write(path); }

  private:
    int head() const { return s_.head > 0 ? s_.head : s_.width / s_.heads; }
    void number(const char* name, int x) { w_.add_u32(arch_ + "." + name, x); }
    void numbers() {
        w_.add("general.architecture", arch_);
        w_.add("general.name", std::string(s_.name) + "-random");
        number("block_count", s_.layers);
        number("context_length", s_.context);
        number("embedding_length", s_.width);
        number("feed_forward_length", s_.hidden);
        number("attention.head_count", s_.heads);
        number("attention.head_count_kv", s_.kv_heads);
        number("vocab_size", s_.vocabulary);
        const bool deepseek = arch_ == "deepseek2";
        if (gpt2_) {
            w_.add_f32(arch_ + ".attention.layer_norm_epsilon", 1e-5);
        } else {
            w_.add_f32(arch_ + ".attention.layer_norm_rms_epsilon", 1e-5);
            number("rope.dimension_count", deepseek ? rotated : head());
            w_.add_f32(arch_ + ".rope.freq_base", gpt_oss_      ? 150000.0
                                                  : s_.head > 0 ? 1e6
                                                                : 10000.0);
        }
        if (gpt_oss_) {
            number("attention.sliding_window", 128);
            w_.add(arch_ + ".rope.scaling.type", std::string("yarn"));
            w_.add_f32(arch_ + ".rope.scaling.factor", 32.0);
            number("rope.scaling.original_context_length", 4096);
        }
        if (s_.head > 0 || deepseek) {
            number("attention.key_length", deepseek ? latent + rotated : s_.head);
            number("attention.value_length", deepseek ? latent : s_.head);
        }
        if (s_.experts > 0) {
            number("expert_count", s_.experts);
            number("expert_used_count", s_.experts_used);
            number("expert_feed_forward_length", s_.expert_hidden);
        }
        if (deepseek) {
            number("attention.kv_lora_rank", latent);
            number("attention.key_length_mla", plain + rotated);
            number("attention.value_length_mla", value);
            number("leading_dense_block_count", s_.dense);
            number("expert_shared_count", shared_experts);
        }
        w_.add("tokenizer.ggml.model", std::string("no_vocab"));
    }
    void layer(int i) {
        const std::string p = "blk." + std::to_string(i) + ".";
        norm(p + "attn_norm");
        norm(p + (gpt_oss_ ? "post_attention_norm" : "ffn_norm"));
        if (gpt2_)
            linear(p + "attn_qkv", 3 * s_.width, s_.width);
        else if (arch_ == "deepseek2")
            latent_attention(p);
        else
            attention(p);
        linear(p + "attn_output", s_.width, s_.heads * head());
        if (s_.experts > 0 && i >= s_.dense) return experts(p);
        if (!gpt2_) linear(p + "ffn_gate", s_.hidden, s_.width);
        linear(p + "ffn_up", s_.hidden, s_.width);
        linear(p + "ffn_down", s_.width, s_.hidden);
    }
    void attention(const std::string& p) {
        linear(p + "attn_q", s_.heads * head(), s_.width);
        linear(p + "attn_k", s_.kv_heads * head(), s_.width);
        linear(p + "attn_v", s_.kv_heads * head(), s_.width);
        if (arch_ == "llama") return;
        if (gpt_oss_) return vector(p + "attn_sinks.weight", {s_.heads}, 0.0F);
        vector(p + "attn_q_norm.weight", {head()}, 1.0F);
        vector(p + "attn_k_norm.weight", {head()}, 1.0F);
    }
    void latent_attention(const std::string& p) {
        linear(p + "attn_q", s_.heads * (plain + rotated), s_.width);
        linear(p + "attn_kv_a_mqa", latent + rotated, s_.width);
        vector(p + "attn_kv_a_norm.weight", {latent}, 1.0F);
        matrix(p + "attn_k_b.weight", {s_.heads, latent, plain});
        matrix(p + "attn_v_b.weight", {s_.heads, value, latent});
    }
    void experts(const std::string& p) {
        matrix(p + "ffn_gate_inp.weight", {s_.experts, s_.width}, ElementType::f32);
        const int inside = s_.expert_hidden;
        matrix(p + "ffn_gate_exps.weight", {s_.experts, inside, s_.width}, expert_type_);
        matrix(p + "ffn_up_exps.weight", {s_.experts, inside, s_.width}, expert_type_);
        matrix(p + "ffn_down_exps.weight", {s_.experts, s_.width, inside}, expert_type_);
        if (gpt_oss_) {
            vector(p + "ffn_gate_inp.bias", {s_.experts}, 0.0F);
            vector(p + "ffn_gate_exps.bias", {s_.experts, inside}, 0.0F);
            vector(p + "ffn_up_exps.bias", {s_.experts, inside}, 0.0F);
            vector(p + "ffn_down_exps.bias", {s_.experts, s_.width}, 0.0F);
        }
        if (arch_ != "deepseek2") return;
        const int wide = shared_experts * s_.expert_hidden;
        linear(p + "ffn_gate_shexp", wide, s_.width);
        linear(p + "ffn_up_shexp", wide, s_.width);
        linear(p + "ffn_down_shexp", s_.width, wide);
    }
    void matrix(const std::string& tensor, std::initializer_list<int> shape) {
        const bool fits = size(*(shape.end() - 1)) % block_size(type_).values == 0;
        matrix(tensor, shape, fits ? type_ : ElementType::f16);
    }
    void matrix(const std::string& tensor, std::initializer_list<int> shape, ElementType stored) {
        const std::vector<std::size_t> sizes(shape.begin(), shape.end());
        const std::size_t columns = sizes.back();
        std::size_t rows = 1;
        for (std::size_t i = 0; i + 1 < sizes.size(); ++i) rows *= sizes[i];
        w_.tensor(tensor, sizes, stored, [this, stored, rows, columns](const auto& sink) {
            std::vector<std::byte> row(block_size(stored).size_of(columns));
            for (std::size_t r = 0; r < rows; ++r) {
                bench::random_blocks(random_, stored, columns, row);
                sink(row);
            }
        });
    }
    void vector(const std::string& tensor, std::initializer_list<int> shape, float x) {
        const std::vector<std::size_t> sizes(shape.begin(), shape.end());
        std::size_t n = 1;
        for (const std::size_t each : sizes) n *= each;
        w_.tensor(tensor, sizes, ElementType::f32, [n, x](const GgufWriter::Sink& sink) {
            const std::vector<float> all(n, x);
            sink(std::as_bytes(std::span(all)));
        });
    }
    void norm(const std::string& tensor) {
        vector(tensor + ".weight", {s_.width}, 1.0F);
        if (gpt2_) vector(tensor + ".bias", {s_.width}, 0.0F);
    }
    void linear(const std::string& tensor, int rows, int columns) {
        matrix(tensor + ".weight", {rows, columns});
        if (gpt2_ || gpt_oss_) vector(tensor + ".bias", {rows}, 0.0F);
    }

    const Shape& s_;
    const ElementType type_, expert_type_;
    const std::string arch_;
    const bool gpt2_, gpt_oss_;
    GgufWriter w_;
    Random random_{1};
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
    try {
        RandomFile(s, type).write(out);
    } catch (const Error& error) {
        std::cerr << "error[" << code_name(error.code()) << "]: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
