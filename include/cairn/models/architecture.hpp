// Architectures by name: what turns a model's files into a model. A program adds its own with one
// line, and loading, listing and exporting find it like the library's.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "cairn/core/added_list.hpp"
#include "cairn/models/any_model.hpp"
#include "cairn/models/model_numbers.hpp"
#include "cairn/models/weight_reader.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a model's files say before any weight is read.
struct ModelShape {
    std::string architecture;  ///< as the files name it
    int layers = 0;
    int width = 0;
    int context = 0;
    int vocabulary = 0;
    HeadLayout heads{};  ///< of the layer that caches most
};

/// What a reader makes of a model's files: its shape, its tensors, and how they become a model.
struct ModelRecipe {
    ModelShape shape;
    TensorTable tensors;
    std::function<AnyModel(WeightReader&)> build;
    /// Why GGUF files cannot hold it, so that an export is refused; empty: they can.
    std::string not_in_gguf{};
};

/// Reads the numbers and says what follows from them. The source is there for what only the
/// tensors tell; weights are read by `ModelRecipe::build`. Throws Error{bad_config, bad_file,
/// unsupported}.
using ArchitectureReader = std::function<ModelRecipe(ModelNumbers&, const TensorSource&)>;

/// An architecture as both kinds of file name it; empty: there are no such files.
struct Architecture {
    std::string hf;    ///< `model_type` of config.json, or one of its `architectures`
    std::string gguf;  ///< `general.architecture`
    ArchitectureReader read;

    const std::string& name(ModelFormat format) const noexcept {
        return format == ModelFormat::gguf ? gguf : hf;
    }
};

/// Adds an architecture for all models that are loaded from then on; a name that exists, the
/// library's too, is replaced. Thread-safe. Throws Error{invalid_argument} for an empty reader.
inline void register_architecture(Architecture architecture) {
    require(architecture.read != nullptr, ErrorCode::invalid_argument,
            "register_architecture: a reader that is empty");
    internal::AddedList<Architecture>::instance().put(std::move(architecture));
}
/// The same under one name in both kinds of file.
inline void register_architecture(const std::string& name, ArchitectureReader reader) {
    register_architecture({name, name, std::move(reader)});
}

}}  // namespace cairn
