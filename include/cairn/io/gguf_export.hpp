// A model as a GGUF file in another number format: from a GGUF file, whose metadata is kept, or
// from a folder in Hugging Face's layout, whose config and tokenizer become metadata. What it
// writes opens in llama.cpp.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cairn/io/chat_template.hpp"
#include "cairn/io/check_not_model.hpp"
#include "cairn/io/gguf_config.hpp"
#include "cairn/io/gguf_writer.hpp"
#include "cairn/io/model_file.hpp"
#include "cairn/io/safetensors_source.hpp"
#include "cairn/io/tokenizer_json.hpp"

namespace cairn::inline CAIRN_ABI {

/// What an export had to say.
struct ExportReport {
    /// Tensors that kept another type than the one asked for, with the reason.
    std::vector<std::string> fallbacks;
    std::size_t tensors = 0;
};

namespace detail {

// Encodes rows of f32 in any type that can be written.
inline void encode_rows(ElementType type, const float* from, std::size_t count, std::byte* to) {
    if (is_plain(type))
        cairn::format_of(type).encode(from, count, to);
    else
        quantised::block_format(type).encode(
            from, count / static_cast<std::size_t>(quantised::block_format(type).layout.values),
            to);
}

// Error{non_finite} unless rows and what they were encoded as are numbers; the rows are lost.
inline void require_written(const std::string& name, ElementType type, std::span<float> rows,
                            const std::byte* encoded) {
    const auto finite = [&] {
        const auto* bytes = reinterpret_cast<const std::byte*>(rows.data());
        return finite_numbers(ElementType::f32, bytes, rows.size());
    };
    require(finite(), ErrorCode::non_finite, "quantize: tensor ", name, " holds NaN or infinity");
    quantised::decode(type, encoded, rows.size(), rows.data());
    require(finite(), ErrorCode::non_finite, "quantize: tensor ", name,
            " holds numbers too big for ", block_size(type).name);
}

class GgufExport {
  public:
    GgufExport(ElementType type, ExportReport& report) : type_(type), report_(report) {
        require(is_plain(type) || quantised::block_format(type).encode != nullptr,
                ErrorCode::unsupported, "quantize: ", block_size(type).name,
                " cannot be written; f32, f16, bf16, q8_0, q4_0 and q4_1 can");
    }

    // The type a tensor gets: matrices the one asked for, if their rows divide; all else f32.
    ElementType type_for(const std::string& name, const std::vector<std::size_t>& shape) {
        const bool matrix =
            shape.size() == 2 && name.ends_with(".weight") && name != "position_embd.weight";
        if (!matrix) return ElementType::f32;
        const std::size_t values = block_size(type_).values;
        if (shape[1] % values == 0) return type_;
        report_.fallbacks.push_back(name + ": rows of " + std::to_string(shape[1]) +
                                    " are no multiple of " + std::to_string(values) +
                                    ", written as f16");
        return ElementType::f16;
    }

    // A tensor [rows][columns] in pieces; `read` fills rows [first, first + count) as f32.
    using ReadRows = std::function<void(std::size_t first, std::size_t count, float* to)>;
    void add(const std::string& name, std::vector<std::size_t> shape, ReadRows read) {
        const ElementType type = type_for(name, shape);
        const std::size_t columns = shape.empty() ? 1 : shape.back();
        const std::size_t rows = shape.size() < 2 ? 1 : shape[0];
        writer.tensor(
            name, std::move(shape), type,
            [name, rows, columns, type, read = std::move(read)](const GgufWriter::Sink& sink) {
                const std::size_t step = std::max<std::size_t>(1, (std::size_t{1} << 20) / columns);
                std::vector<float> numbers(std::min(step, rows) * columns);
                std::vector<std::byte> bytes(block_size(type).size_of(numbers.size()));
                for (std::size_t row = 0; row < rows; row += step) {
                    const std::size_t count = std::min(step, rows - row);
                    read(row, count, numbers.data());
                    encode_rows(type, numbers.data(), count * columns, bytes.data());
                    require_written(name, type, {numbers.data(), count * columns}, bytes.data());
                    sink(std::span(bytes).first(block_size(type).size_of(count * columns)));
                }
            });
        ++report_.tensors;
    }
    ReadRows plain_rows(const TensorSource& source, const std::string& name, std::size_t columns) {
        return [&source, name, columns](std::size_t first, std::size_t count, float* to) {
            source.read(name, first * columns, {to, count * columns});
        };
    }
    // llama.cpp's number for "mostly this type".
    void add_file_type() {
        const std::map<ElementType, int> ids{{ElementType::f32, 0},  {ElementType::f16, 1},
                                             {ElementType::q4_0, 2}, {ElementType::q4_1, 3},
                                             {ElementType::q8_0, 7}, {ElementType::bf16, 32}};
        writer.add_u32("general.file_type", ids.at(type_));
        if (!is_plain(type_)) writer.add_u32("general.quantization_version", 2);
    }

    GgufWriter writer;

  private:
    ElementType type_;
    ExportReport& report_;
};

inline void add_gguf_tensors(GgufExport& to, const GgufSource& source) {
    for (const auto& [key, value] : source.metadata().values()) {
        const bool own = key == "general.file_type" || key == "general.quantization_version" ||
                         key == "general.alignment" || key.starts_with("split.");
        if (!own) to.writer.add(key, value);
    }
    to.add_file_type();
    for (const auto& [name, tensor] : source.tensors())
        to.add(name, tensor->shape,
               to.plain_rows(source, name, tensor->shape.empty() ? 1 : tensor->shape.back()));
}

inline void add_gpt2(GgufExport& to, const Gpt2Config& c, const TensorSource& source) {
    GgufWriter& w = to.writer;
    w.add("general.architecture", std::string("gpt2"));
    to.add_file_type();
    w.add_u32("gpt2.block_count", c.layers);
    w.add_u32("gpt2.context_length", c.context);
    w.add_u32("gpt2.embedding_length", c.width);
    w.add_u32("gpt2.feed_forward_length", c.hidden_width());
    w.add_u32("gpt2.attention.head_count", c.heads);
    w.add_f32("gpt2.attention.layer_norm_epsilon", c.epsilon);
    const std::string prefix =
        source.shape("transformer.wte.weight") != nullptr ? "transformer." : "";
    const auto copy = [&](const std::string& from, const std::string& name) {
        const auto* shape = source.shape(from);
        require(shape != nullptr, ErrorCode::bad_config, "quantize: tensor ", from, " is missing");
        to.add(name, *shape, to.plain_rows(source, from, shape->back()));
    };
    const auto transposed = [&](const std::string& from, const std::string& name) {
        const auto* shape = source.shape(from);
        require(shape != nullptr && shape->size() == 2, ErrorCode::bad_config, "quantize: tensor ",
                from, " is missing or no matrix");
        const std::size_t in = (*shape)[0];
        const std::size_t out = (*shape)[1];
        to.add(name, {out, in},
               [&source, from, in, out](std::size_t first, std::size_t count, float* rows) {
                   std::vector<float> line(out);
                   for (std::size_t k = 0; k < in; ++k) {
                       source.read(from, k * out, line);
                       for (std::size_t n = 0; n < count; ++n) rows[n * in + k] = line[first + n];
                   }
               });
    };
    const Gpt2Names& names = gpt2_gguf_names;
    copy(prefix + "wte.weight", names.embedding + std::string(".weight"));
    copy(prefix + "wpe.weight", names.positions + std::string(".weight"));
    for (int i = 0; i < c.layers; ++i) {
        const std::string h = prefix + "h." + std::to_string(i) + ".";
        const std::string blk = names.layer + std::to_string(i) + ".";
        for (std::size_t p = 0; p < 6; ++p) {
            const std::string from = h + gpt2_names.parts[p];
            const std::string name = blk + names.parts[p];
            if (p == 0 || p == 3)
                copy(from + ".weight", name + ".weight");
            else
                transposed(from + ".weight", name + ".weight");
            copy(from + ".bias", name + ".bias");
        }
    }
    copy(prefix + "ln_f.weight", "output_norm.weight");
    copy(prefix + "ln_f.bias", "output_norm.bias");
    copy(c.tied ? prefix + "wte.weight" : "lm_head.weight", "output.weight");
}

inline void add_llama(GgufExport& to, const LlamaConfig& c, const TensorSource& source) {
    GgufWriter& w = to.writer;
    // Mistral is a Llama in GGUF files.
    const std::string arch = c.architecture == "qwen2" ? "qwen2" : "llama";
    w.add("general.architecture", arch);
    to.add_file_type();
    w.add_u32(arch + ".block_count", c.layers);
    w.add_u32(arch + ".context_length", c.context);
    w.add_u32(arch + ".embedding_length", c.width);
    w.add_u32(arch + ".feed_forward_length", c.hidden);
    w.add_u32(arch + ".attention.head_count", c.heads.heads);
    w.add_u32(arch + ".attention.head_count_kv", c.heads.kv_heads);
    w.add_u32(arch + ".attention.key_length", c.heads.key_dim);
    w.add_u32(arch + ".attention.value_length", c.heads.value_dim);
    w.add_u32(arch + ".rope.dimension_count", c.heads.key_dim);
    w.add_f32(arch + ".rope.freq_base", c.theta);
    w.add_f32(arch + ".attention.layer_norm_rms_epsilon", c.epsilon);
    w.add_u32(arch + ".vocab_size", c.vocabulary);
    if (c.window > 0) w.add_u32(arch + ".attention.sliding_window", c.window);
    using Kind = RotaryScaling::Kind;
    if (c.scaling.kind == Kind::linear || c.scaling.kind == Kind::yarn) {
        w.add(arch + ".rope.scaling.type",
              std::string(c.scaling.kind == Kind::linear ? "linear" : "yarn"));
        w.add_f32(arch + ".rope.scaling.factor", c.scaling.factor);
        w.add_u32(arch + ".rope.scaling.original_context_length",
                  static_cast<std::int64_t>(c.scaling.original_context));
    } else if (c.scaling.kind == Kind::llama3) {
        RotarySettings plain{c.heads.key_dim, c.theta, 1, {}, {}};
        RotarySettings scaled = plain;
        scaled.scaling = c.scaling;
        std::vector<float> divisors;
        const auto a = rotary_frequencies(plain);
        const auto b = rotary_frequencies(scaled);
        for (std::size_t i = 0; i < a.size(); ++i)
            divisors.push_back(static_cast<float>(a[i] / b[i]));
        to.add("rope_freqs.weight", {divisors.size()},
               [divisors](std::size_t, std::size_t, float* row) {
                   std::copy(divisors.begin(), divisors.end(), row);
               });
    }
    const LlamaNames hf;
    const LlamaNames& gg = llama_gguf_names;
    const auto copy = [&](const std::string& from, const std::string& name, int heads = 0) {
        const auto* shape = source.shape(from);
        require(shape != nullptr, ErrorCode::bad_config, "quantize: tensor ", from, " is missing");
        auto read = to.plain_rows(source, from, shape->back());
        if (heads > 0) {  // row 2i + j of a head comes from row j * half + i
            const std::size_t half = (*shape)[0] / static_cast<std::size_t>(heads) / 2;
            const std::size_t columns = shape->back();
            read = [&source, from, half, columns](std::size_t first, std::size_t count,
                                                  float* rows) {
                for (std::size_t r = first; r < first + count; ++r, rows += columns) {
                    const std::size_t in_head = r % (2 * half);
                    const std::size_t row = r - in_head + in_head % 2 * half + in_head / 2;
                    source.read(from, row * columns, {rows, columns});
                }
            };
        }
        to.add(name, *shape, std::move(read));
    };
    const auto weight = [](const std::string& name) { return name + ".weight"; };
    copy(weight(hf.embedding), weight(gg.embedding));
    for (int i = 0; i < c.layers; ++i) {
        const std::string from = hf.layer + std::to_string(i);
        const std::string name = gg.layer + std::to_string(i);
        copy(weight(from + hf.attention_norm), weight(name + gg.attention_norm));
        copy(weight(from + hf.query), weight(name + gg.query), arch == "llama" ? c.heads.heads : 0);
        copy(weight(from + hf.key), weight(name + gg.key), arch == "llama" ? c.heads.kv_heads : 0);
        copy(weight(from + hf.value), weight(name + gg.value));
        if (c.qkv_bias) {
            copy(from + hf.query + ".bias", name + gg.query + ".bias");
            copy(from + hf.key + ".bias", name + gg.key + ".bias");
            copy(from + hf.value + ".bias", name + gg.value + ".bias");
        }
        copy(weight(from + hf.attention_out), weight(name + gg.attention_out));
        copy(weight(from + hf.mlp_norm), weight(name + gg.mlp_norm));
        copy(weight(from + hf.gate), weight(name + gg.gate));
        copy(weight(from + hf.up), weight(name + gg.up));
        copy(weight(from + hf.down), weight(name + gg.down));
    }
    copy(weight(hf.final_norm), weight(gg.final_norm));
    if (!c.tied) copy(weight(hf.output), weight(gg.output));
}

// The tokenizer of a folder as metadata.
inline void add_tokenizer(GgufWriter& w, const std::filesystem::path& folder, int vocabulary,
                          const std::vector<Token>& end_of_text, const FileLimits& limits) {
    const std::filesystem::path path = folder / "tokenizer.json";
    if (!name_exists(path.string())) {
        w.add("tokenizer.ggml.model", std::string("no_vocab"));
        return;
    }
    const std::string where = path.string();
    const JsonDocument document(
        parse_json(read_json_file(where, limits), ErrorCode::bad_tokenizer, where, limits));
    const Json& json = *document;
    TokenizerJson reader;
    reader.load(json, limits);
    const Vocabulary& v = reader.v;
    const bool sentence = v.kind == Vocabulary::Kind::sentence;
    const Json& model = json["model"];
    GgufArray tokens{GgufType::string, {}, {}, {}};
    GgufArray types{GgufType::i32, {}, {}, {}};
    GgufArray scores{GgufType::f32, {}, {}, {}};
    GgufArray merges{GgufType::string, {}, {}, {}};
    tokens.strings.resize(static_cast<std::size_t>(vocabulary));
    types.integers.assign(static_cast<std::size_t>(vocabulary), 5);
    for (std::size_t i = 0; i < tokens.strings.size(); ++i)
        tokens.strings[i] = "[PAD" + std::to_string(i) + "]";
    std::unordered_map<std::string, std::size_t> ids;
    for (const auto& [name, id] : model["vocab"].items()) {
        const auto i = id.get<std::size_t>();
        if (i >= tokens.strings.size()) continue;
        tokens.strings[i] = name;
        types.integers[i] = sentence && byte_token(name) >= 0 ? 6 : 1;
        ids[name] = i;
    }
    for (const Vocabulary::Added& added : v.added) {
        const auto i = static_cast<std::size_t>(added.id);
        if (i >= tokens.strings.size()) continue;
        tokens.strings[i] = added.content;
        types.integers[i] = added.special ? 3 : 4;
    }
    if (sentence && v.unknown >= 0) types.integers[static_cast<std::size_t>(v.unknown)] = 2;
    if (sentence) scores.numbers.assign(tokens.strings.size(), 0.0);
    double rank = 0.0;
    for (const Json& merge : model["merges"]) {
        const std::string text =
            merge.is_array() ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                             : merge.get<std::string>();
        rank -= 1.0;
        if (!sentence) {
            merges.strings.push_back(text);
            continue;
        }
        const std::size_t space = text.find(' ');
        const auto at = ids.find(text.substr(0, space) + text.substr(space + 1));
        if (at != ids.end() && scores.numbers[at->second] == 0.0) scores.numbers[at->second] = rank;
    }
    w.add("tokenizer.ggml.model", std::string(sentence ? "llama" : "gpt2"));
    if (!sentence) {
        const std::string name = v.pre_tokenizer.gguf_name();
        require(!name.empty(), ErrorCode::unsupported, where,
                ": its pre_tokenizer has no name in GGUF files");
        w.add("tokenizer.ggml.pre", name);
    }
    w.add("tokenizer.ggml.tokens", GgufValue{GgufType::array, std::move(tokens)});
    if (sentence) w.add("tokenizer.ggml.scores", GgufValue{GgufType::array, std::move(scores)});
    w.add("tokenizer.ggml.token_type", GgufValue{GgufType::array, std::move(types)});
    if (!sentence) w.add("tokenizer.ggml.merges", GgufValue{GgufType::array, std::move(merges)});
    if (sentence) w.add_bool("tokenizer.ggml.add_space_prefix", v.normalizer.prepends());
    w.add_bool("tokenizer.ggml.add_bos_token", !v.prefix.empty());
    w.add_bool("tokenizer.ggml.add_eos_token", !v.suffix.empty());
    if (!v.prefix.empty()) w.add_u32("tokenizer.ggml.bos_token_id", v.prefix.front());
    if (!end_of_text.empty()) w.add_u32("tokenizer.ggml.eos_token_id", end_of_text.front());
    if (sentence && v.unknown >= 0) w.add_u32("tokenizer.ggml.unknown_token_id", v.unknown);
    const std::string chat = folder_chat_template(folder, limits);
    if (!chat.empty()) w.add("tokenizer.chat_template", chat);
}

}  // namespace detail

/// Writes the model at `from` (a GGUF file or a folder) as a GGUF file with matrices of `type`:
/// f32, f16, bf16, q8_0, q4_0 or q4_1. Matrices whose rows do not divide become f16, and the report
/// says so. Throws Error{io, bad_file, bad_config, bad_tokenizer, unsupported, limit}, and
/// Error{invalid_argument} before any work if `to` belongs to the model (`check_not_model`).
inline ExportReport export_gguf(const std::string& from, const std::string& to, ElementType type,
                                const Progress& progress = {}, const FileLimits& limits = {}) {
    const FpEnvironment environment;
    check_not_model(from, to);
    ExportReport report;
    detail::GgufExport job(type, report);
    std::error_code error;
    const std::filesystem::path folder(from);
    if (!std::filesystem::is_directory(folder, error)) {
        require(name_exists(from), ErrorCode::io, from, ": no such file or folder");
        const GgufSource source(from, limits);
        detail::add_gguf_tensors(job, source);
        job.writer.write(to, progress);
        return report;
    }
    const std::string config_path = (folder / "config.json").string();
    const HfConfig config =
        parse_hf_config(read_json_file(config_path, limits), config_path, limits);
    const SafetensorsSource source(folder, limits);
    if (const auto* gpt2 = std::get_if<Gpt2Config>(&config.model)) {
        detail::check_gpt2(*gpt2, source, gpt2_names).done();
        detail::add_gpt2(job, *gpt2, source);
    } else if (const auto* llama = std::get_if<LlamaConfig>(&config.model)) {
        detail::check_llama(*llama, source, {}).done();
        detail::add_llama(job, *llama, source);
    } else {
        fail(ErrorCode::unsupported, config_path, ": ", config.architecture,
             " has no form in GGUF files");
    }
    detail::add_tokenizer(job.writer, folder, config.vocabulary(), config.end_of_text, limits);
    job.writer.write(to, progress);
    return report;
}

}  // namespace cairn::inline CAIRN_ABI
