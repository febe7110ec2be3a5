// A model as a GGUF file in another number format: from a GGUF file, whose metadata is kept, or
// from a folder in Hugging Face's layout, whose config and tokenizer become metadata. What it
// writes opens in llama.cpp.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cairn/io/check_not_model.hpp"
#include "cairn/io/model_file.hpp"

// Compiled in every program that uses the headers alone, or in the library cairn::io_compiled.
#if !defined(CAIRN_EXTERN_IO) || defined(CAIRN_IO_IMPLEMENTATION)
#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "cairn/io/chat_template.hpp"
#include "cairn/io/generation_config.hpp"
#include "cairn/io/gguf_end_of_text.hpp"
#include "cairn/io/hf_config.hpp"
#include "cairn/io/gguf_source.hpp"
#include "cairn/io/picked_rows.hpp"
#include "cairn/io/folder_tensors.hpp"
#include "cairn/io/tokenizer_json.hpp"
#endif

namespace cairn { inline namespace CAIRN_ABI {

/// What an export had to say.
struct ExportReport {
    /// Tensors that kept another type than the one asked for, with the reason.
    std::vector<std::string> fallbacks;
    std::size_t tensors = 0;
};

#if defined(CAIRN_EXTERN_IO) && !defined(CAIRN_IO_IMPLEMENTATION)
/// Writes a model as a GGUF file, as documented below. Compiled in the library
/// `cairn::io_compiled`.
ExportReport export_gguf(const std::string& from, const std::string& to, ElementType type,
                         const Progress& progress = {}, const FileLimits& limits = {});
#else
namespace internal {

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
        const bool matrix = (shape.size() == 2 || shape.size() == 3) && name.ends_with(".weight") &&
                            name != "position_embd.weight" &&
                            !name.ends_with(".ffn_gate_inp.weight") &&
                            !name.ends_with("_norm.weight");
        if (!matrix) return ElementType::f32;
        const std::size_t values = block_size(type_).values;
        if (shape.back() % values == 0) return type_;
        report_.fallbacks.push_back(name + ": rows of " + std::to_string(shape.back()) +
                                    " are no multiple of " + std::to_string(values) +
                                    ", written as f16");
        return ElementType::f16;
    }

    // A tensor [rows][columns] in pieces; `read` fills rows [first, first + count) as f32.
    using ReadRows = std::function<void(std::size_t first, std::size_t count, float* to)>;
    void add(const std::string& name, std::vector<std::size_t> shape, ReadRows read) {
        const ElementType type = type_for(name, shape);
        const std::size_t columns = shape.empty() ? 1 : std::max<std::size_t>(shape.back(), 1);
        std::size_t rows = 1;
        for (std::size_t i = 0; i + 1 < shape.size(); ++i)
            rows = checked_mul(rows, shape[i], "rows of a tensor");
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

// What a recipe read from config.json, under its GGUF names.
inline void add_numbers(GgufExport& to, const HfConfig& config) {
    to.writer.add("general.architecture", config.gguf);
    to.add_file_type();
    for (const auto& [name, number] : config.numbers) {
        const std::string key = config.gguf + "." + name;
        if (const auto* integer = std::get_if<std::int64_t>(&number))
            to.writer.add_u32(key, *integer);
        else if (const auto* real = std::get_if<double>(&number))
            to.writer.add_f32(key, *real);
        else if (const auto* truth = std::get_if<bool>(&number))
            to.writer.add_bool(key, *truth);
        else
            to.writer.add(key, std::get<std::string>(number));
    }
}

// Rows of a tensor [in][out] turned round.
inline GgufExport::ReadRows turned_rows(const TensorSource& source, const std::string& name,
                                        std::size_t in, std::size_t out) {
    return [&source, name, in, out](std::size_t first, std::size_t count, float* rows) {
        std::vector<float> line(out);
        for (std::size_t k = 0; k < in; ++k) {
            source.read(name, k * out, line);
            for (std::size_t n = 0; n < count; ++n) rows[n * in + k] = line[first + n];
        }
    };
}
// The row that becomes row `r` of `all`. Paired: row 2i + j of a head comes from row j * head / 2 +
// i. By head: all queries, keys, values come from those of one head after the other.
inline std::size_t moved_row(const TensorEntry& line, std::size_t all, std::size_t r) {
    if (line.head > 0) {
        const auto head = static_cast<std::size_t>(line.head);
        const std::size_t in_head = r % head;
        return r - in_head + in_head % 2 * (head / 2) + in_head / 2;
    }
    const auto width = static_cast<std::size_t>(line.by_head);
    const std::size_t part = r / (all / 3);
    const std::size_t of_part = r % (all / 3);
    return (of_part / width * 3 + part) * width + of_part % width;
}
// Rows in another order, and a number more in each place.
inline GgufExport::ReadRows moved_rows(const TensorSource& source, const std::string& name,
                                       const TensorEntry& line, std::vector<std::size_t> shape) {
    return [&source, name, &line, shape = std::move(shape)](std::size_t first, std::size_t count,
                                                            float* to) {
        const std::size_t columns = shape.size() > 1 ? shape.back() : 1;
        // A vector is one row to who asks, and a column here.
        if (shape.size() == 1) first = 0, count = shape[0];
        for (std::size_t r = first; r < first + count; ++r, to += columns) {
            const bool moved = line.head > 0 || line.by_head > 0;
            const std::size_t row = moved ? moved_row(line, shape[0], r) : r;
            source.read(name, row * columns, {to, columns});
            for (std::size_t c = 0; c < columns; ++c) to[c] += line.more;
        }
    };
}
// Rows of a stack: those of its matrices, one after the other.
inline GgufExport::ReadRows stacked_rows(const TensorSource& source, const TensorEntry& line,
                                         std::size_t columns) {
    return [&source, &line, columns](std::size_t first, std::size_t count, float* rows) {
        const std::size_t each =
            line.shape.size() > 2 ? static_cast<std::size_t>(line.shape[1]) : 1;
        for (std::size_t r = first; r < first + count; ++r, rows += columns)
            source.read(line.part(r / each).hf, r % each * columns, {rows, columns});
    };
}

// A tensor of a model's table, if the model or the format has it.
inline void add_line(GgufExport& to, const TensorTable& table, const TensorEntry& line,
                     const TensorSource& source) {
    const auto file_name = [&](const TensorEntry& of) {
        return table.name_in(of, source, ModelFormat::hugging_face);
    };
    if (line.gguf.empty()) return;
    std::vector<std::size_t> shape(line.shape.begin(), line.shape.end());
    if (!line.numbers.empty()) {
        if (shape.empty()) shape.push_back(line.numbers.size());
        to.add(line.gguf, std::move(shape),
               [&line](std::size_t first, std::size_t count, float* rows) {
                   const std::size_t columns = line.shape.empty()
                                                   ? line.numbers.size()
                                                   : static_cast<std::size_t>(line.shape.back());
                   std::copy_n(line.numbers.begin() + static_cast<std::ptrdiff_t>(first * columns),
                               count * columns, rows);
               });
        return;
    }
    if (line.zeros > 0)
        return to.add(line.gguf, {line.zeros},
                      [columns = line.zeros](std::size_t, std::size_t count, float* rows) {
                          std::fill_n(rows, count * columns, 0.0F);
                      });
    const TensorEntry* from = line.stand_in.empty() ? &line : table.find(line.stand_in);
    if (from == nullptr || from->hf.empty() || from->need == Need::never) return;
    const std::string name = file_name(*from);
    if (!line.stacked() && source.shape(name) == nullptr) return;  // optional
    if (shape.empty()) shape = *source.shape(name);
    const std::size_t columns = shape.back();
    if (line.step > 0) return to.add(line.gguf, std::move(shape), picked_rows(source, name, line));
    GgufExport::ReadRows read = to.plain_rows(source, name, columns);
    if (from->stacked()) read = stacked_rows(source, *from, columns);
    if (from->transposed) read = turned_rows(source, name, columns, shape[0]);
    if (from->head > 0 || from->by_head > 0 || from->more != 0.0F)
        read = moved_rows(source, name, *from, shape);
    to.add(line.gguf, std::move(shape), std::move(read));
}

// Merges as texts of two parts, or where pieces have scores as the ranks of what they make.
inline void add_merges(const Json& from, const std::unordered_map<std::string, std::size_t>& ids,
                       std::vector<std::string>* texts, std::vector<double>& scores) {
    double rank = 0.0;
    for (const Json& merge : from) {
        const std::string text =
            merge.is_array() ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                             : merge.get<std::string>();
        rank -= 1.0;
        if (texts != nullptr) {
            texts->push_back(text);
            continue;
        }
        const std::size_t space = text.find(' ');
        const auto at = ids.find(text.substr(0, space) + text.substr(space + 1));
        if (at != ids.end() && scores[at->second] == 0.0) scores[at->second] = rank;
    }
}
// The tokenizer of a folder as metadata.
inline void add_tokenizer(GgufWriter& w, const std::filesystem::path& folder, int vocabulary,
                          const std::vector<Token>& end_of_text, const FileLimits& limits) {
    const std::filesystem::path path = folder / "tokenizer.json";
    if (!name_exists(path.string())) {
        w.add("tokenizer.ggml.model", std::string("no_vocab"));
        return add_end_of_text(w, end_of_text, -1);
    }
    const std::string where = path.string();
    const JsonDocument document(
        parse_json(read_json_file(where, limits), ErrorCode::bad_tokenizer, where, limits));
    const Json& json = *document;
    TokenizerJson reader;
    reader.load(json, limits);
    const Vocabulary& v = reader.v;
    check_vocabulary(v.bytes.size(), vocabulary, where);
    const bool sentence = v.kind == Vocabulary::Kind::sentence;
    require(sentence || v.kind == Vocabulary::Kind::bytes, ErrorCode::unsupported, where,
            ": only vocabularies with merges are written to GGUF files");
    require(!sentence || v.pre_tokenizer.empty(), ErrorCode::unsupported, where,
            ": its pre_tokenizer has no name in GGUF files");
    require(sentence ? v.normalizer.only_spaces() : v.normalizer.only_composes(),
            ErrorCode::unsupported, where, ": its normalizer has no form in GGUF files");
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
    add_merges(model["merges"], ids, sentence ? nullptr : &merges.strings, scores.numbers);
    w.add("tokenizer.ggml.model", std::string(sentence ? "llama" : "gpt2"));
    if (!sentence) {
        const std::string name = v.pre_tokenizer.gguf_name(v.ignore_merges);
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
    const auto message = std::find_if(v.added.begin(), v.added.end(), [](const auto& added) {
        return added.content == "<|eom_id|>";
    });
    add_end_of_text(w, end_of_text, message != v.added.end() ? message->id : -1);
    if (sentence && v.unknown >= 0) w.add_u32("tokenizer.ggml.unknown_token_id", v.unknown);
    const std::string chat = folder_chat_template(folder, limits);
    if (!chat.empty()) w.add("tokenizer.chat_template", chat);
}

}  // namespace internal

/// Writes the model at `from` (a GGUF file or a folder) as a GGUF file with matrices of `type`:
/// f32, f16, bf16, q8_0, q4_0 or q4_1. Matrices whose rows do not divide become f16, and the report
/// says so. Throws Error{io, bad_file, bad_config, bad_tokenizer, unsupported, limit}, and
/// Error{invalid_argument} before any work if `to` belongs to the model (`check_not_model`).
CAIRN_IO_LINKAGE ExportReport export_gguf(const std::string& from, const std::string& to,
                                          ElementType type, const Progress& progress = {},
                                          const FileLimits& limits = {}) {
    const FpEnvironment environment;
    check_not_model(from, to);
    ExportReport report;
    internal::GgufExport job(type, report);
    std::error_code error;
    const std::filesystem::path folder(from);
    if (!std::filesystem::is_directory(folder, error)) {
        require(name_exists(from), ErrorCode::io, from, ": no such file or folder");
        const GgufSource source(from, limits);
        internal::add_gguf_tensors(job, source);
        job.writer.write(to, progress);
        return report;
    }
    const std::string config_path = (folder / "config.json").string();
    const std::string text = read_json_file(config_path, limits);
    const FolderTensors source(folder, limits);
    HfConfig config = parse_hf_config(text, config_path, limits, source);
    const TensorTable& tensors = config.recipe.tensors;
    require(!config.gguf.empty(), ErrorCode::unsupported, config_path, ": ", config.architecture,
            " has no form in GGUF files");
    require(config.recipe.not_in_gguf.empty(), ErrorCode::unsupported, config_path, ": ",
            config.recipe.not_in_gguf);
    tensors.check(source, ModelFormat::hugging_face).done();
    internal::add_numbers(job, config);
    for (const TensorEntry& line : tensors.lines()) internal::add_line(job, tensors, line, source);
    internal::add_tokenizer(job.writer, folder, config.vocabulary(),
                            folder_end_of_text(folder, config, limits), limits);
    job.writer.write(to, progress);
    return report;
}
#endif

}}  // namespace cairn
