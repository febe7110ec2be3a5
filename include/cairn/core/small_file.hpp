// A small file read whole: what a word of a SPEC names.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cairn/core/system_call.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The bytes of a file; of one with more than `most` only more than these, so that who asks can
/// tell. Memory grows with what is read, not with what a file says. Throws Error{io}.
[[gnu::cold]] inline std::vector<std::byte> read_small_file(const std::string& path,
                                                            std::size_t most) {
    constexpr std::size_t step = std::size_t{1} << 16;
    struct Close {
        void operator()(std::FILE* file) const noexcept { std::fclose(file); }
    };
    const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rbe"));
    if (file == nullptr) fail_io(errno, path);
    std::vector<std::byte> bytes;
    while (bytes.size() <= most) {
        const std::size_t held = bytes.size();
        bytes.resize(held + step);
        const std::size_t n = std::fread(bytes.data() + held, 1, step, file.get());
        if (n == 0 && std::ferror(file.get()) != 0) fail_io(errno, path);
        bytes.resize(held + n);
        if (n == 0) break;
    }
    return bytes;
}

}}  // namespace cairn
