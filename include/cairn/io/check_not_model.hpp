// What is written never takes the place of the model that is read.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <string_view>

#include "cairn/core/system_call.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Whether two names, both there, are one file.
inline bool same_file(const struct stat& a, const struct stat& b) noexcept {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}
// Whether the reader of a model's folder may look at a name.
inline bool read_in_folders(std::string_view name) noexcept {
    return name.ends_with(".safetensors") || name.ends_with(".json");
}
// What all parts of a split GGUF file are named like: PREFIX-00002-of-00003.gguf without the number
// of the part. Empty for other names.
inline std::string split_name(std::string_view name) {
    constexpr std::string_view like = "-00000-of-00000.gguf";
    if (name.size() < like.size()) return {};
    std::string ending(name.substr(name.size() - like.size()));
    for (char& c : ending)
        if (c >= '0' && c <= '9') c = '0';
    if (ending != like) return {};
    const std::string_view prefix = name.substr(0, name.size() - like.size());
    return std::string(prefix) + std::string(name.substr(name.size() - 14));
}

}  // namespace internal

/// Error{invalid_argument} if writing `output` would replace a file of the model at `model` (a GGUF
/// file or a folder): one of its files by any name, links included, or in its folder a name that
/// the reader of a folder looks at (*.safetensors, *.json).
inline void check_not_model(const std::string& model, const std::string& output) {
    struct stat status {};
    struct stat out {};
    struct stat at {};
    if (::stat(model.c_str(), &status) != 0) return;  // opening it says why
    const bool folder = S_ISDIR(status.st_mode);
    const bool exists = ::stat(output.c_str(), &out) == 0;
    const auto name_of = [](const std::string& path) {
        return path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
    };
    const auto folder_of = [](const std::string& path) {
        const std::size_t slash = path.rfind('/');
        return slash == std::string::npos ? "." : path.substr(0, slash + 1);
    };
    require(!exists || !internal::same_file(out, status), ErrorCode::invalid_argument, output,
            " is the model that is read");
    const std::string name = name_of(output);
    if (folder && ::stat(folder_of(output).c_str(), &at) == 0 && internal::same_file(at, status))
        require(!internal::read_in_folders(name), ErrorCode::invalid_argument, output,
                " would be a file of the model in ", model);
    if (!exists) return;
    // Other files of the model: all of a folder, or the parts of a split file.
    const std::string split = folder ? std::string() : internal::split_name(name_of(model));
    if (!folder && split.empty()) return;
    const std::string where = folder ? model : folder_of(model);
    const std::unique_ptr<DIR, int (*)(DIR*)> list(::opendir(where.c_str()), ::closedir);
    if (list == nullptr) fail_io(errno, where);
    while (const dirent* entry = ::readdir(list.get())) {
        if (::fstatat(::dirfd(list.get()), entry->d_name, &at, 0) != 0 || !S_ISREG(at.st_mode) ||
            (!folder && internal::split_name(entry->d_name) != split))
            continue;
        if (folder && !internal::read_in_folders(entry->d_name)) continue;
        require(!internal::same_file(at, out), ErrorCode::invalid_argument, output, " is ",
                entry->d_name, " of the model in ", where);
    }
}

}}  // namespace cairn
