// A weight matrix in the one layout all kernels read: [out/16][in][16] in its storage type.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/context.hpp"
#include "cairn/core/eigen.hpp"
#include "cairn/core/fingerprint.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/core/region.hpp"
#include "cairn/kernels/dispatch.hpp"
#include "cairn/numeric/plain_format.hpp"

namespace cairn { inline namespace CAIRN_ABI {

struct BlockOperations;
class WeightFormat;

namespace internal {

// Whether the exponent of every word has a zero bit: 8 bytes at a time.
template <class Word>
bool finite_words(const std::byte* from, std::size_t count, Word exponent) noexcept {
    constexpr std::size_t lanes = sizeof(std::uint64_t) / sizeof(Word);
    constexpr std::uint64_t one = ~std::uint64_t{0} / static_cast<Word>(~Word{0});  // in each lane
    constexpr std::uint64_t top = one << (8 * sizeof(Word) - 1);
    const std::uint64_t mask = one * exponent;
    std::uint64_t good = top;
    // A lane's missing exponent bits plus 0111... reach its top bit unless they are all zero.
    const auto look = [&](std::uint64_t word) { good &= (~word & mask) + (top - one); };
    std::uint64_t word = 0;
    for (; count >= lanes; count -= lanes, from += sizeof word) {
        std::memcpy(&word, from, sizeof word);
        look(word);
    }
    word = 0;
    if (count > 0) std::memcpy(&word, from, count * sizeof(Word));
    look(word);
    return good == top;
}
/// Whether `count` numbers of a plain type are all finite.
inline bool finite_numbers(ElementType type, const std::byte* from, std::size_t count) noexcept {
    if (type == ElementType::f16) return finite_words<std::uint16_t>(from, count, 0x7C00);
    if (type == ElementType::bf16) return finite_words<std::uint16_t>(from, count, 0x7F80);
    return finite_words<std::uint32_t>(from, count, 0x7F800000);
}
/// Error{non_finite} naming the place unless all numbers are finite.
inline void require_finite(const std::vector<float>& numbers, std::string_view what) {
    const auto* bytes = reinterpret_cast<const std::byte*>(numbers.data());
    if (finite_numbers(ElementType::f32, bytes, numbers.size())) return;
    std::size_t i = 0;
    while (finite_numbers(ElementType::f32, bytes + i * sizeof(float), 1)) ++i;
    fail(ErrorCode::non_finite, what, ": NaN or infinity at index ", i);
}

}  // namespace internal

/// A plain storage type of weights: its numbers and its products.
struct PlainWeights {
    using Kernel = void(const kernels::Table&, const kernels::FloatProduct&);
    ElementType type;
    const PlainFormat* format;
    Kernel* gemv;
    Kernel* gemm;
    /// With activations that are rounded to the weights' type, for Compute::fast; null: as above.
    Kernel* gemv_rounded = nullptr;
    Kernel* gemm_rounded = nullptr;
    /// The rows of those activations, `rows` of them from `first` on, in tiles.
    using Pack = void(const kernels::Table&, const float* x, std::ptrdiff_t stride,
                      std::ptrdiff_t rows, std::ptrdiff_t k, int tile, std::ptrdiff_t first,
                      float* packed);
    Pack* pack_rounded = nullptr;
};
namespace internal {

template <ElementType type>
constexpr PlainWeights describe_weights() noexcept {
    using kernels::FloatProduct;
    using kernels::Table;
    PlainWeights result{
        type, &plain_format<type>,
        [](const Table& kernel, const FloatProduct& product) { kernel.gemv<type>(product); },
        [](const Table& kernel, const FloatProduct& product) { kernel.gemm<type>(product); }};
    if constexpr (type == ElementType::bf16) {
        result.gemv_rounded = [](const Table& kernel, const FloatProduct& product) {
            kernel.gemv_rounded<type>(product);
        };
        result.gemm_rounded = [](const Table& kernel, const FloatProduct& product) {
            kernel.gemm_rounded<type>(product);
        };
        result.pack_rounded = [](const Table& kernel, const float* x, std::ptrdiff_t stride,
                                 std::ptrdiff_t rows, std::ptrdiff_t k, int tile,
                                 std::ptrdiff_t first, float* packed) {
            kernel.pack_rounded(x, stride, rows, k, tile, first, packed);
        };
    }
    return result;
}

}  // namespace internal

/// The description of f32, f16 or bf16; who names one compiles no kernel of another.
template <ElementType type>
inline constexpr PlainWeights plain_weights = internal::describe_weights<type>();
/// The same by value. Throws Error{invalid_argument} for a block type.
inline const PlainWeights& plain_weights_of(ElementType type) {
    switch (type) {
        case ElementType::f32: return plain_weights<ElementType::f32>;
        case ElementType::f16: return plain_weights<ElementType::f16>;
        case ElementType::bf16: return plain_weights<ElementType::bf16>;
        default: break;
    }
    fail(ErrorCode::invalid_argument, "weight matrix: ", block_size(type).name,
         " is no plain type; use quantised_matrix");
}

/// A matrix W [out][in] for y = W x. Movable. Plain types: element (n, k) lies at
/// ((n/16) * in + k) * 16 + n%16. Block types are made by `quantised_matrix`
/// (layers/quantised.hpp), which alone knows their layout.
class WeightMatrix {
  public:
    WeightMatrix() = default;
    /// All zeros, of a plain type. Throws Error{invalid_argument, limit, out_of_memory},
    /// std::bad_alloc.
    WeightMatrix(std::ptrdiff_t out, std::ptrdiff_t in, ElementType type)
        : WeightMatrix(out, in, plain_weights_of(type)) {}
    /// The same.
    WeightMatrix(std::ptrdiff_t out, std::ptrdiff_t in, const PlainWeights& plain)
        : out_(out), in_(in), type_(plain.type), plain_(&plain) {
        require(out > 0 && in > 0, ErrorCode::invalid_argument, "weight matrix of ", out, " x ",
                in);
        const std::size_t padded = round_up(static_cast<std::size_t>(out), kernels::panel);
        memory_ = MappedPiece(plain.format->size_of(checked_mul(
                                  padded, static_cast<std::size_t>(in), "weight matrix")),
                              Mapping::Pages::huge);
    }
    /// `bytes` zeros for a block type whose layout `operations` knows.
    WeightMatrix(std::ptrdiff_t out, std::ptrdiff_t in, ElementType type, std::size_t bytes,
                 const BlockOperations& operations)
        : out_(out),
          in_(in),
          type_(type),
          memory_(bytes, Mapping::Pages::huge),
          plain_(nullptr),
          operations_(&operations) {}
    /// `bytes` zeros in a format of one's own (layers/weight_format.hpp), which rows of f32 are put
    /// into.
    WeightMatrix(std::ptrdiff_t out, std::ptrdiff_t in, std::size_t bytes,
                 const BlockOperations& operations, std::shared_ptr<const WeightFormat> format)
        : WeightMatrix(out, in, ElementType::f32, bytes, operations) {
        format_ = std::move(format);
    }
    /// A copy of an Eigen matrix [out][in] in another storage type, rounded to nearest. Throws
    /// Error{non_finite} for NaN, infinity, and numbers that the type can only hold as infinity.
    static WeightMatrix from(const MatrixIn& matrix, ElementType type) {
        return from(matrix, plain_weights_of(type));
    }
    /// The same; f32 unless told otherwise.
    static WeightMatrix from(const MatrixIn& matrix,
                             const PlainWeights& plain = plain_weights<ElementType::f32>) {
        WeightMatrix result(matrix.rows(), matrix.cols(), plain);
        result.put(0, 0, matrix.rows(), matrix.cols(), matrix.data(), matrix.outerStride(), 1);
        return result;
    }

    /// Writes the block of `rows` x `columns` elements at (row, column) from
    /// from[r * row_stride + c * column_stride]. Blocks of whole panels may be put by several
    /// threads at once. Throws Error{shape_mismatch, bad_state} before anything is written,
    /// Error{non_finite} for NaN, infinity, and numbers that the type can only hold as infinity;
    /// the block may then be written in part.
    void put(std::ptrdiff_t row, std::ptrdiff_t column, std::ptrdiff_t rows, std::ptrdiff_t columns,
             const float* from, std::ptrdiff_t row_stride, std::ptrdiff_t column_stride) {
        require(row >= 0 && column >= 0 && rows >= 0 && columns >= 0 && row + rows <= out_ &&
                    column + columns <= in_,
                ErrorCode::shape_mismatch, "weights: block ", rows, "x", columns, " at ", row, ",",
                column, " of a ", out_, "x", in_, " matrix");
        require(plain_ != nullptr, ErrorCode::bad_state, "weights: single numbers into ",
                format_ != nullptr ? "a format of one's own" : block_size(type_).name);
        const FpEnvironment environment;
        const PlainFormat& format = *plain_->format;
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
                if (!internal::finite_numbers(type_, encoded, static_cast<std::size_t>(count)))
                    [[unlikely]]
                    refuse(r, column + c, std::span(lanes).first(static_cast<std::size_t>(count)));
                std::memcpy(at(r, column + c), encoded,
                            static_cast<std::size_t>(count) * format.bytes);
            }
            r += count;
        }
    }
    /// Writes whole rows from their file format, bits unchanged; rows of f32 into a format of one's
    /// own. Rows of different panels may be
    /// put by several threads at once. Throws Error{shape_mismatch} before anything is written,
    /// Error{non_finite} for numbers or scales of blocks that are NaN or infinite; the rows before
    /// that one are then written.
    inline void put_rows(std::ptrdiff_t row, std::ptrdiff_t rows, const std::byte* from);
    /// One row, as an embedding is looked up: to[in].
    inline void row(std::ptrdiff_t n, float* to) const;

    /// Moves into memory that matrices share, all zeros again: before the first row is put. Throws
    /// Error{out_of_memory}, std::bad_alloc, and then stays as it is.
    void move_into(Region& region) { memory_ = region.take(memory_.size()); }

    std::ptrdiff_t out() const noexcept { return out_; }
    std::ptrdiff_t in() const noexcept { return in_; }
    ElementType type() const noexcept { return type_; }
    /// Bytes of packed weights; a pass over all of them is what decoding costs.
    std::size_t bytes() const noexcept { return memory_.size(); }
    const std::byte* data() const noexcept { return memory_.data(); }
    /// Adds shape, type (of a format of one's own its name) and weights to a fingerprint.
    inline void hash(Fingerprint& to) const;
    /// The format of one's own that it is stored in, or null.
    const WeightFormat* format() const noexcept { return format_.get(); }
    /// How a block type is multiplied; null for plain types.
    const BlockOperations* operations() const noexcept { return operations_; }
    /// How a plain type is multiplied; null for block types.
    const PlainWeights* plain() const noexcept { return plain_; }

  private:
    // Names the first number of a column, rows from `row` on, that does not fit the type.
    [[noreturn, gnu::cold]] void refuse(std::ptrdiff_t row, std::ptrdiff_t column,
                                        std::span<const float> numbers) const {
        std::byte encoded[sizeof(float)];
        for (const float x : numbers) {
            plain_->format->encode(&x, 1, encoded);
            if (!internal::finite_numbers(type_, encoded, 1))
                fail(ErrorCode::non_finite, "weights: ", x, " in row ", row, ", column ", column,
                     x - x == 0.0F ? " is too big for " : " as ", plain_->format->name);
            ++row;
        }
        fail(ErrorCode::non_finite, "weights: NaN or infinity in column ", column);
    }
    std::byte* at(std::ptrdiff_t n, std::ptrdiff_t k) const noexcept {
        const std::ptrdiff_t element =
            ((n / kernels::panel) * in_ + k) * kernels::panel + n % kernels::panel;
        return memory_.data() + element * static_cast<std::ptrdiff_t>(plain_->format->bytes);
    }
    std::ptrdiff_t out_ = 0;
    std::ptrdiff_t in_ = 0;
    ElementType type_ = ElementType::f32;
    MappedPiece memory_;
    const PlainWeights* plain_ = &plain_weights<ElementType::f32>;
    const BlockOperations* operations_ = nullptr;
    std::shared_ptr<const WeightFormat> format_;
};

struct Product;
struct Activations;
struct SharedActivations;

/// A product that is ready to run, panel by panel, on any thread.
struct PreparedProduct {
    const void* state = nullptr;
    void (*run)(const void* state, std::ptrdiff_t panel_begin, std::ptrdiff_t panel_end,
                int worker) = nullptr;
    std::ptrdiff_t panels = 0;
    std::ptrdiff_t group = 1;  ///< panels that the rows are multiplied with at once
    std::ptrdiff_t first = 0;  ///< panels before its first one, which are left out
};

/// What a block type brings along, so that who uses plain weights only does not compile it.
struct BlockOperations {
    /// Packs one row from its file format into a lane of its panel.
    void (*put)(const WeightMatrix& to, std::byte* data, std::ptrdiff_t row, const std::byte* from);
    /// Decodes one row.
    void (*row)(const WeightMatrix& from, std::ptrdiff_t row, float* to);
    /// Prepares y = W x + bias; what it needs lives in the frame.
    PreparedProduct (*prepare)(const Product& product, const Activations& x,
                               SharedActivations& shared, Context& context,
                               Workspace::Frame& frame);
    /// What the type is called where `type` does not say it; null: it does.
    std::string_view (*name)(const WeightMatrix& of) = nullptr;
};

inline void WeightMatrix::put_rows(std::ptrdiff_t row, std::ptrdiff_t rows, const std::byte* from) {
    require(row >= 0 && rows >= 0 && row + rows <= out_, ErrorCode::shape_mismatch,
            "weights: rows ", row, " to ", row + rows, " of a ", out_, "x", in_, " matrix");
    const std::size_t bytes = block_size(type_).size_of(static_cast<std::size_t>(in_));
    const std::size_t size = block_size(type_).bytes;
    for (std::ptrdiff_t r = row; r < row + rows; ++r, from += bytes) {
        if (operations_ != nullptr) {
            operations_->put(*this, memory_.data(), r, from);
            continue;
        }
        require(internal::finite_numbers(type_, from, static_cast<std::size_t>(in_)),
                ErrorCode::non_finite, "weights: NaN or infinity in row ", r);
        std::byte* to = at(r, 0);
        for (std::ptrdiff_t k = 0; k < in_; ++k, to += kernels::panel * size)
            size == 2 ? std::memcpy(to, from + 2 * k, 2) : std::memcpy(to, from + 4 * k, 4);
    }
}
inline void WeightMatrix::hash(Fingerprint& to) const {
    to.add(static_cast<std::uint64_t>(type_));
    to.add(static_cast<std::uint64_t>(in_));
    to.add(static_cast<std::uint64_t>(out_));
    if (operations_ != nullptr && operations_->name != nullptr) {
        const std::string_view name = operations_->name(*this);
        to.add(name);
        to.setting("format of the weights", name.data(), name.size());
    }
    to.add(memory_.data(), memory_.size());
}
inline void WeightMatrix::row(std::ptrdiff_t n, float* to) const {
    const FpEnvironment environment;
    if (operations_ != nullptr) {
        operations_->row(*this, n, to);
        return;
    }
    const PlainFormat& format = *plain_->format;
    for (std::ptrdiff_t k = 0; k < in_; ++k) format.decode(at(n, k), 1, to + k);
}

}}  // namespace cairn
