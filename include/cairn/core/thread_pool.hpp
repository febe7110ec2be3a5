// A persistent pool with a cheap hand-off: workers spin briefly, then park; the caller works too.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "cairn/core/error.hpp"
#include "cairn/core/executor.hpp"
#include "cairn/core/fp_environment.hpp"

namespace cairn::inline CAIRN_ABI {

/// Threads the machine can run at once (at least 1).
inline int hardware_threads() noexcept {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// An Executor with `threads` workers, the calling thread being one of them. If the system grants
/// fewer threads, it works with those. May be shared by any number of sessions and threads: calls
/// take turns.
class ThreadPool final : public Executor {
  public:
    explicit ThreadPool(int threads = hardware_threads()) {
        require(threads > 0 && threads <= 1024, ErrorCode::invalid_argument,
                "thread pool: ", threads, " threads; 1 to 1024 are possible");
        threads_.reserve(static_cast<std::size_t>(threads) - 1);
        for (int i = 1; i < threads; ++i) {
            try {
                threads_.emplace_back([this, i] { work(i); });
            } catch (const std::system_error&) {
                break;  // fewer threads give the same results, later
            }
        }
    }
    ~ThreadPool() override {
        stop_.store(true, std::memory_order_relaxed);
        announce();
        for (std::thread& thread : threads_) thread.join();
    }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int workers() const noexcept override { return static_cast<int>(threads_.size()) + 1; }

    void run(int count, TaskRef task) override {
        if (count <= 0) return;
        if (count == 1 || threads_.empty()) {
            // Worker 0 is the caller here; other callers use scratch of their own.
            for (int i = 0; i < count; ++i) task(i, 0);
            return;
        }
        const std::lock_guard lock(callers_);
        task_ = task;
        count_ = count;
        next_.store(workers(), std::memory_order_relaxed);
        busy_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
        announce();
        take(0);
        for (int spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) pause(spins);
    }

  private:
    void announce() noexcept {
        generation_.fetch_add(1, std::memory_order_seq_cst);
        if (parked_.load(std::memory_order_seq_cst) != 0) generation_.notify_all();
    }
    // The first task of every worker is the one with its number; what is left goes to who is free.
    // So a loop of one task a worker touches nothing that another core writes but the announcement.
    void take(int worker) {
        const bool more = count_ > workers();
        for (int i = worker; i < count_;
             i = more ? next_.fetch_add(1, std::memory_order_relaxed) : count_)
            (*task_)(i, worker);
    }
    void work(int worker) {
        const FpEnvironment environment;
        std::uint32_t seen = 0;
        for (;;) {
            std::uint32_t now = generation_.load(std::memory_order_acquire);
            for (int spins = 0; now == seen && spins < spin_limit; ++spins) {
                pause(spins);
                now = generation_.load(std::memory_order_acquire);
            }
            if (now == seen) {
                parked_.fetch_add(1, std::memory_order_seq_cst);
                generation_.wait(seen, std::memory_order_seq_cst);
                parked_.fetch_sub(1, std::memory_order_relaxed);
                continue;
            }
            seen = now;
            if (stop_.load(std::memory_order_relaxed)) return;
            take(worker);
            busy_.fetch_sub(1, std::memory_order_release);
        }
    }
    // Polite spinning: after a while give the core to whoever else wants it.
    static void pause(int spins) noexcept {
        if (spins % 64 == 63 && spins > 1024) {
            std::this_thread::yield();
            return;
        }
#if defined(__x86_64__)
        _mm_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    static constexpr int spin_limit = 1 << 13;  // about 100 us: longer than any serial part

    std::vector<std::thread> threads_;
    std::mutex callers_;
    alignas(64) std::atomic<int> next_{0};
    alignas(64) std::atomic<int> busy_{0};
    // What a worker that waits has to read, in one line.
    alignas(64) std::atomic<std::uint32_t> generation_{0};
    std::atomic<int> parked_{0};
    std::atomic<bool> stop_{false};
    int count_ = 0;
    std::optional<TaskRef> task_;
};

}  // namespace cairn::inline CAIRN_ABI
