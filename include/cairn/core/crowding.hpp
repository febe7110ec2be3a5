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
#include <limits>
#include <thread>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

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
    /// Whether it should be left alone: it was without a core too much of late.
    bool rests() const noexcept { return rests_.load(std::memory_order_acquire); }
    /// Whether it should be asked at `time` to look whether it has a core again.
    bool due(std::int64_t time) const noexcept {
        return rests() && time >= look_at_.load(std::memory_order_relaxed);
    }
    /// Asks for one look; the thread is then to be woken.
    void ask() noexcept {
        look_at_.store(std::numeric_limits<std::int64_t>::max(), std::memory_order_relaxed);
        asked_.store(true, std::memory_order_relaxed);
    }
    /// Nanoseconds of a steady clock.
    static std::int64_t now() noexcept {
        return std::chrono::steady_clock::now().time_since_epoch().count();
    }
    /// By a thread that was woken: if it was asked to, it looks whether it can have a core. It
    /// offers the core to others all the time; who wants it then takes it for longer than a moment.
    /// Nobody waits for this thread meanwhile.
    void look_if_asked() noexcept {
        if (!asked_.exchange(false, std::memory_order_relaxed)) return;
        const std::int64_t begin = now();
        std::int64_t alone = begin;  // since when nobody took the core
        for (std::int64_t last = begin, time = begin; time - alone < trial; last = time) {
            std::this_thread::yield();
            time = now();
            if (time - last > least) alone = time;
            if (time - begin > patience) {
                rest_for(std::min(2 * pause_.load(std::memory_order_relaxed), longest));
                return;
            }
        }
        back_.store(now(), std::memory_order_relaxed);
        rests_.store(false, std::memory_order_release);
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
    // Nanoseconds.
    static constexpr std::int64_t least = 200'000;       // below it a wait costs less than asking
    static constexpr std::int64_t bearable = 6'000'000;  // lost of late
    static constexpr std::int64_t trial = 500'000;
    static constexpr std::int64_t patience = 6'000'000;
    static constexpr std::int64_t shortest = 1'000'000;
    static constexpr std::int64_t longest = 16'000'000;

    // It had no core for `time`. Now and then that happens on any machine and costs less than
    // working without it: a quarter of the time is forgiven. Beyond that it rests, and longer each
    // time that it comes again soon.
    void lost(std::int64_t time) noexcept {
        if (rests()) return;
        const std::int64_t here = now();
        const std::int64_t since = here - counted_.exchange(here, std::memory_order_relaxed);
        const std::int64_t before = lost_.load(std::memory_order_relaxed) - since / 4;
        const std::int64_t all = std::max<std::int64_t>(before, 0) + time;
        lost_.store(all < bearable ? all : 0, std::memory_order_relaxed);
        if (all < bearable) return;
        const std::int64_t last = pause_.load(std::memory_order_relaxed);
        const bool soon = here - back_.load(std::memory_order_relaxed) < 4 * last;
        rest_for(soon ? std::min(2 * last, longest) : shortest);
    }
    void rest_for(std::int64_t pause) noexcept {
        pause_.store(pause, std::memory_order_relaxed);
        look_at_.store(now() + pause, std::memory_order_relaxed);
        rests_.store(true, std::memory_order_release);
    }

    std::atomic<bool> rests_{false};
    std::atomic<bool> asked_{false};
    std::atomic<std::int64_t> look_at_{0};
    std::atomic<std::int64_t> pause_{0};
    std::atomic<std::int64_t> back_{0};  // since when it is handed work again
    std::atomic<std::int64_t> lost_{0};  // of late, as of counted_
    std::atomic<std::int64_t> counted_{0};
};

}}}  // namespace cairn::internal
