// The tensors of a model folder as recipes know them.
//
//   names    those of a text model inside one of several kinds of input: language_model.model.X or
//            model.language_model.X is model.X here, language_model.X is X
//   mxfp4    one tensor NAME [stack][out][in] in place of two: NAME_blocks
//            [stack][out][in / 32][16], two four-bit floats a byte, and NAME_scales
//            [stack][out][in / 32], a power of two for each block. A file's byte i holds numbers
//            2 i and 2 i + 1, a block's of ElementType::mxfp4 i and i + 16, behind its scale.
//   fp8      one tensor of f32 in place of a matrix of eight-bit floats and its scales
//            (io/scaled_float8.hpp)
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/io/scaled_float8.hpp"
#include "cairn/layers/quantised.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A TensorSource over a folder.
class FolderTensors final : public TensorSource {
  public:
    /// Opens and validates all files; of config.json it reads how numbers are stored. Throws
    /// Error{io, bad_file, bad_config, unsupported, limit}.
    explicit FolderTensors(const std::filesystem::path& folder, const FileLimits& limits = {})
        : files_(folder, limits) {
        const std::vector<std::string> files = files_.names();
        const bool plain = std::any_of(files.begin(), files.end(), [](const std::string& name) {
            return name.starts_with("model.layers.") || name.starts_with("model.embed_tokens.");
        });
        for (const std::string& file : files) {
            const std::string name = plain ? file : inner_name(file);
            require(tensors_.emplace(name, Tensor{file, {}, {}}).second, ErrorCode::bad_file,
                    folder.string(), ": tensor \"", name.substr(0, 100), "\" is there twice");
        }
        for (const std::string& file : files)
            if (file.ends_with(blocks_end)) pack(plain ? file : inner_name(file));
        const Float8Scaling scaling = read_float8_scaling(folder, limits);
        if (scaling.ending.empty()) return;
        for (const std::string& file : files)
            if (files_.dtype(file) == "F8_E4M3") scale(plain ? file : inner_name(file), scaling);
        for (const auto& [name, tensor] : tensors_) {
            if (!name.ends_with(scaling.ending)) continue;
            const auto of = tensors_.find(name.substr(0, name.size() - scaling.ending.size()));
            require(of == tensors_.end(), ErrorCode::bad_file, "tensor \"", name.substr(0, 100),
                    "\" scales numbers that are no F8_E4M3");
        }
    }

    const std::vector<std::size_t>* shape(std::string_view name) const override {
        const auto at = tensors_.find(name);
        if (at == tensors_.end()) return nullptr;
        return at->second.packed() ? &at->second.shape : files_.shape(at->second.file);
    }
    ElementType type(std::string_view name) const override {
        const Tensor& tensor = tensors_.find(name)->second;
        if (tensor.scaled) return ElementType::f32;
        return tensor.packed() ? ElementType::mxfp4 : files_.type(tensor.file);
    }
    void read(std::string_view name, std::size_t first, std::span<float> to) const override {
        const Tensor& tensor = tensors_.find(name)->second;
        if (tensor.scaled) return tensor.scaled->read(files_, first, to);
        if (!tensor.packed()) return files_.read(tensor.file, first, to);
        std::vector<std::byte> bytes(block_size(ElementType::mxfp4).size_of(to.size()));
        read_stored(name, first, bytes);
        quantised::decode(ElementType::mxfp4, bytes.data(), to.size(), to.data());
    }
    void read_stored(std::string_view name, std::size_t first,
                     std::span<std::byte> to) const override {
        const Tensor& tensor = tensors_.find(name)->second;
        if (tensor.scaled) {
            std::vector<float> numbers(to.size() / sizeof(float));
            tensor.scaled->read(files_, first, numbers);
            const auto bytes = std::as_bytes(std::span(numbers));
            std::copy(bytes.begin(), bytes.end(), to.begin());
            return;
        }
        if (!tensor.packed()) return files_.read_stored(tensor.file, first, to);
        constexpr std::size_t block = block_size(ElementType::mxfp4).bytes;
        const std::size_t count = to.size() / block;
        std::vector<std::byte> codes(16 * count);
        std::vector<std::byte> scales(count);
        files_.read_bytes(tensor.file + blocks_end, first / 32 * 16, codes);
        files_.read_bytes(tensor.file + scales_end, first / 32, scales);
        for (std::size_t b = 0; b < count; ++b) {
            std::byte* at = &to[block * b];
            *at++ = scales[b];
            // Numbers 2 i and 2 i + 1, and those 16 behind them.
            const std::byte* from = &codes[16 * b];
            for (int i = 0; i < 8; ++i) {
                *at++ = (from[i] & std::byte{0x0F}) | (from[8 + i] << 4);
                *at++ = (from[i] >> 4) | (from[8 + i] & std::byte{0xF0});
            }
        }
    }
    WeightMatrix matrix(std::ptrdiff_t out, std::ptrdiff_t in, ElementType type) const override {
        return weight_matrix(out, in, type);
    }
    std::vector<std::string> names() const override { return internal::names_of(tensors_); }

  private:
    static constexpr const char* blocks_end = "_blocks";
    static constexpr const char* scales_end = "_scales";
    struct Tensor {
        std::string file;                // its name there, or what the two names begin with
        std::vector<std::size_t> shape;  // of mxfp4; none: as in the file
        std::optional<ScaledFloat8> scaled;
        bool packed() const noexcept { return !shape.empty(); }
    };

    static std::string inner_name(const std::string& file) {
        constexpr std::string_view outside = "language_model.";
        constexpr std::string_view inside = "model.language_model.";
        if (file.starts_with(outside)) return file.substr(outside.size());
        if (file.starts_with(inside)) return "model." + file.substr(inside.size());
        return file;
    }
    // Two tensors become one.
    void pack(const std::string& blocks_name) {
        const std::size_t end = std::string_view(blocks_end).size();
        const std::string name = blocks_name.substr(0, blocks_name.size() - end);
        const auto blocks = tensors_.find(blocks_name);
        const auto scales = tensors_.find(name + scales_end);
        if (scales == tensors_.end()) return;
        const std::string& file = blocks->second.file;
        const std::string begin = file.substr(0, file.size() - end);
        require(!scales->second.packed() && scales->second.file == begin + scales_end,
                ErrorCode::bad_file, "tensors \"", name.substr(0, 100), blocks_end, "\" and ",
                scales_end, " are called \"", file.substr(0, 100), "\" and \"",
                scales->second.file.substr(0, 100), "\" in their files");
        std::vector<std::size_t> shape = *files_.shape(file);
        const std::vector<std::size_t>& powers = *files_.shape(scales->second.file);
        const bool fits = shape.size() >= 3 && shape.size() == powers.size() + 1 &&
                          shape.back() == 16 &&
                          std::equal(powers.begin(), powers.end(), shape.begin()) &&
                          files_.dtype(file) == "U8" && files_.dtype(scales->second.file) == "U8";
        require(fits, ErrorCode::bad_file, "tensors \"", name.substr(0, 100), blocks_end, "\" and ",
                scales_end, " are no mxfp4: bytes [..][in / 32][16] and [..][in / 32] are needed");
        shape.pop_back();
        shape.back() = checked_mul(shape.back(), 32, name);
        Tensor both{begin, std::move(shape), {}};
        tensors_.erase(blocks), tensors_.erase(scales);
        require(tensors_.emplace(name, std::move(both)).second, ErrorCode::bad_file, "tensor \"",
                name.substr(0, 100), "\" is there twice");
    }

    // A matrix takes its scales in.
    void scale(const std::string& name, const Float8Scaling& scaling) {
        Tensor& matrix = tensors_.find(name)->second;
        const auto scales = tensors_.find(name + scaling.ending);
        const bool other = scales == tensors_.end() && tensors_.contains(name + "_scale");
        require(!other, ErrorCode::unsupported, "tensor \"", name.substr(0, 100),
                "\" of eight-bit floats has scales \"_scale\", where \"", scaling.ending,
                "\" is read");
        require(scales != tensors_.end() && !scales->second.packed(), ErrorCode::bad_file,
                "tensor \"", name.substr(0, 100), "\" of eight-bit floats has no scales \"",
                scaling.ending, "\" beside it");
        matrix.scaled.emplace(files_, matrix.file, scales->second.file, scaling);
        tensors_.erase(scales);
    }

    SafetensorsSource files_;
    std::map<std::string, Tensor, std::less<>> tensors_;
};

}}  // namespace cairn
