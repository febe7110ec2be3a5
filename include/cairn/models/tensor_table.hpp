// The table of a recipe: each tensor of a model with its names in both kinds of file and its shape.
// Checking a file, loading it and exporting it follow from this one table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/models/tensor_check.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The two kinds of file that models come in; their tensors have different names.
enum class ModelFormat : std::uint8_t { hugging_face, gguf };

/// Whether a model has a tensor. `never`: not with these numbers, so it is not read.
enum class Need : std::uint8_t { always, optional, never };

/// The numbers of rows, columns, ... of a tensor, slowest first: {out, in} or {n}.
struct TensorShape {
    std::ptrdiff_t sizes[4]{};
};

/// One line of the table: a tensor. Names need to live only until the line was added.
///
/// A star in the Hugging Face name stands for a number: such files have a matrix (or a vector) of
/// that name for each of sizes[0] numbers ("mlp.experts.*.up_proj.weight"), GGUF files one stack of
/// all.
struct TensorLine {
    std::string_view hf;    ///< name in Hugging Face's files; empty: not there
    std::string_view gguf;  ///< name in GGUF files; empty: not there
    TensorShape shape{};    ///< {out, in} or {n}; none: any
    Need need = Need::always;
    /// Hugging Face's file holds [in, out].
    bool transposed = false;
    /// Rows of a head whose halves GGUF files mix: row 2i + j comes from row j * head / 2 + i. 0:
    /// rows keep their order. Loading leaves rows as they are; only an export moves them.
    std::ptrdiff_t head = 0;
    /// For an export: the tensor (of the same layer) that stands for this one where it is not
    /// needed.
    std::string_view stand_in{};
    /// Width of a head where Hugging Face's rows are queries, keys and values of one head after the
    /// other, and GGUF's all queries, all keys, all values. 0: alike in both. Only an export moves
    /// them, as with `head`.
    std::ptrdiff_t by_head = 0;
    /// GGUF files hold this much more than Hugging Face's: Gemma's norms.
    float more = 0.0F;
    /// For an export of a tensor that only GGUF files have: its outputs are every `step`th of
    /// `stand_in`'s from `first` on, which holds [stack][in][out] where this one is `transposed`.
    /// 0: all of them, alike.
    int first = 0;
    int step = 0;
};

/// A line as a table keeps it.
struct TensorEntry {
    std::string hf;
    std::string gguf;
    std::vector<std::ptrdiff_t> shape{};
    Need need = Need::always;
    bool transposed = false;
    std::ptrdiff_t head = 0;
    std::string stand_in{};
    std::ptrdiff_t by_head = 0;
    float more = 0.0F;
    int first = 0;
    int step = 0;
    std::vector<float> numbers{};  ///< for an export: of a tensor that only GGUF files have
    std::size_t zeros = 0;         ///< the same: so many zeros

    /// What recipes call it: its Hugging Face name, or the other where there is none.
    const std::string& name() const noexcept { return hf.empty() ? gguf : hf; }
    const std::string& name(ModelFormat format) const noexcept {
        return format == ModelFormat::gguf ? gguf : hf;
    }
    /// Whether it stands for a matrix each of shape[0] numbers.
    bool stacked() const noexcept { return hf.find('*') != std::string::npos; }
    /// The Hugging Face line of one of them.
    TensorEntry part(std::size_t number) const {
        TensorEntry result = *this;
        result.hf.replace(hf.find('*'), 1, std::to_string(number));
        result.shape.erase(result.shape.begin());
        return result;
    }
};

/// The lines of a model, in the order in which an export writes them.
class TensorTable {
  public:
    /// `left_out` is what Hugging Face's files may leave out in front of their names, all or none.
    explicit TensorTable(std::string left_out = {}) : left_out_(std::move(left_out)) {}

    /// Error{invalid_argument} for a name that the table has, as from `layer` and `add_numbers`.
    void add(std::initializer_list<TensorLine> lines) {
        for (const TensorLine& line : lines) add(line, {}, {});
    }
    /// An optional tensor that only GGUF files have, and its numbers for an export; none: it is
    /// not written.
    void add_numbers(std::string_view gguf, std::vector<float> numbers) {
        add({.hf = {}, .gguf = gguf, .need = Need::optional}, {}, {});
        lines_.back().numbers = std::move(numbers);
    }
    /// The same whose numbers are `count` zeros; none are made here.
    void add_zeros(std::string_view gguf, std::size_t count) {
        add_numbers(gguf, {});
        lines_.back().zeros = count;
    }
    /// What stands in front of a layer's number, and how many layers there are: tensors of others
    /// are an error, but for the `predicting` layers behind the last (`TensorCheck`).
    void layers(std::string hf, std::string gguf, int count, int predicting = 0) {
        hf_layer_ = std::move(hf);
        gguf_layer_ = std::move(gguf);
        count_ = count;
        predicting_ = predicting;
    }
    /// Lines of layer `i`, whose names follow "PREFIX" "i" ".".
    void layer(int i, std::initializer_list<TensorLine> lines) {
        const std::string gguf = gguf_layer_ + std::to_string(i) + ".";
        for (const TensorLine& line : lines) add(line, layer_name(i), gguf);
    }
    /// What the names of layer `i` begin with in recipes: "model.layers.3.".
    std::string layer_name(int i) const { return hf_layer_ + std::to_string(i) + "."; }

    const std::vector<TensorEntry>& lines() const noexcept { return lines_; }
    /// The line of this name, or null.
    const TensorEntry* find(std::string_view name) const {
        const auto at = index_.find(name);
        return at == index_.end() ? nullptr : &lines_[at->second];
    }

    /// The name of a line in this source; empty if such files never hold it.
    std::string name_in(const TensorEntry& line, const TensorSource& source,
                        ModelFormat format) const {
        return shortened(line.name(format), source, format);
    }
    /// Holds a source against the table.
    [[gnu::cold]] TensorCheck check(const TensorSource& source, ModelFormat format) const {
        TensorCheck check(source);
        const bool gguf = format == ModelFormat::gguf;
        for (const TensorEntry& line : lines_) {
            if (line.need == Need::never || line.name(format).empty()) continue;
            if (gguf || !line.stacked()) {
                check_line(line, source, format, check);
                continue;
            }
            // Of the missing ones only the first: their number is the configuration's.
            bool there = true;
            for (std::ptrdiff_t i = 0; there && i < line.shape.front(); ++i)
                there = check_line(line.part(static_cast<std::size_t>(i)), source, format, check);
        }
        check.expect_layers(shortened(gguf ? gguf_layer_ : hf_layer_, source, format), count_,
                            predicting_);
        return check;
    }

  private:
    // Whether the source has it.
    [[gnu::cold]] bool check_line(const TensorEntry& line, const TensorSource& source,
                                  ModelFormat format, TensorCheck& check) const {
        const std::string name = name_in(line, source, format);
        std::vector<std::size_t> shape(line.shape.begin(), line.shape.end());
        if (line.transposed && format == ModelFormat::hugging_face)
            shape.assign(line.shape.rbegin(), line.shape.rend());
        // A line without a shape takes any.
        const bool there = source.shape(name) != nullptr;
        if (there ? shape.empty() : line.need == Need::optional)
            check.allow(name);
        else
            check.expect(name, shape);
        return there;
    }
    [[gnu::cold]] void add(const TensorLine& line, const std::string& hf, const std::string& gguf) {
        TensorEntry entry;
        if (!line.hf.empty()) entry.hf.append(hf).append(line.hf);
        if (!line.gguf.empty()) entry.gguf.append(gguf).append(line.gguf);
        for (const std::ptrdiff_t n : line.shape.sizes)
            if (n != 0) entry.shape.push_back(n);
        entry.need = line.need;
        entry.transposed = line.transposed;
        entry.head = line.head;
        if (!line.stand_in.empty()) entry.stand_in.append(hf).append(line.stand_in);
        entry.by_head = line.by_head;
        entry.more = line.more;
        entry.first = line.first;
        entry.step = line.step;
        require(index_.emplace(entry.name(), lines_.size()).second, ErrorCode::invalid_argument,
                "recipe: tensor ", entry.name(), " is in the table twice");
        require(!entry.stacked() || (entry.shape.size() >= 2 && !entry.transposed),
                ErrorCode::invalid_argument, "recipe: tensor ", entry.name(),
                " stands for several, and has no shape that says how many");
        lines_.push_back(std::move(entry));
    }
    std::string shortened(const std::string& name, const TensorSource& source,
                          ModelFormat format) const {
        if (format == ModelFormat::gguf || left_out_.empty() || !name.starts_with(left_out_) ||
            source.shape(lines_.front().hf) != nullptr)
            return name;
        return name.substr(left_out_.size());
    }
    std::string left_out_;
    std::string hf_layer_;
    std::string gguf_layer_;
    int count_ = 0;
    int predicting_ = 0;
    std::vector<TensorEntry> lines_;
    std::map<std::string, std::size_t, std::less<>> index_;
};

}}  // namespace cairn
