// Files: regular ones only, whole reads and atomic writes or a typed error, never a signal (no
// mapping).
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "cairn/core/checked.hpp"
#include "cairn/core/quiet_writes.hpp"

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

/// A file that appears under its name only when it is complete: written beside it, synced, renamed,
/// and the folder synced, so that after a crash the old file or the new one is there. Destroyed
/// before `finish`, it leaves the old file alone and nothing else behind.
class OutputFile {
  public:
    /// Whether a finished file survives the machine's sudden end, or only the program's.
    enum class Durability : std::uint8_t { machine, program };

    /// Throws Error{io}.
    explicit OutputFile(std::string path) : path_(std::move(path)) {
        require(path_.find('\0') == std::string::npos && !path_.empty() && path_.size() < 4000,
                ErrorCode::io, "bad path of ", path_.size(), " bytes");
        std::error_code ignored;
        const auto status = std::filesystem::status(path_, ignored);
        require(!std::filesystem::exists(status) || std::filesystem::is_regular_file(status),
                ErrorCode::io, path_, ": not a regular file");
        remove_stale();
        temporary_ = path_ + ".tmp-" + std::to_string(::getpid());
        descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        require(descriptor_ >= 0, ErrorCode::io, path_, ": ", reason());
    }
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    ~OutputFile() {
        if (descriptor_ >= 0) ::close(descriptor_);
        if (!temporary_.empty()) ::unlink(temporary_.c_str());
    }

    /// Appends. Throws Error{io}; a limit on file sizes is an error and no signal.
    void write(std::span<const std::byte> from) {
        const QuietWrites quiet;
        while (!from.empty()) {
            const ssize_t n = ::write(descriptor_, from.data(), from.size());
            if (n < 0 && errno == EINTR) continue;
            require(n > 0, ErrorCode::io, path_, ": writing: ", reason());
            from = from.subspan(static_cast<std::size_t>(n));
        }
    }
    /// Gives it its name, durably unless told otherwise. Throws Error{io}; then the old file is
    /// untouched.
    void finish(Durability durability = Durability::machine) {
        require(durability == Durability::program || ::fsync(descriptor_) == 0, ErrorCode::io,
                path_, ": syncing: ", reason());
        const int descriptor = std::exchange(descriptor_, -1);
        require(::close(descriptor) == 0, ErrorCode::io, path_, ": closing: ", reason());
        require(::rename(temporary_.c_str(), path_.c_str()) == 0, ErrorCode::io, path_,
                ": renaming: ", reason());
        temporary_.clear();
        if (durability == Durability::program) return;
        std::filesystem::path folder = std::filesystem::path(path_).parent_path();
        if (folder.empty()) folder = ".";
        const int at = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (at >= 0) {
            ::fsync(at);  // the file is complete either way
            ::close(at);
        }
    }

  private:
    // What killed writers of this file left behind.
    void remove_stale() const {
        const std::filesystem::path path(path_);
        const std::string prefix = path.filename().string() + ".tmp-";
        std::error_code error;
        const auto folder = path.has_parent_path() ? path.parent_path() : ".";
        for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
             it.increment(error)) {
            const std::string name = it->path().filename().string();
            if (!name.starts_with(prefix)) continue;
            const long writer = std::strtol(name.c_str() + prefix.size(), nullptr, 10);
            if (writer > 0 && ::kill(static_cast<pid_t>(writer), 0) != 0 && errno == ESRCH)
                ::unlink(it->path().c_str());
        }
    }
    static std::string reason() { return std::generic_category().message(errno); }

    std::string path_;
    std::string temporary_;
    int descriptor_ = -1;
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
