// The chat template of a model folder: text that is shown and copied, never run.
#pragma once

#include <filesystem>
#include <string>

#include "cairn/io/file.hpp"
#include "cairn/io/json.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

// The template lies in a file of its own, or in tokenizer_config.json as a string or as a list of
// named ones.
inline std::string folder_chat_template(const std::filesystem::path& folder,
                                        const FileLimits& limits) {
    const std::filesystem::path alone = folder / "chat_template.jinja";
    if (name_exists(alone.string())) {
        check_limit(InputFile(alone.string()).size(), limits.chat_template, "chat_template",
                    alone.string(), "bytes");
        return read_text(alone.string(), limits.chat_template);
    }
    const std::filesystem::path path = folder / "tokenizer_config.json";
    if (!name_exists(path.string())) return {};
    const JsonDocument document(parse_json(read_json_file(path.string(), limits),
                                           ErrorCode::bad_tokenizer, path.string(), limits));
    const Json& json = *document;
    const auto at = json.is_object() ? json.find("chat_template") : json.end();
    if (at == json.end()) return {};
    if (at->is_string()) return at->get<std::string>();
    if (at->is_array())
        for (const Json& entry : *at) {  // no copies: see take_apart
            if (!entry.is_object()) continue;
            const auto name = entry.find("name");
            const auto text = entry.find("template");
            if (name != entry.end() && *name == "default" && text != entry.end() &&
                text->is_string())
                return text->get<std::string>();
        }
    return {};
}

}  // namespace internal

}}  // namespace cairn
