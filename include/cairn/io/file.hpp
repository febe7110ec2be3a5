// Reading files: regular files only, whole reads or a typed error, never a signal (no mapping).
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "cairn/core/checked.hpp"

namespace cairn::inline CAIRN_ABI {

/// An open regular file. Movable; reads may come from several threads.
class InputFile {
  public:
    /// Throws Error{io} if it cannot be opened or is not a regular file.
    explicit InputFile(std::string path) : path_(std::move(path)) {
        require(path_.find('\0') == std::string::npos && !path_.empty() && path_.size() < 4096,
                ErrorCode::io, "bad path of ", path_.size(), " bytes");
        do {
            descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        } while (descriptor_ < 0 && errno == EINTR);
        require(descriptor_ >= 0, ErrorCode::io, path_, ": ", reason());
        struct stat status {};
        const bool known = ::fstat(descriptor_, &status) == 0;
        if (!known || !S_ISREG(status.st_mode)) {
            ::close(descriptor_);
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
            const ssize_t n = ::pread(descriptor_, to.data() + done, to.size() - done,
                                      static_cast<off_t>(offset + done));
            if (n < 0 && errno == EINTR) continue;
            require(n >= 0, ErrorCode::io, path_, ": reading ", to.size(), " bytes at ", offset,
                    ": ", reason());
            require(n > 0, ErrorCode::io, path_, ": ends at byte ", offset + done, ", ",
                    to.size() - done, " bytes early");
            done += static_cast<std::size_t>(n);
        }
    }
    std::size_t size() const noexcept { return size_; }
    const std::string& path() const noexcept { return path_; }

  private:
    static std::string reason() { return std::generic_category().message(errno); }
    std::string path_;
    int descriptor_ = -1;
    std::size_t size_ = 0;
};

/// The whole file as a string. Throws Error{io}, Error{limit} beyond `most` bytes.
inline std::string read_text(const std::string& path, std::size_t most) {
    const InputFile file(path);
    require(file.size() <= most, ErrorCode::limit, path, ": ", file.size(), " bytes; at most ",
            most);
    std::string text(file.size(), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

}  // namespace cairn::inline CAIRN_ABI
