// Detects two threads that use one object at once: an error in one of them instead of corruption.
#pragma once

#include <atomic>
#include <thread>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A flag that is up while somebody changes its object, and counts those who only read it. Copying
/// or moving an object does not move its flag.
class BusyFlag {
  public:
    BusyFlag() = default;
    BusyFlag(const BusyFlag&) noexcept {}
    BusyFlag& operator=(const BusyFlag&) noexcept { return *this; }

    /// Puts the flag up; false if it was up already or somebody reads.
    bool raise() noexcept {
        int nobody = 0;
        if (!users_.compare_exchange_strong(nobody, writing, std::memory_order_acquire,
                                            std::memory_order_relaxed))
            return false;
        writer_.store(this_thread(), std::memory_order_relaxed);
        return true;
    }
    void lower() noexcept {
        writer_.store(nullptr, std::memory_order_relaxed);
        users_.store(0, std::memory_order_release);
    }
    /// Whether this thread put the flag up: what it reads is its own.
    bool mine() const noexcept { return writer_.load(std::memory_order_relaxed) == this_thread(); }

    /// Holds the flag; Error{concurrent_use} if another holder or reader lives.
    class Hold {
      public:
        Hold(BusyFlag& flag, const char* what) : flag_(flag) {
            if (!flag.raise()) [[unlikely]]
                refuse(what);
        }
        ~Hold() { flag_.lower(); }
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;

      private:
        BusyFlag& flag_;
    };

    /// Holds the flag as soon as nobody else does, for what cannot throw. Nothing to wait for where
    /// this thread holds it already.
    class Turn {
      public:
        explicit Turn(BusyFlag& flag) noexcept : flag_(flag.mine() ? nullptr : &flag) {
            while (flag_ != nullptr && !flag_->raise()) std::this_thread::yield();
        }
        ~Turn() {
            if (flag_ != nullptr) flag_->lower();
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

      private:
        BusyFlag* flag_;
    };

    /// Keeps others from changing the object while this thread reads it. Any number may read at
    /// once; the thread that holds the flag may read, too: hooks ask for numbers.
    class Share {
      public:
        /// Without an error: converts to false where another thread holds the flag.
        explicit Share(BusyFlag& flag) noexcept {
            if (flag.mine()) {
                good_ = true;
            } else if (flag.enter()) {
                good_ = true;
                flag_ = &flag;
            }
        }
        /// Error{concurrent_use} where another thread holds the flag.
        Share(BusyFlag& flag, const char* what) : Share(flag) {
            if (!good_) [[unlikely]]
                refuse(what);
        }
        ~Share() {
            if (flag_ != nullptr) flag_->users_.fetch_sub(1, std::memory_order_release);
        }
        Share(const Share&) = delete;
        Share& operator=(const Share&) = delete;
        explicit operator bool() const noexcept { return good_; }

      private:
        BusyFlag* flag_ = nullptr;
        bool good_ = false;
    };

    /// The error of who comes second.
    [[noreturn]] static void refuse(const char* what) {
        fail(ErrorCode::concurrent_use, what,
             " is in use by another thread, or by a call or a forward of this one that has not "
             "ended");
    }

  private:
    static constexpr int writing = -1;
    bool enter() noexcept {
        int seen = users_.load(std::memory_order_relaxed);
        while (seen != writing)
            if (users_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire,
                                             std::memory_order_relaxed))
                return true;
        return false;
    }
    // An address that no other living thread has.
    static const void* this_thread() noexcept {
        static thread_local char place;
        return &place;
    }

    std::atomic<int> users_{0};
    std::atomic<const void*> writer_{nullptr};
};

}}  // namespace cairn
