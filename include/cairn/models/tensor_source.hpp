// Where a recipe gets its tensors from: a file format on top implements it, tests make one in
// memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/core/error.hpp"
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
    /// to = elements [first, first + to.size()) of a tensor that exists, as f32. Error{io}.
    virtual void read(std::string_view name, std::size_t first, std::span<float> to) const = 0;
};

/// Collects everything a recipe misses, so that one error lists it all.
class TensorCheck {
  public:
    explicit TensorCheck(const TensorSource& source) : source_(source) {}

    /// Notes a problem unless the tensor exists with this shape.
    void expect(const std::string& name, const std::vector<std::size_t>& shape) {
        const std::vector<std::size_t>* found = source_.shape(name);
        if (found == nullptr)
            note("tensor " + name + " is missing");
        else if (*found != shape)
            note("tensor " + name + " is " + text(*found) + ", the configuration wants " +
                 text(shape));
    }
    /// Error{bad_config} listing what was noted.
    void done() const {
        if (count_ > 0)
            fail(ErrorCode::bad_config, count_, " tensors do not fit: ", problems_,
                 count_ > shown ? "; ..." : "");
    }

  private:
    static constexpr int shown = 16;
    void note(const std::string& problem) {
        if (count_++ < shown) problems_ += (problems_.empty() ? "" : "; ") + problem;
    }
    static std::string text(const std::vector<std::size_t>& shape) {
        std::string result = "[";
        for (const std::size_t n : shape)
            result += (result.size() > 1 ? ", " : "") + std::to_string(n);
        return result + "]";
    }
    const TensorSource& source_;
    std::string problems_;
    int count_ = 0;
};

namespace detail {

inline std::vector<float> read_vector(const TensorSource& source, const std::string& name) {
    const std::vector<std::size_t>& shape = *source.shape(name);
    std::size_t count = 1;
    for (const std::size_t n : shape) count = checked_mul(count, n, name);
    std::vector<float> result(count);
    source.read(name, 0, result);
    return result;
}

// A tensor [rows][columns] into packed weights, in pieces of a few MiB so that memory holds one
// copy. `transposed`: the file holds [in][out].
enum class StoredAs : std::uint8_t { out_in, in_out };
inline void read_matrix(const TensorSource& source, const std::string& name, StoredAs stored,
                        std::ptrdiff_t first_out, WeightMatrix& to) {
    const std::vector<std::size_t>& shape = *source.shape(name);
    const auto columns = static_cast<std::ptrdiff_t>(shape[1]);
    const auto rows = static_cast<std::ptrdiff_t>(shape[0]);
    const std::ptrdiff_t step = std::max<std::ptrdiff_t>(
        1, (std::ptrdiff_t{1} << 20) / std::max<std::ptrdiff_t>(columns, 1));
    std::vector<float> piece;
    for (std::ptrdiff_t row = 0; row < rows; row += step) {
        const std::ptrdiff_t count = std::min(step, rows - row);
        piece.resize(static_cast<std::size_t>(count * columns));
        source.read(name, static_cast<std::size_t>(row * columns), piece);
        if (stored == StoredAs::out_in)
            to.put(first_out + row, 0, count, columns, piece.data(), columns, 1);
        else
            to.put(first_out, row, columns, count, piece.data(), 1, columns);
    }
}

}  // namespace detail

}  // namespace cairn::inline CAIRN_ABI
