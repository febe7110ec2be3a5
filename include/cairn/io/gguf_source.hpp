// The tensors and metadata of a GGUF model: one file, or all of a split one.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cairn/io/gguf.hpp"
#include "cairn/layers/quantised.hpp"
#include "cairn/models/tensor_source.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A TensorSource over GGUF files; names are the file's.
class GgufSource final : public TensorSource {
  public:
    /// Opens and validates the file; a split file opens all of its parts, given any one of them.
    /// Throws Error{io, bad_file, unsupported, limit}.
    explicit GgufSource(const std::string& path, const FileLimits& limits = {}) {
        open(path, limits);
        const std::int64_t count = metadata().integer("split.count", 1, 65'535, 1);
        if (count > 1) open_split(path, count, limits);
        for (const auto& part : parts_)
            for (const auto& [name, tensor] : part->header.tensors)
                require(tensors_.emplace(name, Tensor{part.get(), &tensor}).second,
                        ErrorCode::bad_file, path, ": tensor ", name, " is in two parts");
        const std::int64_t total = metadata().integer("split.tensors.count", 0, 1 << 24, -1);
        require(count == 1 || total < 0 || static_cast<std::size_t>(total) == tensors_.size(),
                ErrorCode::bad_file, path, ": ", tensors_.size(),
                " tensors; split.tensors.count is ", total);
    }

    /// Of the first part, which holds the model's.
    const GgufMetadata& metadata() const noexcept { return parts_.front()->header.metadata; }
    const std::vector<std::size_t>* shape(std::string_view name) const override {
        const auto at = tensors_.find(name);
        return at == tensors_.end() ? nullptr : &at->second.entry->shape;
    }
    ElementType type(std::string_view name) const override {
        return tensors_.find(name)->second.entry->type;
    }
    void read(std::string_view name, std::size_t first, std::span<float> to) const override {
        const ElementType stored = type(name);
        const BlockSize& block = block_size(stored);
        constexpr std::size_t step = std::size_t{1} << 16;
        std::vector<std::byte> bytes(block.size_of(std::min(step, to.size())));
        for (std::size_t at = 0; at < to.size(); at += step) {
            const std::size_t count = std::min(step, to.size() - at);
            const std::span part(bytes.data(), block.size_of(count));
            read_stored(name, first + at, part);
            quantised::decode(stored, part.data(), count, to.data() + at);
        }
    }
    void read_stored(std::string_view name, std::size_t first,
                     std::span<std::byte> to) const override {
        const Tensor& tensor = tensors_.find(name)->second;
        tensor.part->file.read(tensor.entry->begin + block_size(tensor.entry->type).size_of(first),
                               to);
    }
    WeightMatrix matrix(std::ptrdiff_t out, std::ptrdiff_t in, ElementType type) const override {
        return weight_matrix(out, in, type);
    }
    std::vector<std::string> names() const override { return internal::names_of(tensors_); }
    /// All tensors by name, for programs that show or copy them.
    std::vector<std::pair<std::string, const GgufTensor*>> tensors() const {
        std::vector<std::pair<std::string, const GgufTensor*>> result;
        for (const auto& [name, tensor] : tensors_) result.emplace_back(name, tensor.entry);
        return result;
    }
    /// Bytes of all files.
    std::size_t file_bytes() const noexcept {
        std::size_t sum = 0;
        for (const auto& part : parts_) sum += part->file.size();
        return sum;
    }

  private:
    struct Part {
        InputFile file;
        GgufHeader header;
    };
    struct Tensor {
        const Part* part;
        const GgufTensor* entry;
    };

    void open(const std::string& path, const FileLimits& limits) {
        InputFile file(path);
        GgufHeader header =
            parse_gguf([&](std::size_t offset, std::span<std::byte> to) { file.read(offset, to); },
                       file.size(), path, limits);
        parts_.push_back(std::make_unique<Part>(Part{std::move(file), std::move(header)}));
    }
    // Parts are named PREFIX-00002-of-00003.gguf and lie in one folder.
    void open_split(const std::string& path, std::int64_t count, const FileLimits& limits) {
        const std::int64_t number = metadata().integer("split.no", 0, count - 1);
        const std::filesystem::path file(path);
        const std::string name = file.filename().string();
        const std::string ending = split_ending(number, count);
        require(name.ends_with(ending), ErrorCode::bad_file, path, ": part ", number + 1, " of ",
                count, " is not named *", ending);
        internal::check_limit(static_cast<std::size_t>(count), limits.shards, "shards", path,
                              "parts");
        const std::string prefix = name.substr(0, name.size() - ending.size());
        parts_.clear();
        for (std::int64_t i = 0; i < count; ++i) {
            const std::string part =
                (file.parent_path() / (prefix + split_ending(i, count))).string();
            open(part, limits);
            const GgufMetadata& own = parts_.back()->header.metadata;
            require(own.integer("split.no", 0, 65'535) == i &&
                        own.integer("split.count", 0, 65'535) == count,
                    ErrorCode::bad_file, part, ": does not say that it is part ", i + 1, " of ",
                    count);
        }
    }
    static std::string split_ending(std::int64_t number, std::int64_t count) {
        char text[64];
        std::snprintf(text, sizeof text, "-%05lld-of-%05lld.gguf",
                      static_cast<long long>(number + 1), static_cast<long long>(count));
        return text;
    }

    std::vector<std::unique_ptr<Part>> parts_;
    std::map<std::string, Tensor, std::less<>> tensors_;
};

}}  // namespace cairn
