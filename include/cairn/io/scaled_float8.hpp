// Matrices of eight-bit floats (F8_E4M3) as model folders hold them: beside NAME [out][in] a tensor
// of scales. A number is its float times the scale of its block, rounded to f32 once.
//
//   quant_method         the scales        a block
//   fp8                  NAME_scale_inv    weight_block_size, rows and columns (128 x 128 unless
//                                          said); null: the whole matrix
//   compressed-tensors   NAME_scale        block_structure, or a row, or the whole matrix
//
// What such folders say of activations is for machines that multiply eight-bit floats: here they
// stay f32.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cairn/core/fp_environment.hpp"
#include "cairn/io/safetensors_source.hpp"
#include "cairn/numeric/float8.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What the quantization_config of a config.json says of matrices of eight-bit floats.
struct Float8Scaling {
    std::string ending{};  ///< what the scales are called behind the matrix; empty: nothing said
    std::size_t rows = 0;  ///< of a block; 0: the scales' shape says whether a row or all of them
    std::size_t columns = 0;  ///< of a block; 0: all
};

namespace internal {

inline void read_float8_block(const JsonObject& in, const char* key, Float8Scaling& to) {
    const Json* block = in.find(key);
    if (block == nullptr) return;
    require(block->is_array() && block->size() == 2, in.code(), in.where(), ": \"", key, "\" is ",
            JsonObject::shown(*block), "; rows and columns of a block are needed");
    to.rows = static_cast<std::size_t>(in.integer_of((*block)[0], key, 1, 1 << 24));
    to.columns = static_cast<std::size_t>(in.integer_of((*block)[1], key, 1, 1 << 24));
}
// Every group of layers holds eight-bit floats, in blocks of one size where there are any.
[[gnu::cold]] inline void read_compressed_tensors(const JsonObject& from, Float8Scaling& to) {
    const std::string format = from.string("format", "");
    const auto refuse = [&](const char* what, const std::string& said) {
        fail(ErrorCode::unsupported, from.where(), ": ", what, " ", said.substr(0, 60),
             " of compressed-tensors; eight-bit floats (float-quantized) are read");
    };
    if (format != "float-quantized") refuse("format", format);
    to.ending = "_scale";
    const Json* transforms = from.find("transform_config");
    if (transforms != nullptr && !transforms->empty()) refuse("transform_config", "");
    const Json* groups = from.find("config_groups");
    require(groups != nullptr && groups->is_object() && !groups->empty(), from.code(), from.where(),
            ": \"config_groups\" is missing");
    bool first = true;
    for (const auto& [name, value] : groups->items()) {
        const JsonObject group(value, from.code(), from.where() + ": " + name.substr(0, 60));
        const Json* found = group.find("weights");
        require(found != nullptr, from.code(), group.where(), ": \"weights\" is missing");
        const JsonObject weights(*found, from.code(), group.where() + ": weights");
        const auto bits = weights.integer("num_bits", 1, 64, 8);
        const std::string type = weights.string("type", "float");
        if (!weights.boolean("symmetric", true)) refuse("zero points beside weights", "");
        if (bits != 8 || type != "float") refuse("weights of", std::to_string(bits) + " bits");
        Float8Scaling one;
        read_float8_block(weights, "block_structure", one);
        if (!first && (one.rows != to.rows || one.columns != to.columns))
            refuse("several sizes of blocks:", std::to_string(one.rows));
        to.rows = one.rows, to.columns = one.columns, first = false;
    }
}

[[gnu::cold]] inline Float8Scaling float8_scaling(const JsonObject& from) {
    Float8Scaling result;
    const std::string method = from.string("quant_method");
    if (method == "mxfp4") return result;  // its tensors say all
    if (method == "compressed-tensors") {
        read_compressed_tensors(from, result);
        return result;
    }
    require(method == "fp8", ErrorCode::unsupported, from.where(), ": quant_method \"",
            method.substr(0, 60), "\" is not read; known: fp8, mxfp4, compressed-tensors");
    const std::string format = from.string("fmt", "e4m3");
    require(format == "e4m3", ErrorCode::unsupported, from.where(), ": fmt \"",
            format.substr(0, 60), "\"; known: e4m3");
    result.ending = "_scale_inv";
    if (!from.json().contains("weight_block_size")) result.rows = result.columns = 128;
    read_float8_block(from, "weight_block_size", result);
    return result;
}

}  // namespace internal

/// Reads the config.json of a model folder; nothing where there is none, or where it says nothing
/// of how numbers are stored. Throws Error{bad_config, io, limit}, Error{unsupported} for a
/// quant_method that is not read.
[[gnu::cold]] inline Float8Scaling read_float8_scaling(const std::filesystem::path& folder,
                                                       const FileLimits& limits = {}) {
    Float8Scaling result;
    const std::string file = (folder / "config.json").string();
    internal::with_config_file(file, limits, [&](const JsonObject& config) {
        const Json* found = config.find("quantization_config");
        if (found != nullptr)
            result = internal::float8_scaling(JsonObject(*found, ErrorCode::bad_config,
                                                         config.where() + ": quantization_config"));
    });
    return result;
}

/// A matrix of eight-bit floats and its scales, by their names in a folder's files.
class ScaledFloat8 {
  public:
    /// Error{bad_file} naming the tensors if they do not fit together, Error{unsupported} for
    /// floats that are no matrix.
    [[gnu::cold]] ScaledFloat8(const SafetensorsSource& files, std::string codes,
                               std::string scales, const Float8Scaling& scaling)
        : codes_(std::move(codes)), scales_(std::move(scales)) {
        const std::vector<std::size_t>& shape = *files.shape(codes_);
        std::vector<std::size_t> of = *files.shape(scales_);
        require(shape.size() == 2, ErrorCode::unsupported, "tensor \"", codes_.substr(0, 100),
                "\" of eight-bit floats has ", shape.size(), " dimensions; matrices are read");
        require(shape[0] > 0 && shape[1] > 0, ErrorCode::bad_file, "tensor \"",
                codes_.substr(0, 100), "\" of eight-bit floats is ", shown(shape));
        const std::size_t rows = shape[0];
        columns_ = shape[1];
        block_rows_ = scaling.rows > 0 ? scaling.rows : rows;
        block_columns_ = scaling.columns > 0 ? scaling.columns : columns_;
        if (of.size() < 2 && scaling.rows == 0) of.resize(2, 1);
        if (scaling.rows == 0 && of[0] == rows) block_rows_ = 1;
        across_ = (columns_ - 1) / block_columns_ + 1;
        const std::size_t down = (rows - 1) / block_rows_ + 1;
        const bool fits = of.size() == 2 && of[0] == down && of[1] == across_;
        require(fits, ErrorCode::bad_file, "tensor \"", scales_.substr(0, 100), "\" is ",
                shown(*files.shape(scales_)), "; ", shown({down, across_}),
                " scales are needed for ", shown(shape), " floats in blocks of ",
                shown({block_rows_, block_columns_}));
        if (files.dtype(scales_) != "F8_E8M0") files.type(scales_);
    }
    /// to = numbers [first, first + to.size()). Error{io}, Error{non_finite} for a scale that is
    /// NaN or infinite; a float that is NaN becomes one.
    void read(const SafetensorsSource& files, std::size_t first, std::span<float> to) const {
        if (to.empty()) return;
        const FpEnvironment environment;
        std::vector<std::byte> codes(to.size());
        files.read_bytes(codes_, first, codes);
        const std::size_t top = first / columns_ / block_rows_;
        const std::size_t bottom = (first + to.size() - 1) / columns_ / block_rows_;
        const std::vector<float> scales = read_scales(files, top, bottom + 1 - top);
        for (std::size_t i = 0; i < to.size();) {
            const std::size_t row = (first + i) / columns_;
            const std::size_t column = (first + i) % columns_;
            const float scale =
                scales[(row / block_rows_ - top) * across_ + column / block_columns_];
            const std::size_t of_block = block_columns_ - column % block_columns_;
            const std::size_t end = i + std::min({of_block, columns_ - column, to.size() - i});
            for (; i < end; ++i) to[i] = values[static_cast<std::size_t>(codes[i])] * scale;
        }
    }

  private:
    static constexpr std::array<float, 256> values = [] {
        std::array<float, 256> result{};
        for (std::size_t i = 0; i < result.size(); ++i)
            result[i] = e4m3_to_f32(static_cast<std::uint8_t>(i));
        return result;
    }();
    static std::string shown(const std::vector<std::size_t>& shape) {
        std::string result = "[";
        for (const std::size_t n : shape)
            result += (result.size() > 1 ? ", " : "") + std::to_string(n);
        return result + "]";
    }
    std::vector<float> read_scales(const SafetensorsSource& files, std::size_t row,
                                   std::size_t rows) const {
        std::vector<float> result(rows * across_);
        if (files.dtype(scales_) != "F8_E8M0") {
            files.read(scales_, row * across_, result);
        } else {  // powers of two, the exponent of an f32; 255 is none
            std::vector<std::byte> powers(result.size());
            files.read_bytes(scales_, row * across_, powers);
            for (std::size_t i = 0; i < powers.size(); ++i) {
                const auto power = static_cast<std::uint32_t>(powers[i]);
                result[i] = std::bit_cast<float>(power == 0 ? 0x400000U : power << 23);
            }
        }
        for (std::size_t i = 0; i < result.size(); ++i)
            require(result[i] - result[i] == 0.0F, ErrorCode::non_finite, "tensor \"",
                    scales_.substr(0, 100), "\": ", result[i], " in row ", row + i / across_,
                    ", column ", i % across_);
        return result;
    }

    std::string codes_, scales_;
    std::size_t columns_ = 0;
    std::size_t block_rows_ = 0;
    std::size_t block_columns_ = 0;
    std::size_t across_ = 0;  // blocks beside each other
};

}}  // namespace cairn
