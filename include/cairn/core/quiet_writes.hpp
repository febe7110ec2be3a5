// Writing past a limit on file sizes is an error of the call, and no signal.
#pragma once

#include <signal.h>

#include <cerrno>
#include <ctime>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// While it lives, writes of this thread that a limit on file sizes forbids fail with EFBIG;
/// SIGXFSZ would end the process.
class QuietWrites {
  public:
    QuietWrites() noexcept {
        const sigset_t set = signals();
        ::pthread_sigmask(SIG_BLOCK, &set, &before_);
    }
    ~QuietWrites() {
        const sigset_t set = signals();
        const int error = errno;  // of the write, which the caller has yet to look at
        if (sigismember(&before_, SIGXFSZ) == 0) take(set);
        errno = error;
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    QuietWrites(const QuietWrites&) = delete;
    QuietWrites& operator=(const QuietWrites&) = delete;

  private:
    // Takes the signals of a set that are pending, without waiting for any.
    static void take(const sigset_t& set) noexcept {
#if defined(__APPLE__)
        sigset_t pending;
        int taken = 0;
        while (::sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 1)
            ::sigwait(&set, &taken);
#else
        const timespec now{};
        while (::sigtimedwait(&set, nullptr, &now) > 0) {
        }
#endif
    }
    static sigset_t signals() noexcept {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGXFSZ);
        return set;
    }
    sigset_t before_;
};

}}  // namespace cairn
