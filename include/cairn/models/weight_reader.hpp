// The parts of a model out of a file, by the names of its table: what a recipe assembles blocks
// from.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/layers/embedding.hpp"
#include "cairn/layers/norm.hpp"
#include "cairn/models/load_tensor.hpp"
#include "cairn/models/tensor_table.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Reads tensors of one file. Names are those of the table (`TensorEntry::name`), whatever the file
/// calls them; a name that is no line is Error{invalid_argument}. Every call that reads throws
/// Error{non_finite, out_of_memory} and what the source throws.
class WeightReader {
  public:
    /// Holds the source against the table first: Error{bad_config} lists every tensor that is
    /// missing, has another shape or belongs to a layer that the table has not. All three must
    /// outlive the reader.
    [[gnu::cold]] WeightReader(const TensorTable& table, const TensorSource& source,
                               ModelFormat format, const LoadOptions& options)
        : table_(table), source_(source), format_(format), options_(options) {
        table.check(source, format).done();
        for (const TensorEntry& line : table.lines())
            if (has(line)) total_ += line.stacked() ? static_cast<int>(line.shape.front()) : 1;
    }

    ModelFormat format() const noexcept { return format_; }
    /// Whether the model needs this tensor, or it is optional and there.
    bool has(const std::string& name) const {
        const TensorEntry* line = table_.find(name);
        return line != nullptr && has(*line);
    }
    /// A vector, or any other tensor as plain numbers; those of a line whose name has a star side
    /// by side.
    std::vector<float> vector(const std::string& name) {
        const TensorEntry& line = this->line(name);
        const int parts = line.stacked() ? static_cast<int>(line.shape.front()) : 1;
        if (!line.stacked() || format_ == ModelFormat::gguf) {
            std::vector<float> result = load_vector(source_, file_name(line));
            for (int i = 0; i < parts; ++i) count();
            return result;
        }
        std::vector<float> result;
        for (int i = 0; i < parts; ++i) {
            const auto one =
                load_vector(source_, file_name(line.part(static_cast<std::size_t>(i))));
            result.insert(result.end(), one.begin(), one.end());
            count();
        }
        return result;
    }
    /// A matrix [out][in], or some rows of one. A tensor whose rows are taken in several calls
    /// counts as often as it is read.
    WeightMatrix matrix(const std::string& name, const TensorRows& rows = {}) {
        const TensorEntry& line = this->line(name);
        return load(file_name(line), rows, line.transposed);
    }
    /// One of the matrices of a line whose name has a star, or of a stack that only GGUF files
    /// have: by its number.
    WeightMatrix matrix(const std::string& name, int number) {
        const TensorEntry& line = this->line(name);
        require(line.shape.size() == 3 && number >= 0 && number < line.shape[0],
                ErrorCode::invalid_argument, "recipe: matrix ", number, " of tensor ", name);
        if (format_ != ModelFormat::gguf)
            return load(file_name(line.part(static_cast<std::size_t>(number))), {}, false);
        return load(file_name(line), {line.shape[1], {}, number * line.shape[1]}, false);
    }
    /// Some rows of a matrix [out][in] turned round: [in][rows], or every `step`th row of that from
    /// `first` on. Of block types the numbers that they stand for, as f32.
    [[gnu::cold]] WeightMatrix turned(const std::string& name, const TensorRows& rows,
                                      std::ptrdiff_t first = 0, std::ptrdiff_t step = 1) {
        LoadOptions plain = options_;
        plain.format = nullptr;
        const std::string file = file_name(line(name));
        const WeightMatrix from = load_matrix(source_, file, StoredAs::out_in, plain, rows);
        const std::ptrdiff_t all = from.in();
        const std::ptrdiff_t in = (all - first + step - 1) / step;
        std::vector<float> row(static_cast<std::size_t>(all));
        std::vector<float> numbers(static_cast<std::size_t>(from.out() * in));
        for (std::ptrdiff_t r = 0; r < from.out(); ++r) {
            from.row(r, row.data());
            for (std::ptrdiff_t c = 0; c < in; ++c)
                numbers[static_cast<std::size_t>(r * in + c)] =
                    row[static_cast<std::size_t>(first + c * step)];
        }
        const bool own = options_.format != nullptr && is_plain(source_.type(file));
        WeightMatrix result =
            own ? weight_matrix(in, from.out(), options_.format)
                : WeightMatrix(in, from.out(),
                               is_plain(from.type()) ? from.type() : ElementType::f32);
        result.move_into(region_);
        if (own)
            internal::put_columns(result, 0, in, numbers.data(), from.out(), in);
        else
            result.put(0, 0, in, from.out(), numbers.data(), 1, in);
        count();
        return result;
    }
    /// NAME.weight, and NAME.bias where the model has one.
    [[gnu::cold]] Linear linear(const std::string& name) {
        WeightMatrix weights = matrix(name + ".weight");
        const std::string bias = name + ".bias";
        return Linear(std::move(weights), has(bias) ? vector(bias) : std::vector<float>());
    }
    /// One of a stack: matrix(NAME.weight, number).
    Linear linear(const std::string& name, int number) {
        return Linear(matrix(name + ".weight", number));
    }
    /// Some rows of NAME.weight and NAME.bias: one of the layers that a file keeps in one tensor.
    /// Error{invalid_argument} for no rows, or one that a tensor has not.
    [[gnu::cold]] Linear linear(const std::string& name, const TensorRows& rows) {
        require(rows.count > 0 && rows.some(), ErrorCode::invalid_argument, "recipe: ", rows.count,
                " rows of ", name, ".weight");
        WeightMatrix weights = matrix(name + ".weight", rows);
        if (!has(name + ".bias")) return Linear(std::move(weights));
        const std::vector<float> all = vector(name + ".bias");
        std::vector<float> bias;
        for (std::ptrdiff_t r = 0; r < rows.count; ++r) {
            internal::check_row(rows, r, name + ".bias", all.size());
            bias.push_back(all[static_cast<std::size_t>(rows(r))]);
        }
        return Linear(std::move(weights), std::move(bias));
    }
    /// Layers with the same input, side by side: queries, keys and values.
    JoinedLinear joined(std::initializer_list<std::string> names) {
        std::vector<Linear> parts;
        for (const std::string& name : names) parts.push_back(linear(name));
        return JoinedLinear(std::move(parts));
    }
    /// NAME.weight as a norm.
    RmsNorm rms_norm(const std::string& name, float epsilon) {
        return {vector(name + ".weight"), epsilon};
    }
    /// NAME.weight and NAME.bias as a norm.
    LayerNorm layer_norm(const std::string& name, float epsilon) {
        std::vector<float> weight = vector(name + ".weight");
        return {std::move(weight), vector(name + ".bias"), epsilon};
    }
    /// NAME.weight, a row a token.
    Embedding embedding(const std::string& name) { return Embedding(matrix(name + ".weight")); }
    /// The output layer; none where it is tied to the embedding (its line's need is `never`).
    std::optional<Linear> output(const std::string& name) {
        if (!has(name + ".weight")) return std::nullopt;
        return linear(name);
    }

  private:
    std::string file_name(const TensorEntry& line) const {
        return table_.name_in(line, source_, format_);
    }
    bool has(const TensorEntry& line) const {
        if (line.need == Need::never || line.name(format_).empty()) return false;
        return line.need == Need::always || source_.shape(file_name(line)) != nullptr;
    }
    WeightMatrix load(const std::string& file, const TensorRows& rows, bool transposed) {
        const bool turned = transposed && format_ == ModelFormat::hugging_face;
        WeightMatrix result = load_matrix(
            source_, file, turned ? StoredAs::in_out : StoredAs::out_in, options_, rows, &region_);
        count();
        return result;
    }
    const TensorEntry& line(const std::string& name) const {
        const TensorEntry* line = table_.find(name);
        require(line != nullptr && has(*line), ErrorCode::invalid_argument, "recipe: tensor ", name,
                " is not in the table, or not in this model");
        return *line;
    }
    void count() {
        ++done_;
        if (options_.progress) options_.progress(done_, std::max(done_, total_));
    }

    const TensorTable& table_;
    const TensorSource& source_;
    ModelFormat format_;
    const LoadOptions& options_;
    Region region_;  // the matrices of a model lie side by side
    int done_ = 0;
    int total_ = 0;
};

namespace internal {

/// What the frequencies of the rotation are divided by. Error{bad_config} naming the tensor.
[[gnu::cold]] inline std::vector<float> read_rotary_divisors(
    const std::string& architecture, int dims, WeightReader& reader,
    const char* name = "rope_freqs.weight") {
    std::vector<float> result = reader.vector(name);
    const auto pairs = static_cast<std::size_t>(dims / 2);
    require(result.size() == pairs, ErrorCode::bad_config, architecture, ": tensor ", name, " has ",
            result.size(), " numbers for ", pairs, " frequencies");
    for (std::size_t i = 0; i < pairs; ++i)
        require(result[i] >= 1.0F / 32.0F && result[i] < 1e6F, ErrorCode::bad_config, architecture,
                ": tensor ", name, ": number ", i, " is ", result[i],
                "; frequencies can be divided by 1/32 to 1e6");
    return result;
}

}  // namespace internal

}}  // namespace cairn
