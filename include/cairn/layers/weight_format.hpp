// A weight format of one's own: how a row of a matrix is packed and read. Products are made of rows
// that are decoded while they are multiplied, with the bits that f32 weights of the same numbers
// give. Formats with kernels of their own fill BlockOperations (layers/weight_matrix.hpp).
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

#include "cairn/layers/decoded_product.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Immutable and shared by threads. A row's bytes depend on its numbers alone.
class WeightFormat {
  public:
    virtual ~WeightFormat() = default;
    /// Part of a model's fingerprint: sessions are saved for it.
    virtual std::string_view name() const = 0;
    /// Bytes of a packed row of `in` numbers. Error{shape_mismatch} if it holds no such rows.
    virtual std::size_t row_bytes(std::ptrdiff_t in) const = 0;
    /// Packs a row of finite numbers.
    virtual void pack(const float* row, std::ptrdiff_t in, std::byte* to) const = 0;
    /// The numbers of a packed row.
    virtual void unpack(const std::byte* from, std::ptrdiff_t in, float* row) const = 0;
};

namespace internal {

// Rows lie one behind the other: [out][row_bytes].
struct FormatRows {
    static const std::byte* at(const WeightMatrix& weights, std::ptrdiff_t row) {
        return weights.data() +
               row * static_cast<std::ptrdiff_t>(weights.format()->row_bytes(weights.in()));
    }
    static void put(const WeightMatrix& to, std::byte* data, std::ptrdiff_t row,
                    const std::byte* from) {
        require(finite_numbers(ElementType::f32, from, static_cast<std::size_t>(to.in())),
                ErrorCode::non_finite, "weights: NaN or infinity in row ", row);
        to.format()->pack(
            reinterpret_cast<const float*>(from), to.in(),
            data + row * static_cast<std::ptrdiff_t>(to.format()->row_bytes(to.in())));
    }
    static void row(const WeightMatrix& from, std::ptrdiff_t row, float* to) {
        from.format()->unpack(at(from, row), from.in(), to);
    }
    static void panel(const DecodedProduct& product, std::ptrdiff_t panel, float* to, float* row) {
        const WeightMatrix& weights = *product.weights;
        for (std::ptrdiff_t lane = 0; lane < kernels::panel; ++lane) {
            const std::ptrdiff_t n = panel * kernels::panel + lane;
            if (n < weights.out()) weights.format()->unpack(at(weights, n), weights.in(), row);
            for (std::ptrdiff_t k = 0; k < weights.in(); ++k)
                to[k * kernels::panel + lane] = n < weights.out() ? row[k] : 0.0F;
        }
    }
    static PreparedProduct prepare(const Product& product, const Activations& x,
                                   SharedActivations& shared, Context& context,
                                   Workspace::Frame& frame) {
        return prepare_decoded(product, x, shared, context, frame, panel, nullptr);
    }
    static std::string_view name(const WeightMatrix& of) { return of.format()->name(); }
    static constexpr BlockOperations operations{put, row, prepare, name};
};

}  // namespace internal

/// A matrix in a format of one's own, all bytes zero; `put_rows` takes rows of f32 and packs them.
/// Throws Error{invalid_argument, limit, out_of_memory}, and what `row_bytes` throws.
inline WeightMatrix weight_matrix(std::ptrdiff_t out, std::ptrdiff_t in,
                                  std::shared_ptr<const WeightFormat> format) {
    require(out > 0 && in > 0 && format != nullptr, ErrorCode::invalid_argument,
            "weight matrix of ", out, " x ", in, " in a format of one's own");
    const std::size_t bytes =
        checked_mul(static_cast<std::size_t>(out), format->row_bytes(in), "weight matrix");
    return {out, in, bytes, internal::FormatRows::operations, std::move(format)};
}

}}  // namespace cairn
