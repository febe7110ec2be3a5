// How tensors of a file become vectors and packed weights: in pieces, in parallel, one copy in
// memory, the bits of the file unless another type is asked for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "cairn/core/checked.hpp"
#include "cairn/core/error.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/core/parallel_for.hpp"
#include "cairn/layers/weight_format.hpp"
#include "cairn/models/tensor_source.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// All numbers of a tensor that exists, as f32. Throws Error{non_finite} naming the tensor, and
/// what the source throws.
inline std::vector<float> load_vector(const TensorSource& source, const std::string& name) {
    const FpEnvironment environment;
    const std::vector<std::size_t>& shape = *source.shape(name);
    std::size_t count = 1;
    for (const std::size_t n : shape) count = checked_mul(count, n, name);
    std::vector<float> result(count);
    source.read(name, 0, result);
    internal::require_finite(result, "tensor " + name);
    return result;
}

/// Whether a file holds a matrix as [out][in], or as [in][out] as GPT-2's Conv1D layers do.
enum class StoredAs : std::uint8_t { out_in, in_out };

/// Which rows of a tensor become the rows of a matrix, for tensors that hold several matrices: the
/// `count` rows of the matrix are the tensor's rows row(0), row(1), ... Queries alone out of a
/// tensor of queries, keys and values: `{queries, [](auto r) { return r; }}`; those from `first` on
/// where `row` is none. A tensor of three dimensions has the rows of its matrices, one after the
/// other.
struct TensorRows {
    std::ptrdiff_t count = 0;
    std::function<std::ptrdiff_t(std::ptrdiff_t)> row{};
    std::ptrdiff_t first = -1;

    /// Whether it says any; else the whole tensor is meant.
    bool some() const noexcept { return row || first >= 0; }
    /// The tensor's row that becomes row `r`.
    std::ptrdiff_t operator()(std::ptrdiff_t r) const { return row ? row(r) : first + r; }
};

namespace internal {

// Error{invalid_argument} unless a tensor of `size` rows has the one that becomes row `r`.
inline void check_row(const TensorRows& rows, std::ptrdiff_t r, const std::string& name,
                      std::size_t size) {
    const std::ptrdiff_t from = rows(r);
    require(from >= 0 && static_cast<std::size_t>(from) < size, ErrorCode::invalid_argument,
            "recipe: row ", from, " of tensor ", name, ", which has ", size);
}
// The same of all rows, which are those of a matrix stored as [out][in].
inline void check_part(const TensorRows& rows, StoredAs stored, const std::string& name,
                       std::size_t size) {
    require(rows.count > 0 && stored == StoredAs::out_in, ErrorCode::invalid_argument,
            "recipe: ", rows.count, " rows of tensor ", name,
            stored == StoredAs::out_in ? "" : ", which is stored as [in][out]");
    for (std::ptrdiff_t r = 0; r < rows.count; ++r) check_row(rows, r, name, size);
}

// Columns [from, from + n) of a whole tensor [count][columns] as rows of a format of one's own.
inline void put_columns(WeightMatrix& result, std::ptrdiff_t from, std::ptrdiff_t n,
                        const float* numbers, std::ptrdiff_t count, std::ptrdiff_t columns) {
    std::vector<float> row(static_cast<std::size_t>(count));
    for (std::ptrdiff_t c = from; c < from + n; ++c) {
        for (std::ptrdiff_t r = 0; r < count; ++r)
            row[static_cast<std::size_t>(r)] = numbers[r * columns + c];
        result.put_rows(c, 1, reinterpret_cast<const std::byte*>(row.data()));
    }
}

// Rows [row, row + count) of a tensor into packed weights, in parallel, by whole panels. `bytes`
// are rows of the result as the file stores them (direct), or rows of the tensor as f32.
inline void pack_piece(WeightMatrix& result, std::span<const std::byte> bytes, StoredAs stored,
                       bool direct, std::ptrdiff_t row, std::ptrdiff_t count,
                       std::ptrdiff_t columns, Executor& executor) {
    const auto* numbers = reinterpret_cast<const float*>(bytes.data());
    const std::ptrdiff_t row_bytes = std::ssize(bytes) / count;
    const std::ptrdiff_t outputs = stored == StoredAs::out_in ? count : columns;
    std::mutex mutex;
    std::exception_ptr failure;  // tasks do not throw
    const auto pack = [&](std::ptrdiff_t from, std::ptrdiff_t n) {
        if (result.format() != nullptr && stored == StoredAs::in_out)
            put_columns(result, from, n, numbers, count, columns);
        else if (direct || result.format() != nullptr)
            result.put_rows(row + from, n, bytes.data() + from * row_bytes);
        else if (stored == StoredAs::out_in)
            result.put(row + from, 0, n, columns, numbers + from * columns, columns, 1);
        else
            result.put(from, row, n, count, numbers + from, 1, columns);
    };
    parallel_for(executor, (outputs + kernels::panel - 1) / kernels::panel, 1,
                 [&](std::ptrdiff_t begin, std::ptrdiff_t end, int) {
                     const std::ptrdiff_t from = begin * kernels::panel;
                     try {
                         pack(from, std::min(end * kernels::panel, outputs) - from);
                     } catch (...) {
                         const std::scoped_lock lock(mutex);
                         if (failure == nullptr) failure = std::current_exception();
                     }
                 });
    if (failure != nullptr) std::rethrow_exception(failure);
}

// Rows [row, row + count) of what is loaded, as stored or as f32.
inline void read_rows(const TensorSource& source, const std::string& name, const TensorRows& rows,
                      bool direct, std::ptrdiff_t row, std::ptrdiff_t count, std::ptrdiff_t columns,
                      std::span<std::byte> to) {
    const auto read = [&](std::ptrdiff_t from, std::span<std::byte> part) {
        const auto first = static_cast<std::size_t>(from * columns);
        if (direct)
            source.read_stored(name, first, part);
        else
            source.read(name, first,
                        {reinterpret_cast<float*>(part.data()), part.size() / sizeof(float)});
    };
    if (!rows.row) return read(std::max<std::ptrdiff_t>(rows.first, 0) + row, to);
    const std::size_t bytes = to.size() / static_cast<std::size_t>(count);
    for (std::ptrdiff_t r = 0; r < count; ++r)
        read(rows.row(row + r), to.subspan(static_cast<std::size_t>(r) * bytes, bytes));
}

}  // namespace internal

/// A tensor [out][in] (or stored the other way round) as packed weights, in the type of the file
/// unless `options.store_as` or `options.format` says otherwise; of its rows only `rows` where they
/// are given (for matrices stored as [out][in]); in memory of its own or in `region`. Throws
/// Error{non_finite} naming the tensor, Error{out_of_memory}, and what the source throws.
inline WeightMatrix load_matrix(const TensorSource& source, const std::string& name,
                                StoredAs stored, const LoadOptions& options,
                                const TensorRows& part = {}, Region* region = nullptr) {
    const FpEnvironment environment;
    const std::vector<std::size_t>& shape = *source.shape(name);
    const bool stack = part.some() && shape.size() == 3;
    require((shape.size() == 2 || stack) &&
                std::all_of(shape.begin(), shape.end(), [](std::size_t n) { return n > 0; }),
            ErrorCode::bad_config, "tensor ", name, " has ", shape.size(),
            " dimensions, or one of them is 0; a matrix is needed");
    const std::size_t all = stack ? checked_mul(shape[0], shape[1], name) : shape[0];
    if (part.some()) internal::check_part(part, stored, name, all);
    const auto rows = part.some() ? part.count : static_cast<std::ptrdiff_t>(all);
    const auto columns = static_cast<std::ptrdiff_t>(shape.back());
    const ElementType type = source.type(name);
    const ElementType kept = is_plain(type) ? options.store_as.value_or(type) : type;
    const bool out_in = stored == StoredAs::out_in;
    Serial& serial = Serial::instance();
    Executor& executor =
        options.executor != nullptr ? *options.executor : static_cast<Executor&>(serial);
    constexpr std::ptrdiff_t piece_bytes = std::ptrdiff_t{4} << 20;
    const bool own = options.format != nullptr && is_plain(type);
    const bool direct = stored == StoredAs::out_in && kept == type && !own;
    const auto row_bytes = static_cast<std::ptrdiff_t>(
        direct ? block_size(type).size_of(static_cast<std::size_t>(columns))
               : static_cast<std::size_t>(columns) * sizeof(float));
    const std::ptrdiff_t panels =
        std::max<std::ptrdiff_t>(piece_bytes / row_bytes / kernels::panel, 1);
    // A format of one's own takes whole rows of the matrix: those of [in][out] only at once.
    const std::ptrdiff_t step = own && !out_in ? rows : panels * kernels::panel;
    std::vector<std::byte> piece(static_cast<std::size_t>(std::min(step, rows) * row_bytes));
    std::vector<float> decoded;  // only to be looked at
    const std::ptrdiff_t out = out_in ? rows : columns;
    const std::ptrdiff_t in = out_in ? columns : rows;
    WeightMatrix result =
        own ? weight_matrix(out, in, options.format) : source.matrix(out, in, kept);
    if (region != nullptr) result.move_into(*region);
    for (std::ptrdiff_t row = 0; row < rows; row += step) {
        const std::ptrdiff_t count = std::min(step, rows - row);
        const std::span bytes(piece.data(), static_cast<std::size_t>(count * row_bytes));
        internal::read_rows(source, name, part, direct, row, count, columns, bytes);
        if (options.validate == Validate::full) {
            decoded.resize(static_cast<std::size_t>(count * columns));
            internal::read_rows(source, name, part, false, row, count, columns,
                                std::as_writable_bytes(std::span(decoded)));
            const bool good =
                std::all_of(decoded.begin(), decoded.end(), [](float x) { return x - x == 0.0F; });
            require(good, ErrorCode::non_finite, "tensor ", name, " holds NaN or infinity in rows ",
                    row, " to ", row + count - 1);
        }
        try {
            internal::pack_piece(result, bytes, stored, direct, row, count, columns, executor);
        } catch (const Error& error) {
            if (error.code() != ErrorCode::non_finite) throw;
            fail(ErrorCode::non_finite, "tensor ", name, ": ", error.what());
        }
    }
    return result;
}

}}  // namespace cairn
