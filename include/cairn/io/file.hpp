// Files: regular ones only, whole reads and atomic writes (output_file.hpp) or a typed error, never
// a signal (no mapping).
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "cairn/core/checked.hpp"
#include "cairn/core/system_call.hpp"
#include "cairn/io/output_file.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// An open regular file. Movable; reads may come from several threads.
class InputFile {
  public:
    /// Throws Error{io} if it cannot be opened or is not a regular file.
    explicit InputFile(std::string path) : path_(std::move(path)) {
        require(path_.find('\0') == std::string::npos && !path_.empty() && path_.size() < 4096,
                ErrorCode::io, "bad path of ", path_.size(), " bytes");
        descriptor_ =
            uninterrupted([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
        if (descriptor_ < 0) fail_io(errno, path_);
        struct stat status {};
        const bool known = ::fstat(descriptor_, &status) == 0;
        if (!known || !S_ISREG(status.st_mode)) {
            const int error = errno;
            ::close(descriptor_);
            if (!known) fail_io(error, path_);
            fail(ErrorCode::io, path_, ": not a regular file");
        }
        size_ = static_cast<std::size_t>(status.st_size);
    }
    InputFile(InputFile&& other) noexcept
        : path_(std::move(other.path_)),
          descriptor_(std::exchange(other.descriptor_, -1)),
          size_(other.size_) {}
    InputFile& operator=(InputFile&&) = delete;
    ~InputFile() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }

    /// Fills `to` from `offset`. Throws Error{io} if the file fails or ends before that.
    void read(std::size_t offset, std::span<std::byte> to) const {
        std::size_t done = 0;
        while (done < to.size()) {
            const ssize_t n = uninterrupted([&] {
                return ::pread(descriptor_, to.data() + done, to.size() - done,
                               static_cast<off_t>(offset + done));
            });
            if (n < 0) fail_io(errno, path_, ": reading ", to.size(), " bytes at ", offset);
            require(n > 0, ErrorCode::io, path_, ": ends at byte ", offset + done, ", ",
                    to.size() - done, " bytes early");
            done += static_cast<std::size_t>(n);
        }
    }
    std::size_t size() const noexcept { return size_; }
    const std::string& path() const noexcept { return path_; }

  private:
    std::string path_;
    int descriptor_ = -1;
    std::size_t size_ = 0;
};

/// Whether something has this name; a link counts even if it leads nowhere. Error{io} if that
/// cannot be known: a loop of links on the way, no permission.
inline bool name_exists(const std::string& path) {
    struct stat status {};
    if (uninterrupted([&] { return ::lstat(path.c_str(), &status); }) == 0) return true;
    if (errno != ENOENT && errno != ENOTDIR) fail_io(errno, path);
    return false;
}

/// The whole file as a string. Throws Error{io}, Error{limit} beyond `most` bytes.
inline std::string read_text(const std::string& path, std::size_t most) {
    const InputFile file(path);
    require(file.size() <= most, ErrorCode::limit, path, ": ", file.size(), " bytes; at most ",
            most);
    std::string text(file.size(), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

}}  // namespace cairn
