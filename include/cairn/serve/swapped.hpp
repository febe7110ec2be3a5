// A sequence that is on disk, or on its way back: owns its file and the thread that reads it, and
// leaves both alone in a forked child, whose parent still needs them.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "cairn/core/error.hpp"
#include "cairn/core/forks.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// A file that goes away with its owner, in the process that wrote it.
class SwapFile {
  public:
    SwapFile() = default;
    /// An empty file in a folder, under a name that nobody else has. Throws Error{io}.
    explicit SwapFile(const std::string& folder) : process_(watch_forks()) {
        std::string path = folder + "/sequence-XXXXXX";
        const int descriptor = ::mkostemp(path.data(), O_CLOEXEC);
        require(descriptor >= 0, ErrorCode::io, "swap file in ", folder, ": ",
                std::strerror(errno));
        ::close(descriptor);
        path_ = std::move(path);
    }
    SwapFile(SwapFile&& other) noexcept
        : path_(std::exchange(other.path_, {})), process_(other.process_) {}
    SwapFile& operator=(SwapFile&& other) noexcept {
        std::swap(path_, other.path_);
        std::swap(process_, other.process_);
        return *this;
    }
    ~SwapFile() { remove(); }

    const std::string& path() const noexcept { return path_; }
    void remove() noexcept {
        if (!path_.empty() && process_ == forks()) ::unlink(path_.c_str());
        path_.clear();
    }

  private:
    std::string path_;
    std::uint32_t process_ = 0;
};

/// What another thread is making. A child forks without that thread: it never waits for it.
template <class T>
class Coming {
  public:
    Coming() = default;
    /// Calls `make` on another thread. Throws std::system_error, std::bad_alloc.
    template <class Make>
    explicit Coming(Make make) : process_(watch_forks()), future_(new std::future<T>) {
        *future_ = std::async(std::launch::async, std::move(make));
    }
    Coming(Coming&&) noexcept = default;
    Coming& operator=(Coming&& other) noexcept {
        std::swap(process_, other.process_);
        std::swap(future_, other.future_);
        return *this;
    }
    ~Coming() { leave(); }

    /// Whether there is something to `get`.
    bool valid() noexcept {
        leave();
        return future_ != nullptr;
    }
    /// Waits for it, and throws what making it threw.
    T get() { return std::exchange(future_, nullptr)->get(); }

  private:
    void leave() noexcept {
        if (future_ && process_ != forks()) static_cast<void>(future_.release());
    }
    std::uint32_t process_ = 0;
    std::unique_ptr<std::future<T>> future_;
};

}}}  // namespace cairn::internal
