// Where a recipe gets its tensors from: a file format on top implements it, tests make one in
// memory. And how tensors become packed weights: in pieces, in parallel, one copy in memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/error.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/core/parallel_for.hpp"
#include "cairn/layers/weight_matrix.hpp"

namespace cairn::inline CAIRN_ABI {

/// Named tensors of floats, row-major.
class TensorSource {
  public:
    virtual ~TensorSource() = default;
    /// The shape of a tensor, or null.
    virtual const std::vector<std::size_t>* shape(std::string_view name) const = 0;
    /// The storage type of a tensor that exists.
    virtual ElementType type(std::string_view name) const = 0;
    /// to = elements [first, first + to.size()) of a tensor that exists, as f32; whole blocks.
    /// Error{io}.
    virtual void read(std::string_view name, std::size_t first, std::span<float> to) const = 0;
    /// to = the same elements as they are stored. Error{io}.
    virtual void read_stored(std::string_view name, std::size_t first,
                             std::span<std::byte> to) const = 0;
    /// The names of all tensors in any order, so that those which no recipe reads are found; a
    /// source that cannot list them returns none.
    virtual std::vector<std::string> names() const { return {}; }
    /// An empty matrix for weights of a type this source has. Sources with block types override it,
    /// so that who has none does not compile them.
    virtual WeightMatrix matrix(std::ptrdiff_t out, std::ptrdiff_t in, ElementType type) const {
        return {out, in, type};
    }
};

/// Called after each part of a model that was loaded: parts done, parts in all.
using Progress = std::function<void(int done, int total)>;

/// How a file's numbers are looked at while loading: as they are stored while they are packed (NaN
/// and infinity, and scales of blocks), or every decoded number before that as well.
enum class Validate : std::uint8_t { quick, full };

/// How a model is loaded.
struct LoadOptions {
    /// Store plain weights in this plain type instead of the file's.
    std::optional<ElementType> store_as{};
    Progress progress{};
    /// Packs weights; null: the calling thread.
    Executor* executor = nullptr;
    /// Either way Error{non_finite} names the tensor that holds a NaN or an infinity, or a number
    /// that `store_as` can only hold as one.
    Validate validate = Validate::quick;
};

/// Collects everything a recipe misses, so that one error lists it all, and knows what it reads, so
/// that the rest can be listed too.
class TensorCheck {
  public:
    explicit TensorCheck(const TensorSource& source) : source_(&source) {}

    /// Notes a problem unless the tensor exists with this shape.
    void expect(const std::string& name, const std::vector<std::size_t>& shape) {
        const std::vector<std::size_t>* found = source_->shape(name);
        if (found == nullptr)
            note("tensor " + name + " is missing");
        else if (*found != shape)
            note("tensor " + name + " is " + text(*found) + ", the configuration wants " +
                 text(shape));
        read_.insert(name);
    }
    /// A tensor that is read where there is one.
    void allow(const std::string& name) { read_.insert(name); }
    /// Notes every tensor named `prefix` and a layer's number from `layers` on: without them the
    /// model would be another one. The `predicting` layers behind the last are trained to guess
    /// several tokens at once and not part of the model.
    void expect_layers(const std::string& prefix, int layers, int predicting = 0) {
        for (const std::string& name : source_->names()) {
            const long long layer = number_in(name, prefix);
            if (layer >= static_cast<long long>(layers) + predicting)
                note("tensor " + name + " belongs to layer " + std::to_string(layer) +
                     ", the configuration has " + std::to_string(layers) + " layers");
        }
    }
    /// Error{bad_config} listing what was noted.
    void done() const {
        if (count_ > 0)
            fail(ErrorCode::bad_config, count_, " tensors do not fit: ", problems_,
                 count_ > shown ? "; ..." : "");
    }
    /// The source's tensors that the recipe does not read, sorted.
    std::vector<std::string> unread() const {
        std::vector<std::string> result;
        for (std::string& name : source_->names())
            if (!read_.contains(name)) result.push_back(std::move(name));
        std::sort(result.begin(), result.end());
        return result;
    }

  private:
    static constexpr int shown = 16;
    // The number behind the prefix, or -1; a number of more digits than a layer has is a big one.
    static long long number_in(std::string_view name, std::string_view prefix) {
        if (!name.starts_with(prefix)) return -1;
        long long number = -1;
        for (const char c : name.substr(prefix.size())) {
            if (c < '0' || c > '9') return c == '.' ? number : -1;
            number = std::min(std::max(number, 0LL) * 10 + (c - '0'), 1'000'000'000LL);
        }
        return number;
    }
    void note(const std::string& problem) {
        if (count_++ < shown) problems_ += (problems_.empty() ? "" : "; ") + problem;
    }
    static std::string text(const std::vector<std::size_t>& shape) {
        std::string result = "[";
        for (const std::size_t n : shape)
            result += (result.size() > 1 ? ", " : "") + std::to_string(n);
        return result + "]";
    }
    const TensorSource* source_;
    std::set<std::string, std::less<>> read_;
    std::string problems_;
    int count_ = 0;
};

namespace detail {

inline std::vector<float> read_vector(const TensorSource& source, const std::string& name) {
    const FpEnvironment environment;
    const std::vector<std::size_t>& shape = *source.shape(name);
    std::size_t count = 1;
    for (const std::size_t n : shape) count = checked_mul(count, n, name);
    std::vector<float> result(count);
    source.read(name, 0, result);
    require_finite(result, "tensor " + name);
    return result;
}

// Whether a file holds a matrix as [out][in], or as [in][out] as GPT-2's Conv1D layers do.
enum class StoredAs : std::uint8_t { out_in, in_out };

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
        if (direct)
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

// A tensor into packed weights.
inline WeightMatrix load_matrix(const TensorSource& source, const std::string& name,
                                StoredAs stored, const LoadOptions& options) {
    const FpEnvironment environment;
    const std::vector<std::size_t>& shape = *source.shape(name);
    const auto rows = static_cast<std::ptrdiff_t>(shape[0]);
    const auto columns = static_cast<std::ptrdiff_t>(shape[1]);
    const ElementType type = source.type(name);
    const ElementType kept = is_plain(type) ? options.store_as.value_or(type) : type;
    Serial& serial = Serial::instance();
    Executor& executor =
        options.executor != nullptr ? *options.executor : static_cast<Executor&>(serial);
    constexpr std::ptrdiff_t piece_bytes = std::ptrdiff_t{4} << 20;
    const bool direct = stored == StoredAs::out_in && kept == type;
    const auto row_bytes = static_cast<std::ptrdiff_t>(
        direct ? block_size(type).size_of(static_cast<std::size_t>(columns))
               : static_cast<std::size_t>(columns) * sizeof(float));
    const std::ptrdiff_t step =
        std::max<std::ptrdiff_t>(piece_bytes / row_bytes / kernels::panel, 1) * kernels::panel;
    std::vector<std::byte> piece(static_cast<std::size_t>(std::min(step, rows) * row_bytes));
    std::vector<float> decoded;  // only to be looked at
    WeightMatrix result = stored == StoredAs::out_in ? source.matrix(rows, columns, kept)
                                                     : source.matrix(columns, rows, kept);
    for (std::ptrdiff_t row = 0; row < rows; row += step) {
        const std::ptrdiff_t count = std::min(step, rows - row);
        const auto first = static_cast<std::size_t>(row * columns);
        const std::span bytes(piece.data(), static_cast<std::size_t>(count * row_bytes));
        auto* numbers = reinterpret_cast<float*>(piece.data());
        if (direct)
            source.read_stored(name, first, bytes);
        else
            source.read(name, first, {numbers, static_cast<std::size_t>(count * columns)});
        if (options.validate == Validate::full) {
            decoded.resize(static_cast<std::size_t>(count * columns));
            source.read(name, first, decoded);
            const bool good =
                std::all_of(decoded.begin(), decoded.end(), [](float x) { return x - x == 0.0F; });
            require(good, ErrorCode::non_finite, "tensor ", name, " holds NaN or infinity in rows ",
                    row, " to ", row + count - 1);
        }
        try {
            pack_piece(result, bytes, stored, direct, row, count, columns, executor);
        } catch (const Error& error) {
            if (error.code() != ErrorCode::non_finite) throw;
            fail(ErrorCode::non_finite, "tensor ", name, ": ", error.what());
        }
    }
    return result;
}

}  // namespace detail

}  // namespace cairn::inline CAIRN_ABI
