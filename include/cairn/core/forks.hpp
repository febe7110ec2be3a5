// Whether this process is still the one that made an object: after fork(2) the child has the
// object's bytes, but not its threads, and it shares its files.
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

/// Counts forks from now on and returns forks(). Throws Error{out_of_memory}.
inline std::uint32_t watch_forks() {
    static const bool watching = [] {
        require(::pthread_atfork(nullptr, nullptr, [] { ++fork_counter(); }) == 0,
                ErrorCode::out_of_memory, "no memory to watch for fork(2)");
        return true;
    }();
    return static_cast<void>(watching), forks();
}

}}}  // namespace cairn::internal
