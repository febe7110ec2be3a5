// Who runs the parallel parts: an interface of one function, and the default that runs them here.
#pragma once

#include <memory>
#include <type_traits>

#include "cairn/core/config.hpp"
#include "cairn/core/fp_environment.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A reference to a callable `void(int task, int worker)`; it does not own it.
class TaskRef {
  public:
    template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, TaskRef>)
    TaskRef(F& callable) noexcept  // NOLINT(google-explicit-constructor)
        : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
          call_([](void* object, int task, int worker) {
              const FpEnvironment environment;  // the thread may be the host's
              (*static_cast<F*>(object))(task, worker);
          }) {}

    void operator()(int task, int worker) const { call_(object_, task, worker); }

  private:
    void* object_;
    void (*call_)(void*, int, int);
};

/// Runs tasks, perhaps on several threads. Results never depend on which worker runs which task.
/// Derive from it to use a thread pool of your own.
class Executor {
  public:
    virtual ~Executor() = default;

    /// The largest number of tasks that run at once; worker numbers are below it.
    virtual int workers() const noexcept = 0;

    /// For how many of them it is worth to cut a loop now: fewer while others have the cores.
    virtual int useful_workers() const noexcept { return workers(); }

    /// Calls `task(i, worker)` once for every 0 <= i < count and returns when all are done. Two
    /// threads may call it at once; one of them then waits or runs its tasks itself. A task may
    /// throw, for want of memory say: run then throws that once no task runs any more, and not all
    /// need have run.
    virtual void run(int count, TaskRef task) = 0;
};

/// Runs everything on the calling thread. The default of who only includes a header.
class Serial final : public Executor {
  public:
    int workers() const noexcept override { return 1; }
    void run(int count, TaskRef task) override {
        for (int i = 0; i < count; ++i) task(i, 0);
    }

    /// One instance is enough for a program: it has no state.
    static Serial& instance() noexcept {
        static Serial serial;
        return serial;
    }
};

}}  // namespace cairn
