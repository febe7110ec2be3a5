// Detects two threads that change one object at once: an error in one of them instead of
// corruption.
#pragma once

#include <atomic>

#include "cairn/core/error.hpp"

namespace cairn::inline CAIRN_ABI {

/// A flag that is up while somebody changes its object. Moving an object does not move the flag.
class BusyFlag {
  public:
    BusyFlag() = default;
    BusyFlag(const BusyFlag&) noexcept {}
    BusyFlag& operator=(const BusyFlag&) noexcept { return *this; }

    /// Puts the flag up; false if it was up already.
    bool raise() noexcept { return !up_.exchange(true, std::memory_order_acquire); }
    void lower() noexcept { up_.store(false, std::memory_order_release); }

    /// Holds the flag; Error{concurrent_use} if another holder lives.
    class Hold {
      public:
        Hold(BusyFlag& flag, const char* what) : flag_(flag) {
            require(flag.raise(), ErrorCode::concurrent_use, what, " is in use by another thread");
        }
        ~Hold() { flag_.lower(); }
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;

      private:
        BusyFlag& flag_;
    };

  private:
    std::atomic<bool> up_{false};
};

}  // namespace cairn::inline CAIRN_ABI
