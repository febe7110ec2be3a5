// A persistent pool of threads behind Executor: started once, and again in a forked child.
#pragma once

#include <atomic>
#include <memory>

#include "cairn/core/crew.hpp"
#include "cairn/core/error.hpp"
#include "cairn/core/executor.hpp"
#include "cairn/core/hardware_threads.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// An Executor with `threads` workers, the calling thread being one of them. If the system grants
/// fewer threads, it works with those. May be shared by any number of sessions and threads: calls
/// take turns. A thread whose core another process has is left out for a while. In
/// the child of a fork(2) it starts threads anew at its first run; a fork inside a task is
/// Error{bad_state} in the child.
class ThreadPool final : public Executor {
  public:
    /// Throws Error{invalid_argument, out_of_memory}, std::bad_alloc.
    explicit ThreadPool(int threads = hardware_threads())
        : crew_(std::make_unique<internal::Crew>(checked(threads)).release()),
          workers_(crew_.load(std::memory_order_relaxed)->size()) {}
    ~ThreadPool() override {
        internal::Crew* const crew = crew_.load(std::memory_order_acquire);
        if (crew->here()) delete crew;  // in a child its threads, and who holds its locks, are not
    }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int workers() const noexcept override { return workers_; }
    int useful_workers() const noexcept override {
        return crew_.load(std::memory_order_acquire)->useful();
    }

    /// What a task throws, run throws when all tasks that had begun are done.
    void run(int count, TaskRef task) override { crew().run(count, task); }

  private:
    static int checked(int threads) {
        require(threads > 0 && threads <= 1024, ErrorCode::invalid_argument,
                "thread pool: ", threads, " threads; 1 to 1024 are possible");
        return threads;
    }
    internal::Crew& crew() {
        internal::Crew* const crew = crew_.load(std::memory_order_acquire);
        return crew->here() ? *crew : anew(crew);
    }
    // In a forked child. The parent's crew is left behind as it is: another thread may have been in
    // the middle of anything.
    [[gnu::cold, gnu::noinline]] internal::Crew& anew(internal::Crew* old) {
        auto fresh = std::make_unique<internal::Crew>(workers_);
        if (crew_.compare_exchange_strong(old, fresh.get(), std::memory_order_acq_rel))
            return *fresh.release();
        return *old;  // another thread of the child was first
    }

    std::atomic<internal::Crew*> crew_;
    const int workers_;
};

}}  // namespace cairn
