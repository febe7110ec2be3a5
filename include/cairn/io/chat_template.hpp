// The chat template of a model folder: text that is shown and copied, never run.
#pragma once

#include <filesystem>
#include <string>

#include "cairn/io/json.hpp"

namespace cairn::inline CAIRN_ABI {

namespace detail {

// The template lies in tokenizer_config.json, as a string or as a list of named ones.
inline std::string folder_chat_template(const std::filesystem::path& folder,
                                        const FileLimits& limits) {
    const std::filesystem::path path = folder / "tokenizer_config.json";
    if (!name_exists(path.string())) return {};
    const Json json = parse_json(read_json_file(path.string(), limits), ErrorCode::bad_tokenizer,
                                 path.string(), limits);
    const auto at = json.is_object() ? json.find("chat_template") : json.end();
    if (at == json.end()) return {};
    if (at->is_string()) return at->get<std::string>();
    if (at->is_array())
        for (const Json& entry : *at)
            if (entry.is_object() && entry.value("name", Json()) == "default" &&
                entry.value("template", Json()).is_string())
                return entry["template"].get<std::string>();
    return {};
}

}  // namespace detail

}  // namespace cairn::inline CAIRN_ABI
