// A model architecture from outside: queries and keys are RMS-normed head by head before they are
// rotated, and each sublayer is normed before it and behind it. One file, loaded by name from a
// folder in Hugging Face's layout and from a GGUF file, held against a naive forward in double.
// Once with parts of its own, once in the twelve lines that a variant of the usual parts takes.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>

#include <cairn/io/gguf_export.hpp>
#include <cairn/io/model_file.hpp>
#include <cairn/layers/block.hpp>
#include <cairn/models/architecture.hpp>
#include <cairn/models/rotary_numbers.hpp>
#include <cairn/models/session.hpp>
#include <cairn/models/standard_decoder.hpp>
#include <cairn/numeric/random.hpp>

namespace {

// What happens to queries and keys between projection and rotation.
class HeadNorms final : public cairn::ProjectedStep {
  public:
    HeadNorms(const cairn::HeadLayout& layout, std::vector<float> q, std::vector<float> k,
              float epsilon)
        : layout_(layout), q_(std::move(q)), k_(std::move(k)), epsilon_(epsilon) {}
    void apply(float* q, float* k, float*) const override {
        const auto& kernel = cairn::kernels::active();
        for (int h = 0; h < layout_.heads; ++h, q += layout_.key_dim)
            kernel.rms_norm(q, q_.data(), epsilon_, layout_.key_dim, q);
        for (int h = 0; h < layout_.kv_heads; ++h, k += layout_.key_dim)
            kernel.rms_norm(k, k_.data(), epsilon_, layout_.key_dim, k);
    }
    std::size_t parameters() const noexcept override { return q_.size() + k_.size(); }
    void hash(cairn::Fingerprint& to) const override {
        to.add(q_.data(), q_.size() * sizeof(float));
        to.add(k_.data(), k_.size() * sizeof(float));
    }

  private:
    cairn::HeadLayout layout_;
    std::vector<float> q_, k_;
    float epsilon_;
};

// x += norm(attention(norm(x))); x += norm(mlp(norm(x))).
struct SandwichBlock {
    cairn::RmsNorm attention_norm, attention_post_norm, mlp_norm, mlp_post_norm;
    cairn::MultiHead<cairn::RotaryHalf> attention;
    cairn::SwiGlu mlp;

    void forward(const cairn::Activations& x, std::span<const cairn::BatchSlice> slices,
                 std::ptrdiff_t width, cairn::Context& context) const {
        cairn::Workspace::Frame frame(context.workspace());
        const auto floats = static_cast<std::size_t>(x.rows * width);
        const cairn::Activations normed{frame.floats(floats), width, x.rows};
        const cairn::Activations change{frame.floats(floats), width, x.rows};
        attention_norm.forward(x, normed, context);
        attention.forward(normed, slices, change, context);
        attention_post_norm.forward(change, change, context);
        cairn::add_rows(change, x, width, context);
        mlp_norm.forward(x, normed, context);
        mlp.forward(normed, change, context);
        mlp_post_norm.forward(change, change, context);
        cairn::add_rows(change, x, width, context);
    }
    const cairn::HeadLayout& layout() const noexcept { return attention.layout(); }
    std::size_t parameters() const noexcept {
        return attention.parameters() + mlp.parameters() + 4 * attention_norm.parameters();
    }
    std::size_t bytes() const noexcept { return attention.bytes() + mlp.bytes(); }
    void hash(cairn::Fingerprint& to) const {
        attention_norm.hash(to), attention_post_norm.hash(to), attention.hash(to);
        mlp_norm.hash(to), mlp_post_norm.hash(to), mlp.hash(to);
    }
    using NormType = cairn::RmsNorm;
};

// The numbers, the table, and how the parts become blocks.
cairn::ModelRecipe read_sandwich(cairn::ModelNumbers& n, const cairn::TensorSource&) {
    cairn::ModelShape s;
    s.architecture = n.architecture();
    s.layers = n.count({"num_hidden_layers", "block_count"}, 1024);
    s.width = n.count({"hidden_size", "embedding_length"}, 1 << 20);
    s.context = n.count({"max_position_embeddings", "context_length"}, 1 << 20);
    s.vocabulary = n.vocabulary();
    s.heads.heads = n.count({"num_attention_heads", "attention.head_count"}, 1 << 12);
    s.heads.kv_heads = n.count({"num_key_value_heads", "attention.head_count_kv"}, 1 << 12);
    s.heads.key_dim = n.count({"head_dim", "attention.key_length"}, 4096);
    s.heads.value_dim = s.heads.key_dim;
    const int hidden = n.count({"intermediate_size", "feed_forward_length"}, 1 << 20);
    const auto epsilon =
        static_cast<float>(n.number({"rms_norm_eps", "attention.layer_norm_rms_epsilon"}));
    const cairn::RotarySettings rotary = cairn::read_rotary(n, s.heads.key_dim, s.context);

    const std::ptrdiff_t width = s.width, head = s.heads.key_dim;
    const std::ptrdiff_t q = s.heads.heads * head, k = s.heads.kv_heads * head;
    cairn::TensorTable table;
    table.add({{"model.embed_tokens.weight", "token_embd.weight", {s.vocabulary, width}}});
    table.layers("model.layers.", "blk.", s.layers);
    for (int i = 0; i < s.layers; ++i)
        table.layer(i, {{"input_layernorm.weight", "attn_norm.weight", {width}},
                        {"self_attn.q_proj.weight", "attn_q.weight", {q, width}},
                        {"self_attn.k_proj.weight", "attn_k.weight", {k, width}},
                        {"self_attn.v_proj.weight", "attn_v.weight", {k, width}},
                        {"self_attn.o_proj.weight", "attn_output.weight", {width, q}},
                        {"self_attn.q_norm.weight", "attn_q_norm.weight", {head}},
                        {"self_attn.k_norm.weight", "attn_k_norm.weight", {head}},
                        {"post_attention_layernorm.weight", "post_attention_norm.weight", {width}},
                        {"pre_feedforward_layernorm.weight", "ffn_norm.weight", {width}},
                        {"post_feedforward_layernorm.weight", "post_ffw_norm.weight", {width}},
                        {"mlp.gate_proj.weight", "ffn_gate.weight", {hidden, width}},
                        {"mlp.up_proj.weight", "ffn_up.weight", {hidden, width}},
                        {"mlp.down_proj.weight", "ffn_down.weight", {width, hidden}}});
    table.add({{"model.norm.weight", "output_norm.weight", {width}}});

    const auto build = [s, epsilon, rotary](cairn::WeightReader& w) {
        cairn::DecoderWeights<SandwichBlock, cairn::NoPositions> weights;
        weights.architecture = s.architecture;
        weights.positions = {s.context};
        weights.embedding = w.embedding("model.embed_tokens");
        const cairn::RotaryHalf rotation(rotary);
        for (int i = 0; i < s.layers; ++i) {
            const std::string at = "model.layers." + std::to_string(i) + ".";
            const std::string a = at + "self_attn.";
            const auto norm = [&](const char* name) { return w.rms_norm(at + name, epsilon); };
            cairn::AttentionSettings settings;
            settings.projected = std::make_shared<HeadNorms>(
                s.heads, w.vector(a + "q_norm.weight"), w.vector(a + "k_norm.weight"), epsilon);
            weights.blocks.push_back(
                {norm("input_layernorm"),
                 norm("post_attention_layernorm"),
                 norm("pre_feedforward_layernorm"),
                 norm("post_feedforward_layernorm"),
                 {s.heads, w.joined({a + "q_proj", a + "k_proj", a + "v_proj"}),
                  w.linear(a + "o_proj"), rotation, settings},
                 {w.linear(at + "mlp.gate_proj"), w.linear(at + "mlp.up_proj"),
                  w.linear(at + "mlp.down_proj")}});
        }
        weights.final_norm = w.rms_norm("model.norm", epsilon);
        return cairn::any_model(std::move(weights));
    };
    return {s, table, build};
}

// The same model in twelve lines, the last of which registers it.
cairn::StandardConfig read_variant(cairn::ModelNumbers& n) {
    cairn::StandardConfig c = cairn::read_standard(n);
    c.names.attention_post_norm = {"post_attention_layernorm", "post_attention_norm"};
    c.names.mlp_norm = {"pre_feedforward_layernorm", "ffn_norm"};
    c.names.mlp_post_norm = {"post_feedforward_layernorm", "post_ffw_norm"};
    c.names.q_norm = {"self_attn.q_norm", "attn_q_norm"};
    c.names.k_norm = {"self_attn.k_norm", "attn_k_norm"};
    c.query_key_norm = cairn::QueryKeyNormKind::head;
    cairn::rotate_all(c, n);
    return c;
}

// From here on: the proof. A model in memory, the files it is written to, and its definition.
constexpr int layers = 3, width = 24, heads = 4, kv_heads = 2, head = 6, hidden = 20, words = 31;
constexpr double epsilon = 1e-5;

struct Tensor {
    std::vector<int> shape;
    std::vector<float> x;
    double at(int r, int c) const { return x[static_cast<std::size_t>(r * shape[1] + c)]; }
};
using Tensors = std::map<std::string, Tensor>;

Tensors random_model() {
    Tensors result;
    cairn::Random random(7);
    const auto add = [&](const std::string& name, std::vector<int> shape) {
        const bool norm = shape.size() == 1;
        std::vector<float> x(static_cast<std::size_t>(shape[0] * (norm ? 1 : shape[1])));
        for (float& v : x) v = static_cast<float>((norm ? 1.0 : 0.0) + 0.3 * random.normal());
        result[name + ".weight"] = {std::move(shape), std::move(x)};
    };
    add("model.embed_tokens", {words, width});
    for (int i = 0; i < layers; ++i) {
        const std::string at = "model.layers." + std::to_string(i) + ".";
        for (const char* name : {"input_layernorm", "post_attention_layernorm",
                                 "pre_feedforward_layernorm", "post_feedforward_layernorm"})
            add(at + name, {width});
        add(at + "self_attn.q_proj", {heads * head, width});
        add(at + "self_attn.k_proj", {kv_heads * head, width});
        add(at + "self_attn.v_proj", {kv_heads * head, width});
        add(at + "self_attn.o_proj", {width, heads * head});
        add(at + "self_attn.q_norm", {head});
        add(at + "self_attn.k_norm", {head});
        add(at + "mlp.gate_proj", {hidden, width});
        add(at + "mlp.up_proj", {hidden, width});
        add(at + "mlp.down_proj", {width, hidden});
    }
    add("model.norm", {width});
    return result;
}

void write_folder(const std::filesystem::path& folder, const Tensors& tensors) {
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "config.json")
        << R"({"model_type": "sandwich", "num_hidden_layers": )" << layers << R"(, "hidden_size": )"
        << width << R"(, "max_position_embeddings": 64, "vocab_size": )" << words
        << R"(, "num_attention_heads": )" << heads << R"(, "num_key_value_heads": )" << kv_heads
        << R"(, "head_dim": )" << head << R"(, "intermediate_size": )" << hidden
        << R"(, "rms_norm_eps": 1e-5, "rope_theta": 100.0, "tie_word_embeddings": true})";
    std::string header = "{";
    std::string data;
    for (const auto& [name, tensor] : tensors) {
        header += header.size() > 1 ? ",\"" : "\"";
        header += name;
        header += R"(":{"dtype":"F32","shape":[)" + std::to_string(tensor.shape[0]);
        if (tensor.shape.size() > 1) header += "," + std::to_string(tensor.shape[1]);
        header += "],\"data_offsets\":[" + std::to_string(data.size()) + ",";
        data.append(reinterpret_cast<const char*>(tensor.x.data()),
                    tensor.x.size() * sizeof(float));
        header += std::to_string(data.size()) + "]}";
    }
    header += "}";
    const std::uint64_t size = header.size();
    std::ofstream file(folder / "model.safetensors", std::ios::binary);
    file.write(reinterpret_cast<const char*>(&size), sizeof size);
    file << header << data;
}

using Row = std::vector<double>;
Row times(const Tensor& m, const Row& x) {
    Row y(static_cast<std::size_t>(m.shape[0]));
    for (int r = 0; r < m.shape[0]; ++r)
        for (int c = 0; c < m.shape[1]; ++c)
            y[static_cast<std::size_t>(r)] += m.at(r, c) * x[static_cast<std::size_t>(c)];
    return y;
}
Row rms(const Tensor& weight, const double* x) {
    double sum = 0.0;
    for (std::size_t i = 0; i < weight.x.size(); ++i) sum += x[i] * x[i];
    const double scale = 1.0 / std::sqrt(sum / static_cast<double>(weight.x.size()) + epsilon);
    Row y;
    for (std::size_t i = 0; i < weight.x.size(); ++i) y.push_back(x[i] * scale * weight.x[i]);
    return y;
}
// Each head normed, then rotated: pairs (i, i + head / 2).
void norm_and_rotate(Row& row, const Tensor& weight, int count, int position) {
    for (int h = 0; h < count; ++h) {
        double* x = row.data() + h * head;
        const Row y = rms(weight, x);
        for (int i = 0; i < head / 2; ++i) {
            const double angle = position * std::pow(100.0, -2.0 * i / head);
            const double a = y[static_cast<std::size_t>(i)];
            const double b = y[static_cast<std::size_t>(i + head / 2)];
            x[i] = a * std::cos(angle) - b * std::sin(angle);
            x[i + head / 2] = b * std::cos(angle) + a * std::sin(angle);
        }
    }
}
Row attend(const Row& q, const std::vector<Row>& keys, const std::vector<Row>& values) {
    Row mixed(static_cast<std::size_t>(heads * head));
    for (int h = 0; h < heads; ++h) {
        const int at = h / (heads / kv_heads) * head;
        Row p;
        double sum = 0.0;
        for (const Row& key : keys) {
            double s = 0.0;
            for (int d = 0; d < head; ++d)
                s += q[static_cast<std::size_t>(h * head + d)] *
                     key[static_cast<std::size_t>(at + d)];
            p.push_back(std::exp(s / std::sqrt(double{head})));
            sum += p.back();
        }
        for (std::size_t j = 0; j < p.size(); ++j)
            for (int d = 0; d < head; ++d)
                mixed[static_cast<std::size_t>(h * head + d)] +=
                    p[j] / sum * values[j][static_cast<std::size_t>(at + d)];
    }
    return mixed;
}
void add(Row& x, const Row& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

// Logits of every token, row by row.
std::vector<Row> naive(const Tensors& t, cairn::Tokens tokens) {
    std::vector<Row> result;
    std::vector<std::vector<Row>> keys(layers), values(layers);
    const Tensor& embedding = t.at("model.embed_tokens.weight");
    for (int position = 0; position < static_cast<int>(tokens.size()); ++position) {
        Row x;
        for (int c = 0; c < width; ++c)
            x.push_back(embedding.at(tokens[static_cast<std::size_t>(position)], c));
        for (int i = 0; i < layers; ++i) {
            const auto part = [&](const char* name) -> const Tensor& {
                return t.at("model.layers." + std::to_string(i) + "." + name + ".weight");
            };
            const Row in = rms(part("input_layernorm"), x.data());
            Row q = times(part("self_attn.q_proj"), in);
            Row k = times(part("self_attn.k_proj"), in);
            norm_and_rotate(q, part("self_attn.q_norm"), heads, position);
            norm_and_rotate(k, part("self_attn.k_norm"), kv_heads, position);
            const auto layer = static_cast<std::size_t>(i);
            keys[layer].push_back(k);
            values[layer].push_back(times(part("self_attn.v_proj"), in));
            const Row out = times(part("self_attn.o_proj"), attend(q, keys[layer], values[layer]));
            add(x, rms(part("post_attention_layernorm"), out.data()));
            const Row up_in = rms(part("pre_feedforward_layernorm"), x.data());
            Row gate = times(part("mlp.gate_proj"), up_in);
            const Row up = times(part("mlp.up_proj"), up_in);
            for (std::size_t j = 0; j < gate.size(); ++j)
                gate[j] = gate[j] / (1.0 + std::exp(-gate[j])) * up[j];
            add(x,
                rms(part("post_feedforward_layernorm"), times(part("mlp.down_proj"), gate).data()));
        }
        result.push_back(times(embedding, rms(t.at("model.norm.weight"), x.data())));
    }
    return result;
}

// All logits in one piece, and the largest difference to one token at a time (0) and to `wanted`.
std::vector<float> logits_of(const std::string& path, cairn::Tokens tokens) {
    const cairn::AnyModel model = cairn::load_model(path).model;
    std::vector<float> whole(tokens.size() * words);
    auto session = model.session<cairn::KvCache<>>(64);
    session.score(tokens, whole.data());
    auto single = model.session<cairn::KvCache<>>(64);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const auto row = single.decode(tokens[i]);
        if (!std::equal(row.begin(), row.end(),
                        whole.begin() + static_cast<std::ptrdiff_t>(i * words)))
            return {};
    }
    return whole;
}

}  // namespace

int main() {
    const Tensors tensors = random_model();
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("cairn_sandwich_" + std::to_string(::getpid()));
    write_folder(folder, tensors);
    bool refused = false;  // before it is registered, the error says what to do
    try {
        cairn::load_model(folder.string());
    } catch (const cairn::Error& error) {
        refused = std::string(error.what()).find("docs/extend.md") != std::string::npos;
    }
    cairn::register_architecture("sandwich", read_sandwich);
    const std::string gguf = (folder / "sandwich.gguf").string();
    cairn::export_gguf(folder.string(), gguf, cairn::ElementType::f32);

    std::vector<cairn::Token> tokens;
    for (int i = 0; i < 40; ++i) tokens.push_back(i * 7 % words);
    const std::vector<Row> wanted = naive(tensors, tokens);
    const std::vector<float> by_folder = logits_of(folder.string(), tokens);
    const std::vector<float> by_gguf = logits_of(gguf, tokens);
    cairn::register_architecture("sandwich", cairn::standard_reader<read_variant>);
    const std::vector<float> by_variant = logits_of(folder.string(), tokens);
    const std::vector<float> by_variant_gguf = logits_of(gguf, tokens);
    std::filesystem::remove_all(folder);
    double most = by_folder.empty() ? 1.0 : 0.0, size = 0.0;
    for (std::size_t i = 0; i < by_folder.size(); ++i) {
        most = std::max(most, std::abs(double{by_folder[i]} - wanted[i / words][i % words]));
        size = std::max(size, std::abs(wanted[i / words][i % words]));
    }
    const bool alike =
        by_folder == by_gguf && by_folder == by_variant && by_folder == by_variant_gguf;
    const bool good = refused && most < 1e-5 * size && alike;
    std::printf(
        "a model architecture: largest difference %.1e of %.1e, two kinds of file and two recipes "
        "%s: %s\n",
        most, size, alike ? "alike" : "UNLIKE", good ? "right" : "WRONG");
    return good ? 0 : 1;
}
