// Notices that a thread of a pool waits for a core that another process has, and then has the
// others work without it for a while: who waits for a thread without a core is slower than without
// it.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "cairn/core/config.hpp"

namespace cairn::inline CAIRN_ABI::detail {

// The system's number of this thread; 0 where it has none.
inline int thread_number() noexcept {
#if defined(__linux__)
    return static_cast<int>(::syscall(SYS_gettid));
#else
    return 0;
#endif
}

// Nanoseconds that a thread of this process was ready to run and had no core; -1: unknown.
inline std::int64_t waited_for_core(int thread) noexcept {
    if (thread == 0) return -1;
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", thread);
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);  // no stream: it would allocate
    if (file < 0) return -1;
    char line[96];
    const ssize_t size = ::read(file, line, sizeof line - 1);
    ::close(file);
    if (size <= 0) return -1;
    line[size] = '\0';  // "time run, time waited, turns"
    char* end = nullptr;
    std::strtoll(line, &end, 10);
    const std::int64_t waited = *end == ' ' ? std::strtoll(end, nullptr, 10) : -1;
    return waited;
}

/// Whether a thread should be handed work now. Any thread may ask.
class Crowding {
  public:
    bool crowded() const noexcept { return rests_until_.load(std::memory_order_relaxed) != 0; }
    /// Whether it should be left alone at `time`.
    bool rests(std::int64_t time) noexcept {
        const std::int64_t until = rests_until_.load(std::memory_order_relaxed);
        if (until == 0 || time < until) return until != 0;
        resumed_.store(time, std::memory_order_relaxed);
        rests_until_.store(0, std::memory_order_relaxed);
        return false;
    }
    /// Nanoseconds of a steady clock.
    static std::int64_t now() noexcept {
        return std::chrono::steady_clock::now().time_since_epoch().count();
    }

    /// The wait for one thread that was handed work and is late.
    class Watch {
      public:
        Watch(Crowding& crowding, int thread) noexcept
            : crowding_(crowding), thread_(thread), begin_(now()) {}
        ~Watch() {
            // Without a core for most of that time: another process has it.
            if (before_ < 0) return;
            const std::int64_t all = now() - begin_;
            if (waited_for_core(thread_) - before_ > all / 2) crowding_.lost(all);
        }
        Watch(const Watch&) = delete;
        Watch& operator=(const Watch&) = delete;
        /// Lets others have this core. Where that is for long, it falls idle, so that the system
        /// moves the late thread to it.
        void give_way() noexcept {
            if (before_ == unasked && now() - begin_ > least) before_ = waited_for_core(thread_);
            if (before_ == unasked)
                std::this_thread::yield();
            else
                std::this_thread::sleep_for(std::chrono::microseconds(50));
        }

      private:
        static constexpr std::int64_t unasked = -2;
        Crowding& crowding_;
        int thread_;
        std::int64_t begin_;
        std::int64_t before_ = unasked;
    };

    /// The spinning of a thread that waits for work: a leap of the clock means that it had no core.
    class Gap {
      public:
        explicit Gap(Crowding& crowding) noexcept : crowding_(crowding) {}
        /// To be asked every microsecond or so.
        bool lost_core() noexcept {
            const std::int64_t time = now();
            const std::int64_t gap = last_ != 0 ? time - last_ : 0;
            last_ = time;
            if (gap > least) crowding_.lost(gap);
            return gap > least;
        }

      private:
        Crowding& crowding_;
        std::int64_t last_ = 0;
    };

  private:
    static constexpr std::int64_t least = 200'000;  // ns: below it a wait costs less than asking
    static constexpr std::int64_t shortest = 8'000'000;
    static constexpr std::int64_t longest = 128'000'000;

    // It had no core for `time`. Now and then that happens on any machine and costs less than
    // working without it; where it is much of the time worked together, it rests for a while, and
    // longer each time that it comes again soon.
    void lost(std::int64_t time) noexcept {
        const std::int64_t here = now();
        const std::int64_t together = here - resumed_.exchange(here, std::memory_order_relaxed);
        if (time < together / 4) return;
        const std::int64_t last = pause_.load(std::memory_order_relaxed);
        const std::int64_t pause = together < 4 * last ? std::min(2 * last, longest) : shortest;
        pause_.store(pause, std::memory_order_relaxed);
        rests_until_.store(here + pause, std::memory_order_relaxed);
    }

    std::atomic<std::int64_t> rests_until_{0};  // 0: nothing was noticed
    std::atomic<std::int64_t> resumed_{0};
    std::atomic<std::int64_t> pause_{0};
};

}  // namespace cairn::inline CAIRN_ABI::detail
