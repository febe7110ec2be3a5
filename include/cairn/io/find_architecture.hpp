// Which recipe reads a model's files, and what it makes of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cairn/core/checked.hpp"
#include "cairn/io/limits.hpp"
#include "cairn/models/architecture.hpp"
#include "cairn/models/library_architectures.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The architecture that one of these names stands for in files of this kind: one that the program
/// has added (`register_architecture`), or the library's. Error{unsupported} naming those that are
/// known.
[[gnu::cold]] inline Architecture find_architecture(const std::vector<std::string>& names,
                                                    ModelFormat format, const std::string& where) {
    std::vector<Architecture> all = *internal::AddedList<Architecture>::instance().get();
    for (Architecture& own : library_architectures()) all.push_back(std::move(own));
    std::string known;
    for (const std::string& name : names)
        for (Architecture& architecture : all)
            if (!name.empty() && architecture.name(format) == name) return std::move(architecture);
    for (const Architecture& architecture : all) {
        const std::string& name = architecture.name(format);
        if (name.empty() || (", " + known + ",").find(", " + name + ",") != std::string::npos)
            continue;
        if (!known.empty()) known.append(", ");
        known.append(name);
    }
    fail(ErrorCode::unsupported, where, ": the architecture \"",
         names.empty() ? std::string() : names.front().substr(0, 60),
         "\" is not known; known: ", known, "; docs/extend.md shows how a program adds one");
}

namespace internal {

// What the reader makes of the numbers, if a full context of keys and values as f32 keeps to the
// limit.
[[gnu::cold]] inline ModelRecipe read_recipe(const Architecture& architecture,
                                             ModelNumbers& numbers, const TensorSource& source,
                                             const FileLimits& limits) {
    ModelRecipe recipe = architecture.read(numbers, source);
    ModelShape& shape = recipe.shape;
    shape.heads.input = shape.width;
    const auto size = [](std::ptrdiff_t n) { return static_cast<std::size_t>(n); };
    const std::size_t row =
        checked_mul(size(shape.heads.kv_heads),
                    size(shape.heads.key_dim) + size(shape.heads.value_dim), "cache bytes");
    const std::size_t bytes =
        checked_mul(checked_mul(size(shape.context), size(shape.layers), "cache bytes"),
                    checked_mul(row, sizeof(float), "cache bytes"), "cache bytes");
    check_limit(bytes, limits.cache_bytes, "cache_bytes", numbers.where(),
                "bytes of keys and values for a full context");
    return recipe;
}

}  // namespace internal

}}  // namespace cairn
