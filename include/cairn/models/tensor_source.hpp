// Where a recipe gets its tensors from: a file format on top implements it, tests make one in
// memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/core/executor.hpp"
#include "cairn/layers/weight_matrix.hpp"

namespace cairn { inline namespace CAIRN_ABI {

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

namespace internal {
/// The keys of a map, for sources that keep their tensors in one.
template <class Map>
std::vector<std::string> names_of(const Map& tensors) {
    std::vector<std::string> result;
    for (const auto& item : tensors) result.push_back(item.first);
    return result;
}
}  // namespace internal

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
    /// Store plain matrices in a format of the program's own (layers/weight_format.hpp).
    std::shared_ptr<const WeightFormat> format{};
};

}}  // namespace cairn
