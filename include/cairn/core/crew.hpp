// The threads of a pool and how work reaches them: a hand-off that costs a microsecond, and that no
// thread without a core can hold up.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "cairn/core/crowding.hpp"
#include "cairn/core/error.hpp"
#include "cairn/core/executor.hpp"
#include "cairn/core/forks.hpp"
#include "cairn/core/fp_environment.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

// Every run has a number. Each thread that does not rest, the caller's included, has one task of
// its own and a slot to claim it in; what is left goes to who is free. A task is claimed by its
// thread or, once the caller has done its own part, by the caller: it waits only for threads that
// have begun. A thread that comes late finds its slot claimed and touches nothing of that run,
// which may long be over.
class Crew {
  public:
    /// Starts `threads` - 1 threads, or as many as the system grants. Throws std::bad_alloc.
    explicit Crew(int threads)
        : process_(watch_forks()), slots_(new Slot[static_cast<std::size_t>(threads)]) {
        threads_.reserve(static_cast<std::size_t>(threads) - 1);
        for (int i = 1; i < threads; ++i) {
            try {
                threads_.emplace_back([this, i] { work(i); });
            } catch (const std::system_error&) {
                break;  // fewer threads give the same results, later
            } catch (const std::bad_alloc&) {
                break;
            }
        }
    }
    ~Crew() {
        stop_.store(true, std::memory_order_relaxed);
        announce();
        for (std::thread& thread : threads_) thread.join();
    }
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    /// The caller's included.
    int size() const noexcept { return static_cast<int>(threads_.size()) + 1; }
    /// Whether its threads are there: not in a forked child.
    bool here() const noexcept { return process_ == forks(); }

    /// Threads that have a core of their own, as far as is known; the caller's included.
    int useful() noexcept {
        if (!crowded_.load(std::memory_order_relaxed)) return size();
        int resting = count_resting();
        if (resting > 0) {
            wake_resting();
        } else if (crowded_.exchange(false, std::memory_order_acq_rel)) {
            // A thread that begins to rest in between says so before it says that any does.
            resting = count_resting();
            if (resting > 0) crowded_.store(true, std::memory_order_release);
        }
        return size() - resting;
    }

    void run(int count, TaskRef task) {
        if (count <= 1 || useful() == 1) {
            // Worker 0 is the caller here; other callers use scratch of their own.
            for (int i = 0; i < count; ++i) task(i, 0);
            return;
        }
        const std::lock_guard lock(callers_);
        task_ = task;
        count_ = count;
        const std::uint32_t number = generation_.load(std::memory_order_relaxed) + 1;
        hand_out(number);
        next_.store(handed_, std::memory_order_relaxed);
        announce();
        take(0, 0);
        for (int i = 1; i < size(); ++i)
            if (slot(i).task > 0 && slot(i).claim(number)) {
                slot(i).done.store(number, std::memory_order_relaxed);
                take(slot(i).task, 0);
            }
        for (int i = 1; i < size(); ++i)
            if (slot(i).task > 0) wait(slot(i), number);
        if (failed_.load(std::memory_order_relaxed)) rethrow();
    }

  private:
    // One thread's part in the hand-off, in a line of its own.
    struct alignas(64) Slot {
        std::atomic<std::uint32_t> claimed{0};  // the last run whose task was claimed here ...
        std::atomic<std::uint32_t> done{0};     // ... and done
        std::atomic<int> thread{0};             // as the system numbers it
        int task = 0;                           // its own of a run; 0: none
        Crowding crowding;
        // At a run's begin all slots are claimed for the one before it, so that who comes with an
        // older number claims nothing.
        bool claim(std::uint32_t number) noexcept {
            std::uint32_t before = number - 1;
            return claimed.compare_exchange_strong(before, number, std::memory_order_acq_rel,
                                                   std::memory_order_relaxed);
        }
    };

    Slot& slot(int thread) noexcept { return slots_[static_cast<std::size_t>(thread)]; }
    int count_resting() noexcept {
        int resting = 0;
        for (int i = 1; i < size(); ++i) resting += slot(i).crowding.rests() ? 1 : 0;
        return resting;
    }
    // Now and then a run without tasks, so that threads that rest look whether they have a core
    // again. While a run goes on that can wait.
    void wake_resting() noexcept {
        const std::int64_t now = Crowding::now();
        bool due = false;
        for (int i = 1; i < size(); ++i) due |= slot(i).crowding.due(now);
        if (!due) return;
        const std::unique_lock lock(callers_, std::try_to_lock);
        if (!lock.owns_lock()) return;
        const std::uint32_t number = generation_.load(std::memory_order_relaxed) + 1;
        for (int i = 1; i < size(); ++i) {
            if (slot(i).crowding.due(now)) slot(i).crowding.ask();
            slot(i).claimed.store(number, std::memory_order_relaxed);
        }
        announce();
    }
    // Gives threads their own tasks, in order. Who rests or gets none finds its slot claimed.
    void hand_out(std::uint32_t number) noexcept {
        const bool crowded = crowded_.load(std::memory_order_relaxed);
        handed_ = 1;
        for (int i = 1; i < size(); ++i) {
            Slot& of = slot(i);
            const bool works = handed_ < count_ && !(crowded && of.crowding.rests());
            const int task = works ? handed_++ : 0;
            if (of.task != task) of.task = task;  // the line stays where it is, as a rule
            if (!works) of.claimed.store(number, std::memory_order_relaxed);
        }
    }
    void announce() noexcept {
        generation_.fetch_add(1, std::memory_order_seq_cst);
        generation_.notify_all();  // asks the system for nothing where no thread sleeps
    }
    // The task `first`, and then what is left.
    void take(int first, int worker) noexcept {
        const bool more = count_ > handed_;
        try {
            for (int i = first; i < count_;
                 i = more ? next_.fetch_add(1, std::memory_order_relaxed) : count_)
                (*task_)(i, worker);
        } catch (...) {
            if (!failed_.exchange(true, std::memory_order_acq_rel))
                failure_ = std::current_exception();
        }
    }
    void rethrow() {
        failed_.store(false, std::memory_order_relaxed);
        std::rethrow_exception(std::exchange(failure_, nullptr));
    }
    void work(int worker) {
        const FpEnvironment environment;
        Slot& own = slot(worker);
        own.thread.store(thread_number(), std::memory_order_relaxed);
        std::uint32_t seen = 0;
        for (;;) {
            const std::uint32_t now = next_run(seen, own.crowding);
            if (stop_.load(std::memory_order_relaxed)) return;
            seen = now;
            if (!own.claim(now)) {
                own.crowding.look_if_asked();
                continue;
            }
            take(own.task, worker);
            own.done.store(now, std::memory_order_release);
        }
    }
    // Waits for a run after `seen`: a while awake, then asleep.
    std::uint32_t next_run(std::uint32_t seen, Crowding& crowding) noexcept {
        for (;;) {
            Crowding::Gap gap(crowding);
            const int limit = crowding.rests() ? spins_crowded : spins_alone;
            for (int spins = 0; spins < limit; ++spins) {
                const std::uint32_t now = generation_.load(std::memory_order_acquire);
                if (now != seen) return now;
                pause(spins);
                if (spins % 64 == 63 && gap.lost_core()) {
                    crowded_.store(true, std::memory_order_release);
                    break;
                }
            }
            generation_.wait(seen, std::memory_order_seq_cst);
        }
    }
    // Waits for a thread that has begun its task.
    void wait(Slot& slot, std::uint32_t number) {
        const auto done = [&] { return slot.done.load(std::memory_order_acquire) == number; };
        for (int spins = 0; spins < spins_alone / 2; ++spins) {
            if (done()) return;
            pause(spins);
        }
        // So long after all others: it does a long task, or it lost its core.
        {
            Crowding::Watch watch(slot.crowding, slot.thread.load(std::memory_order_relaxed));
            while (!done()) {
                require(here(), ErrorCode::bad_state,
                        "fork(2) inside a parallel loop: its threads are not in the child");
                watch.give_way();
            }
        }
        if (slot.crowding.rests()) crowded_.store(true, std::memory_order_release);
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

    static constexpr int spins_alone = 1 << 13;  // about 100 us: longer than any serial part
    static constexpr int spins_crowded = 1 << 6;

    const std::uint32_t process_;
    std::unique_ptr<Slot[]> slots_;
    std::vector<std::thread> threads_;
    std::atomic<bool> failed_{false};
    std::exception_ptr failure_;
    alignas(64) std::atomic<bool> crowded_{false};  // whether any thread may be resting
    alignas(64) std::mutex callers_;                // only callers
    alignas(64) std::atomic<int> next_{0};
    // What a thread that waits has to read, in one line.
    alignas(64) std::atomic<std::uint32_t> generation_{0};
    std::atomic<bool> stop_{false};
    int count_ = 0;
    int handed_ = 0;  // tasks that are somebody's own
    std::optional<TaskRef> task_;
};

}}}  // namespace cairn::internal
