// A model from a path: a GGUF file, or a folder in Hugging Face's layout (config.json,
// *.safetensors, tokenizer.json where there is one). A file that is there is read or is an error:
// one that cannot be reached, as behind a loop of links, does not count as absent.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/generate/limits.hpp"
#include "cairn/io/limits.hpp"
#include "cairn/io/tokenizer.hpp"
#include "cairn/models/any_model.hpp"
#include "cairn/models/session.hpp"
#include "cairn/models/tensor_source.hpp"

// The readers of files are parsed where they are compiled: in every program that uses the headers
// alone, or in the library cairn::io_compiled.
#if !defined(CAIRN_EXTERN_IO) || defined(CAIRN_IO_IMPLEMENTATION)
#include "cairn/io/chat_template.hpp"
#include "cairn/io/gguf_config.hpp"
#include "cairn/io/generation_config.hpp"
#include "cairn/io/gguf_end_of_text.hpp"
#include "cairn/io/hf_config.hpp"
#include "cairn/io/folder_tensors.hpp"
#include "cairn/io/tokenizer_gguf.hpp"
#include "cairn/io/tokenizer_json.hpp"
#endif

namespace cairn { inline namespace CAIRN_ABI {

/// Everything a model's files hold. Ids of the model without a token are never sampled.
struct LoadedModel {
    AnyModel model;
    std::vector<Token> end_of_text;
    std::optional<Tokenizer> tokenizer;
    std::string chat_template;  ///< as text, never run; empty if there is none
    std::vector<std::string>
        unread{};                      ///< tensors of the files that the model does not use, sorted
    std::vector<std::string> notes{};  ///< sentences about what was ignored in the files

    /// A text as the model expects it to be begun: what the tokenizer puts in front of a text, and
    /// the text's ids. What it would put behind is left out, for the model goes on.
    /// Error{unsupported} without a tokenizer, Error{capacity} as soon as there are certainly more
    /// than `most` tokens.
    std::vector<Token> prompt(std::string_view text, SpecialTokens special = SpecialTokens::as_text,
                              std::size_t most = std::numeric_limits<std::size_t>::max()) const {
        require(tokenizer.has_value(), ErrorCode::unsupported,
                "the model has no tokenizer: a prompt is given as token ids");
        std::vector<Token> result = tokenizer->prefix();
        require(result.size() <= most, ErrorCode::capacity, "tokenizer: ", result.size(),
                " tokens before any text; ", most, " fit");
        const std::vector<Token> ids = tokenizer->encode(text, special, most - result.size());
        result.insert(result.end(), ids.begin(), ids.end());
        return result;
    }
    /// The limits with the tokens that end the model's texts: `limits({.max_tokens = 48})`.
    Limits limits(Limits own = {}) const {
        own.end_of_text.insert(own.end_of_text.end(), end_of_text.begin(), end_of_text.end());
        return own;
    }
};

#if defined(CAIRN_EXTERN_IO) && !defined(CAIRN_IO_IMPLEMENTATION)
/// Loads a model, as documented below. Compiled in the library `cairn::io_compiled`.
LoadedModel load_model(const std::string& path, const LoadOptions& options = {},
                       const FileLimits& limits = {});
namespace internal {
extern template Forward open_forward(const AnyModel&, std::span<const Slice>, Context&, Sessions);
}
#else
namespace internal {

inline AnyModel build_model(const ModelRecipe& recipe, const TensorSource& source,
                            ModelFormat format, const LoadOptions& options) {
    WeightReader reader(recipe.tensors, source, format, options);
    return recipe.build(reader);
}

[[gnu::cold]] inline LoadedModel load_folder(const std::filesystem::path& folder,
                                             const LoadOptions& options, const FileLimits& limits) {
    const std::string config_path = (folder / "config.json").string();
    const std::string text = read_json_file(config_path, limits);
    const FolderTensors source(folder, limits);
    HfConfig config = parse_hf_config(text, config_path, limits, source);
    std::vector<Token> end = folder_end_of_text(folder, config, limits);
    std::optional<Tokenizer> tokenizer;
    const std::filesystem::path path = folder / "tokenizer.json";
    if (name_exists(path.string())) {
        tokenizer = Tokenizer::parse(read_json_file(path.string(), limits), limits);
        check_vocabulary(tokenizer->size(), config.vocabulary(), path.string());
    }
    return {build_model(config.recipe, source, ModelFormat::hugging_face, options),
            std::move(end),
            std::move(tokenizer),
            folder_chat_template(folder, limits),
            config.recipe.tensors.check(source, ModelFormat::hugging_face).unread(),
            std::move(config.notes)};
}

[[gnu::cold]] inline LoadedModel load_gguf(const std::string& path, const LoadOptions& options,
                                           const FileLimits& limits) {
    const GgufSource source(path, limits);
    const GgufMetadata& metadata = source.metadata();
    const ModelRecipe recipe = read_gguf_recipe(metadata, source, limits);
    std::optional<Tokenizer> tokenizer = gguf_tokenizer(metadata, limits);
    const int vocabulary = recipe.shape.vocabulary;
    if (tokenizer) check_vocabulary(tokenizer->size(), vocabulary, path);
    std::vector<std::string> unread = recipe.tensors.check(source, ModelFormat::gguf).unread();
    check_unread(unread, source);
    std::vector<std::string> notes;
    std::vector<Token> end =
        known_end_of_text(gguf_end_of_text(metadata, tokenizer, limits), vocabulary, notes);
    return {build_model(recipe, source, ModelFormat::gguf, options),
            std::move(end),
            std::move(tokenizer),
            metadata.string("tokenizer.chat_template", ""),
            std::move(unread),
            std::move(notes)};
}

// Ids that the tokenizer has no token for are rows that pad the vocabulary.
inline LoadedModel without_padding(LoadedModel loaded) {
    if (!loaded.tokenizer) return loaded;
    const std::vector<bool>& used = loaded.tokenizer->vocabulary().used;
    std::vector<Token> unused;
    for (Token id = 0; id < loaded.model.vocabulary(); ++id)
        if (static_cast<std::size_t>(id) >= used.size() || !used[static_cast<std::size_t>(id)])
            unused.push_back(id);
    if (!unused.empty()) loaded.model = loaded.model.without(std::move(unused));
    return loaded;
}

}  // namespace internal

/// Loads a model. Weights keep their type unless `options.store_as` says otherwise, but for a
/// folder's eight-bit floats with scales, which become f32; memory holds one copy. Throws Error{io,
/// bad_file, bad_config, bad_tokenizer, unsupported, limit}.
CAIRN_IO_LINKAGE LoadedModel load_model(const std::string& path, const LoadOptions& options = {},
                                        const FileLimits& limits = {}) {
    const FpEnvironment environment;
    std::error_code error;
    if (std::filesystem::is_directory(std::filesystem::path(path), error))
        return internal::without_padding(internal::load_folder(path, options, limits));
    require(name_exists(path), ErrorCode::io, path, ": no such file or folder");
    return internal::without_padding(internal::load_gguf(path, options, limits));
}
#endif

}}  // namespace cairn
