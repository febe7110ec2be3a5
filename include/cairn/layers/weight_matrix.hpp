// A weight matrix in the one layout all kernels read: [out/16][in][16] in its storage type.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "cairn/core/eigen.hpp"
#include "cairn/core/memory.hpp"
#include "cairn/kernels/table.hpp"
#include "cairn/numeric/block_format.hpp"

namespace cairn::inline CAIRN_ABI {

/// A matrix W [out][in] for y = W x. Movable. Element (n, k) lies at ((n/16) * in + k) * 16 + n%16.
class WeightMatrix {
  public:
    WeightMatrix() = default;
    /// All zeros. Throws Error{invalid_argument, limit, out_of_memory}.
    WeightMatrix(std::ptrdiff_t out, std::ptrdiff_t in, ElementType type)
        : out_(out), in_(in), type_(type) {
        require(out > 0 && in > 0, ErrorCode::invalid_argument, "weight matrix of ", out, " x ",
                in);
        const std::size_t padded = round_up(static_cast<std::size_t>(out), kernels::panel);
        memory_ = Mapping(format_of(type).size_of(
                              checked_mul(padded, static_cast<std::size_t>(in), "weight matrix")),
                          Mapping::Pages::huge);
    }
    /// A copy of an Eigen matrix [out][in] in another storage type, rounded to nearest.
    static WeightMatrix from(const MatrixIn& matrix, ElementType type = ElementType::f32) {
        WeightMatrix result(matrix.rows(), matrix.cols(), type);
        result.put(0, 0, matrix.rows(), matrix.cols(), matrix.data(), matrix.outerStride(), 1);
        return result;
    }

    /// Writes the block of `rows` x `columns` elements at (row, column) from
    /// from[r * row_stride + c * column_stride]. Blocks of whole panels may be put by several
    /// threads at once.
    void put(std::ptrdiff_t row, std::ptrdiff_t column, std::ptrdiff_t rows, std::ptrdiff_t columns,
             const float* from, std::ptrdiff_t row_stride, std::ptrdiff_t column_stride) {
        require(row >= 0 && column >= 0 && rows >= 0 && columns >= 0 && row + rows <= out_ &&
                    column + columns <= in_,
                ErrorCode::shape_mismatch, "weights: block ", rows, "x", columns, " at ", row, ",",
                column, " of a ", out_, "x", in_, " matrix");
        const BlockFormat& format = format_of(type_);
        float lanes[kernels::panel];
        std::byte encoded[kernels::panel * sizeof(float)];
        for (std::ptrdiff_t r = row; r < row + rows;) {
            const std::ptrdiff_t lane = r % kernels::panel;
            const std::ptrdiff_t count =
                std::min<std::ptrdiff_t>(kernels::panel - lane, row + rows - r);
            for (std::ptrdiff_t c = 0; c < columns; ++c) {
                const float* source = from + (r - row) * row_stride + c * column_stride;
                for (std::ptrdiff_t i = 0; i < count; ++i) lanes[i] = source[i * row_stride];
                format.encode(lanes, static_cast<std::size_t>(count), encoded);
                std::memcpy(at(r, column + c), encoded,
                            static_cast<std::size_t>(count) * format.bytes);
            }
            r += count;
        }
    }
    /// One row, as an embedding is looked up: to[in].
    void row(std::ptrdiff_t n, float* to) const {
        const BlockFormat& format = format_of(type_);
        for (std::ptrdiff_t k = 0; k < in_; ++k) format.decode(at(n, k), 1, to + k);
    }

    std::ptrdiff_t out() const noexcept { return out_; }
    std::ptrdiff_t in() const noexcept { return in_; }
    ElementType type() const noexcept { return type_; }
    /// Bytes of packed weights; a pass over all of them is what decoding costs.
    std::size_t bytes() const noexcept { return memory_.size(); }
    const std::byte* data() const noexcept { return memory_.data(); }

  private:
    std::byte* at(std::ptrdiff_t n, std::ptrdiff_t k) const noexcept {
        const std::ptrdiff_t element =
            ((n / kernels::panel) * in_ + k) * kernels::panel + n % kernels::panel;
        return memory_.data() + element * static_cast<std::ptrdiff_t>(format_of(type_).bytes);
    }
    std::ptrdiff_t out_ = 0;
    std::ptrdiff_t in_ = 0;
    ElementType type_ = ElementType::f32;
    Mapping memory_;
};

}  // namespace cairn::inline CAIRN_ABI
