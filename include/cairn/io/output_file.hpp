// Files that appear under their name only when they are complete. What is being written lies beside
// it as NAME.tmp-PID-RANDOM, locked as long as its writer lives: any number of threads and
// processes may write one path, and the last to finish wins. The next writer of a name removes what
// others left behind when they were killed, and knows it by the lock that nobody holds.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "cairn/core/fingerprint.hpp"
#include "cairn/core/quiet_writes.hpp"
#include "cairn/core/system_call.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Whether nobody holds a lock on an open file; then it is held by us until the file is closed.
// `known` says whether the file system has locks at all.
struct FileLock {
    bool free;
    bool known;
};
inline FileLock lock_file(int descriptor) noexcept {
    const int result = uninterrupted([&] { return ::flock(descriptor, LOCK_EX | LOCK_NB); });
    return {result == 0, result == 0 || errno == EWOULDBLOCK};
}

// Removes a file if its name is `prefix`, PID and perhaps a random number, and its writer is gone.
inline void remove_if_stale(int folder, const char* name, std::size_t prefix) noexcept {
    char* end = nullptr;
    const long writer = std::strtol(name + prefix, &end, 10);
    const bool numbered = *end == '-';
    const std::string_view random = numbered ? end + 1 : "";
    if (writer <= 0 || end == name + prefix || (!numbered && *end != '\0') ||
        (numbered && (random.size() != 16 ||
                      random.find_first_not_of("0123456789abcdef") != std::string_view::npos)))
        return;
    const int descriptor = uninterrupted(
        [&] { return ::openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC); });
    if (descriptor < 0) return;
    struct stat status {};
    if (::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) {
        const FileLock lock = lock_file(descriptor);
        // Names without a random number are those of an older version, which took no locks.
        const bool ask = !lock.known || !numbered;
        const bool gone =
            ask ? ::kill(static_cast<pid_t>(writer), 0) != 0 && errno == ESRCH : lock.free;
        if (gone && (lock.free || !lock.known)) ::unlinkat(folder, name, 0);
    }
    ::close(descriptor);
}
// The same for a whole folder. Nothing here allocates by operator new or throws: a folder that
// cannot be read stays as it is.
inline void remove_stale(const char* folder, std::string_view prefix) noexcept {
    DIR* list = ::opendir(folder);
    if (list == nullptr) return;
    while (const dirent* entry = ::readdir(list))
        if (std::string_view(entry->d_name).starts_with(prefix))
            remove_if_stale(::dirfd(list), entry->d_name, prefix.size());
    ::closedir(list);
}

// A number that no other process can guess, or at least one that no other call has.
inline std::uint64_t unguessable() noexcept {
    std::uint64_t number = 0;
    if (::getentropy(&number, sizeof number) == 0) return number;
    static std::atomic<std::uint64_t> calls{0};
    Fingerprint mixed;
    mixed.add(static_cast<std::uint64_t>(::getpid()));
    mixed.add(calls.fetch_add(1));
    mixed.add(
        static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()));
    return mixed.value();
}

}  // namespace internal

/// A file that appears under its name only when it is complete: written beside it, synced, renamed,
/// and the folder synced, so that after a crash the old file or the new one is there. Destroyed
/// before `finish`, it leaves the old file alone and nothing else behind. A link under the name is
/// replaced, not followed.
class OutputFile {
  public:
    /// Whether a finished file survives the machine's sudden end, or only the program's.
    enum class Durability : std::uint8_t { machine, program };

    /// Throws Error{io}; std::bad_alloc.
    explicit OutputFile(std::string path) : path_(std::move(path)) {
        require(path_.find('\0') == std::string::npos && !path_.empty() && path_.size() < 4000,
                ErrorCode::io, "bad path of ", path_.size(), " bytes");
        struct stat status {};
        if (uninterrupted([&] { return ::stat(path_.c_str(), &status); }) != 0) {
            if (errno != ENOENT) fail_io(errno, path_);
        } else {
            require(S_ISREG(status.st_mode), ErrorCode::io, path_, ": not a regular file");
        }
        const std::size_t slash = path_.rfind('/');
        const std::size_t name = slash == std::string::npos ? 0 : slash + 1;
        folder_ = slash == std::string::npos ? "." : path_.substr(0, slash == 0 ? 1 : slash);
        // File names may have 255 bytes; a long one is cut, between characters.
        std::size_t end = std::min(path_.size(), name + 200);
        while (end < path_.size() && end > name && (path_[end] & 0xC0) == 0x80) --end;
        temporary_ = path_.substr(0, end) + ".tmp-";
        internal::remove_stale(folder_.c_str(), std::string_view(temporary_).substr(name));
        open_temporary();
    }
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    ~OutputFile() { discard(); }

    /// Appends. Throws Error{io}; a limit on file sizes is an error and no signal.
    void write(std::span<const std::byte> from) {
        const QuietWrites quiet;
        while (!from.empty()) {
            const ssize_t n =
                uninterrupted([&] { return ::write(descriptor_, from.data(), from.size()); });
            if (n <= 0) fail_io(n < 0 ? errno : EIO, path_, ": writing");
            from = from.subspan(static_cast<std::size_t>(n));
        }
    }
    /// Gives it its name, durably unless told otherwise. Throws Error{io}; then the old file is
    /// untouched. (A folder that cannot be synced is no error: the file is complete either way.)
    void finish(Durability durability = Durability::machine) {
        if (durability == Durability::machine && sync(descriptor_) != 0)
            fail_io(errno, path_, ": syncing");
        // Some file systems tell of a failed write only when a descriptor is closed. Another one
        // holds the lock until the file has its name.
        const int other = uninterrupted([&] { return ::fcntl(descriptor_, F_DUPFD_CLOEXEC, 0); });
        if (other < 0) fail_io(errno, path_, ": closing");
        if (::close(std::exchange(descriptor_, other)) != 0 && errno != EINTR)
            fail_io(errno, path_, ": closing");
        // Opened now: once the file has its name nothing may fail.
        const int folder = durability == Durability::machine ? uninterrupted([&] {
            return ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        })
                                                             : -1;
        const int error = rename();
        if (error == 0) temporary_.clear();
        if (folder >= 0) {
            if (error == 0) sync(folder);
            ::close(folder);
        }
        if (error != 0) fail_io(error, path_, ": renaming");
        discard();
    }

  private:
    // Made new (O_EXCL): what lies under the name, links included, belongs to somebody else.
    void open_temporary() {
        temporary_ += std::to_string(process_) + "-0123456789abcdef";
        for (int attempt = 0; attempt < 100; ++attempt) {
            std::uint64_t random = internal::unguessable();
            for (std::size_t i = temporary_.size() - 16; i < temporary_.size(); ++i, random >>= 4)
                temporary_[i] = "0123456789abcdef"[random & 15];
            descriptor_ = uninterrupted([&] {
                return ::open(temporary_.c_str(),
                              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
            });
            if (descriptor_ < 0 && errno == EEXIST) continue;
            if (descriptor_ < 0) {
                const int error = errno;
                temporary_.clear();
                fail_io(error, path_);
            }
            // Between opening and locking another writer may have taken it for one left behind.
            const internal::FileLock lock = internal::lock_file(descriptor_);
            struct stat status {};
            if (!lock.known ||
                (lock.free && ::fstat(descriptor_, &status) == 0 && status.st_nlink > 0))
                return;
            ::unlink(temporary_.c_str());
            ::close(std::exchange(descriptor_, -1));
        }
        temporary_.clear();
        fail_io(EEXIST, path_);
    }
    // Returns 0 or an errno.
    int rename() const noexcept {
        const auto once = [&] { return ::rename(temporary_.c_str(), path_.c_str()); };
        if (once() == 0) return 0;
        const bool interrupted = errno == EINTR;
        if (!interrupted || uninterrupted(once) == 0) return interrupted ? 0 : errno;
        // What was interrupted may have been done, on a file system far away.
        const int error = errno;
        struct stat mine {};
        struct stat there {};
        const bool done = error == ENOENT && ::fstat(descriptor_, &mine) == 0 &&
                          ::stat(path_.c_str(), &there) == 0 && mine.st_dev == there.st_dev &&
                          mine.st_ino == there.st_ino;
        return done ? 0 : error;
    }
    static int sync(int descriptor) noexcept {
        return uninterrupted([&] {
#if defined(F_FULLFSYNC)
            if (::fcntl(descriptor, F_FULLFSYNC) == 0) return 0;  // macOS: fsync stops at the drive
#endif
            return ::fsync(descriptor);
        });
    }
    void discard() noexcept {
        // A forked child leaves alone what its parent writes.
        if (!temporary_.empty() && process_ == ::getpid()) ::unlink(temporary_.c_str());
        if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
        temporary_.clear();
    }

    std::string path_;
    std::string folder_;
    std::string temporary_;
    pid_t process_ = ::getpid();
    int descriptor_ = -1;
};

}}  // namespace cairn
