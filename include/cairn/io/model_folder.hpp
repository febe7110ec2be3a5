// A model folder in Hugging Face's layout: config.json, *.safetensors, tokenizer.json where there
// is one.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/io/hf_config.hpp"
#include "cairn/io/safetensors_source.hpp"
#include "cairn/io/tokenizer.hpp"

namespace cairn::inline CAIRN_ABI {

/// Everything a folder holds.
struct ModelFolder {
    Gpt2 model;
    std::vector<Token> end_of_text;
    std::optional<Tokenizer> tokenizer;
};

/// Loads a folder. Weights keep their type unless `store_as` says otherwise; memory holds one copy.
/// Throws Error{io, bad_file, bad_config, bad_tokenizer, unsupported, limit}.
inline ModelFolder load_model_folder(const std::string& path,
                                     std::optional<ElementType> store_as = std::nullopt,
                                     const Progress& progress = {}, const FileLimits& limits = {}) {
    const std::filesystem::path folder(path);
    std::error_code error;
    require(std::filesystem::is_directory(folder, error), ErrorCode::io, path,
            ": not a folder with config.json and model.safetensors");
    const std::string config_path = (folder / "config.json").string();
    const HfConfig config =
        parse_hf_config(read_text(config_path, limits.json_bytes), config_path, limits);
    std::optional<Tokenizer> tokenizer;
    const std::filesystem::path tokenizer_path = folder / "tokenizer.json";
    if (std::filesystem::exists(tokenizer_path, error)) {
        tokenizer = Tokenizer::parse(read_text(tokenizer_path.string(), limits.json_bytes), limits);
        require(tokenizer->size() <= static_cast<std::size_t>(config.gpt2.vocabulary),
                ErrorCode::bad_tokenizer, tokenizer_path.string(), ": ", tokenizer->size(),
                " tokens for a vocabulary of ", config.gpt2.vocabulary);
    }
    const SafetensorsSource source(folder, limits);
    return {load_gpt2(config.gpt2, source, store_as, progress), config.end_of_text,
            std::move(tokenizer)};
}

}  // namespace cairn::inline CAIRN_ABI
