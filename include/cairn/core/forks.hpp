// Whether this process is still the one that made an object: after fork(2) the child has the
// object's bytes, but not its threads, and it shares its files. And steps that a fork waits for.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

inline std::atomic<std::uint32_t>& fork_counter() noexcept {
    static std::atomic<std::uint32_t> count{0};
    return count;
}

/// How often the processes that led to this one were forked since the first call of watch_forks:
/// another number than before, another process.
inline std::uint32_t forks() noexcept { return fork_counter().load(std::memory_order_relaxed); }

/// The lock of every WholeStep. Of the system's kind: it is never destroyed.
inline pthread_mutex_t& fork_lock() noexcept {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    return lock;
}

/// Whether this thread is inside fork(2) and holds the lock: handlers of the program's own, which
/// run meanwhile, may use what steps guard.
inline bool& inside_fork() noexcept {
    thread_local bool inside = false;
    return inside;
}

/// From now on counts forks and has them wait for steps. Returns forks(). Throws
/// Error{out_of_memory}.
inline std::uint32_t watch_forks() {
    static const bool watching = [] {
        const auto enter = [] {
            ::pthread_mutex_lock(&fork_lock());
            inside_fork() = true;
        };
        const auto leave = [] {
            inside_fork() = false;
            ::pthread_mutex_unlock(&fork_lock());
        };
        const auto leave_in_child = [] {
            ++fork_counter();
            inside_fork() = false;
            ::pthread_mutex_unlock(&fork_lock());
        };
        require(::pthread_atfork(enter, leave, leave_in_child) == 0, ErrorCode::out_of_memory,
                "no memory to watch for fork(2)");
        return true;
    }();
    return static_cast<void>(watching), forks();
}

/// While it lives no other thread is in such a step and the process does not fork: a child finds
/// what the steps change whole, and nobody inside. One lock for the whole process, so for short
/// steps; none begins another one, and no signal handler forks inside of one. Whose data it guards
/// calls watch_forks() when it is made.
class WholeStep {
  public:
    WholeStep() noexcept {
        if (!inside_fork()) ::pthread_mutex_lock(&fork_lock());
    }
    ~WholeStep() {
        if (!inside_fork()) ::pthread_mutex_unlock(&fork_lock());
    }
    WholeStep(const WholeStep&) = delete;
    WholeStep& operator=(const WholeStep&) = delete;
};

}}}  // namespace cairn::internal
