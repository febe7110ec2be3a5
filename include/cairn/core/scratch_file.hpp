// Slots of bytes in a temporary file that has no name: what does not fit into memory, for as long
// as the process lives.
#pragma once

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/core/error.hpp"
#include "cairn/core/forks.hpp"
#include "cairn/core/quiet_writes.hpp"
#include "cairn/core/system_call.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Slots are counted by reference; free ones are used again for the same size. Any thread may call
/// anything. The file is opened by the first write and is gone with the object, or the process. A
/// forked child would write over its parent's slots: one that was in use then is refused there.
class ScratchFile {
  public:
    /// Where a slot begins.
    using Slot = std::int64_t;

    /// The file will lie in `folder`, or in TMPDIR, or in /tmp.
    explicit ScratchFile(std::string folder = {}) : folder_(std::move(folder)) {}
    ~ScratchFile() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    ScratchFile(const ScratchFile&) = delete;
    ScratchFile& operator=(const ScratchFile&) = delete;

    /// A slot of `bytes` bytes with one reference. Throws Error{bad_state} in a forked child,
    /// std::bad_alloc.
    Slot take(std::size_t bytes) {
        require(!foreign(), ErrorCode::bad_state, not_ours);
        // Before the lock: a child that is forked while it is locked never waits for it.
        std::int64_t owner = nobody;
        process_.compare_exchange_strong(owner, std::int64_t{internal::watch_forks()},
                                         std::memory_order_relaxed);
        const std::scoped_lock lock(mutex_);
        Free& free = free_[bytes];
        if (!free.slots.empty()) {
            const Slot slot = free.slots.back();
            slots_.emplace(slot, Entry{bytes, 1});
            free.slots.pop_back();
            return slot;
        }
        free.slots.reserve(free.made + 1);  // so that let_go() never allocates
        slots_.emplace(end_, Entry{bytes, 1});
        ++free.made;
        return std::exchange(end_, end_ + static_cast<Slot>(bytes));
    }
    void share(Slot slot) noexcept {
        if (foreign()) return;
        const std::scoped_lock lock(mutex_);
        ++slots_.find(slot)->second.references;
    }
    void let_go(Slot slot) noexcept {
        if (foreign()) return;
        const std::scoped_lock lock(mutex_);
        const auto at = slots_.find(slot);
        if (--at->second.references > 0) return;
        free_.find(at->second.bytes)->second.slots.push_back(slot);
        slots_.erase(at);
    }

    /// Writes bytes [offset, offset + size) of a slot. Throws Error{io} naming the folder.
    void write(Slot slot, std::size_t offset, const std::byte* from, std::size_t size) {
        require(!foreign(), ErrorCode::bad_state, not_ours);
        const int descriptor = open();
        const QuietWrites quiet;
        for (off_t at = static_cast<off_t>(slot) + static_cast<off_t>(offset); size > 0;) {
            const ssize_t n = uninterrupted([&] { return ::pwrite(descriptor, from, size, at); });
            if (n <= 0)
                fail_io(n < 0 ? errno : ENOSPC, "temporary file in ", folder_, ": writing ", size,
                        " bytes");
            from += n;
            at += n;
            size -= static_cast<std::size_t>(n);
        }
    }
    /// Reads them; returns 0 or an errno. Bytes that are not there are EIO, those of a parent
    /// ESTALE.
    int read(Slot slot, std::size_t offset, std::byte* to, std::size_t size) const noexcept {
        if (foreign()) return ESTALE;
        const std::int64_t began = nanoseconds();
        for (off_t at = static_cast<off_t>(slot) + static_cast<off_t>(offset); size > 0;) {
            const ssize_t n = uninterrupted([&] { return ::pread(descriptor_, to, size, at); });
            if (n <= 0) return n < 0 ? errno : EIO;
            to += n;
            at += n;
            size -= static_cast<std::size_t>(n);
        }
        if (nanoseconds() - began > slow)
            announced_.store(often, std::memory_order_relaxed);
        else if (const int left = announced_.load(std::memory_order_relaxed); left > 0)
            announced_.store(left - 1, std::memory_order_relaxed);
        return 0;
    }
    /// Says that bytes will be read soon. It costs as much as reading what the system has in
    /// memory, so the system is told only while reads have had to wait lately.
    void prefetch(Slot slot, std::size_t offset, std::size_t size) const noexcept {
        if (announced_.load(std::memory_order_relaxed) == 0) return;
#if defined(POSIX_FADV_WILLNEED)
        ::posix_fadvise(descriptor_, static_cast<off_t>(slot) + static_cast<off_t>(offset),
                        static_cast<off_t>(size), POSIX_FADV_WILLNEED);
#else
        (void)slot, (void)offset, (void)size;
#endif
    }

    /// Bytes of the slots in use.
    std::size_t bytes() const noexcept {
        if (foreign() || process_.load(std::memory_order_relaxed) == nobody) return 0;
        const std::scoped_lock lock(mutex_);
        std::size_t sum = 0;
        for (const auto& [slot, entry] : slots_) sum += entry.bytes;
        return sum;
    }
    /// The open file; -1 before the first write. For tests that break it.
    int descriptor() const noexcept { return descriptor_; }

  private:
    static constexpr std::int64_t nobody = -1;
    static constexpr std::int64_t slow = 100'000;  // a read that waited for the disk, in ns
    static constexpr int often = 1000;             // reads after it that are announced
    static std::int64_t nanoseconds() noexcept {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
    }
    static constexpr const char* not_ours =
        "temporary file: another process had rows in it when it forked this one; make a new cache";
    // Whether a parent's slots are in it, and its lock in any state.
    bool foreign() const noexcept {
        const std::int64_t process = process_.load(std::memory_order_relaxed);
        return process != nobody && process != std::int64_t{internal::forks()};
    }
    struct Entry {
        std::size_t bytes;
        int references;
    };
    struct Free {
        std::vector<Slot> slots;
        std::size_t made = 0;
    };
    int open() {
        if (descriptor_ >= 0) return descriptor_;
        const std::scoped_lock lock(mutex_);
        if (descriptor_ >= 0) return descriptor_;
        if (folder_.empty()) {
            const char* given = std::getenv("TMPDIR");
            folder_ = given != nullptr && *given != '\0' ? given : "/tmp";
        }
        std::string name = folder_ + "/cairn-XXXXXX";
        // An interrupted attempt has changed the letters.
        const int descriptor = uninterrupted([&] {
            name.replace(name.size() - 6, 6, "XXXXXX");
            return ::mkostemp(name.data(), O_CLOEXEC);
        });
        if (descriptor < 0) fail_io(errno, "temporary file in ", folder_);
        ::unlink(name.c_str());
        return descriptor_ = descriptor;
    }

    std::string folder_;
    std::atomic<std::int64_t> process_{nobody};  // whose slots these are
    std::atomic<int> descriptor_{-1};
    mutable std::atomic<int> announced_{often};  // reads to come that the system is told of
    mutable std::mutex mutex_;
    std::unordered_map<Slot, Entry> slots_;  // in use
    std::map<std::size_t, Free> free_;       // by size
    Slot end_ = 0;
};

}}  // namespace cairn
