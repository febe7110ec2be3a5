// Operator new and the system calls that give memory, replaced: they can be told to fail. For
// programs of one translation unit.
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>

#include <cairn/core/error.hpp>

namespace {

std::atomic<long> live{0};
std::atomic<long> countdown{-1};    // at 0 the next allocation fails; below: none does
std::atomic<bool> for_good{false};  // and so do all after it

bool fails() {
    long left = countdown.load();
    while (left >= 0) {
        if (left == 0 && for_good) return true;
        if (countdown.compare_exchange_weak(left, left - 1)) return left == 0;
    }
    return false;
}

}  // namespace

// Not inlined: a compiler may drop a pair of new and delete, but not half of one.
[[gnu::noinline]] void* operator new(std::size_t size) {
    if (fails()) throw std::bad_alloc();
    void* memory = std::malloc(size > 0 ? size : 1);
    if (memory == nullptr) throw std::bad_alloc();
    ++live;
    return memory;
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
    if (fails()) throw std::bad_alloc();
    const auto a = static_cast<std::size_t>(alignment);
    void* memory = std::aligned_alloc(a, (size + a - 1) / a * a);
    if (memory == nullptr) throw std::bad_alloc();
    ++live;
    return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    if (memory != nullptr) --live;
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    operator delete(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
    operator delete(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    operator delete(memory);
}
extern "C" void* mmap(void* at, size_t size, int protection, int flags, int file,
                      off_t offset) noexcept {
    if (fails()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    ++live;
    return reinterpret_cast<void*>(::syscall(SYS_mmap, at, size, protection, flags, file, offset));
}
extern "C" int munmap(void* at, size_t size) noexcept {
    --live;
    return static_cast<int>(::syscall(SYS_munmap, at, size));
}
extern "C" int mprotect(void* at, size_t size, int protection) noexcept {
    // Only what gives memory may fail.
    if ((protection & PROT_WRITE) != 0 && fails()) {
        errno = ENOMEM;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_mprotect, at, size, protection));
}

namespace {

using namespace cairn;

int failures = 0;
void check(bool good, const char* what, const char* where) {
    if (good) return;
    std::printf("FAILED: %s: %s\n", where, what);
    ++failures;
}

// Runs `body` with its first, second, ... allocation failing until it succeeds. Returns how many
// times it failed.
int each_failure(const std::function<void()>& body, const std::function<void()>& unchanged) {
    for (int n = 0; n < 10000; ++n) {
        countdown = n;
        try {
            body();
            const bool reached = countdown.load() < 0;
            countdown = -1;
            if (!reached) return n;
            // A failure that an operation could do without is a success too.
            return n + 1;
        } catch (const std::bad_alloc&) {
            countdown = -1;
        } catch (const Error& error) {
            countdown = -1;
            if (error.code() != ErrorCode::out_of_memory) throw;
        }
        unchanged();
    }
    return -1;
}

// The same for a body that begins anew each time and may do without some of the memory: all of its
// allocations fail, once each, or each with all that follow it; of very many, fewer and fewer. What
// is thrown is a typed error.
template <class Body>
int every_failure(bool good, const Body& body, const char* where) {
    for_good = good;
    int failed = 0;
    bool reached = true;
    for (long n = 0; reached; n += 1 + n / 100, ++failed) {
        countdown = n;
        try {
            body();
        } catch (const std::bad_alloc&) {
        } catch (const Error& error) {
            const bool memory =
                error.code() == ErrorCode::out_of_memory || error.code() == ErrorCode::io;
            countdown = -1;
            check(memory, error.what(), where);
            continue;
        }
        reached = countdown.load() < (good ? 1 : 0);
        countdown = -1;
    }
    for_good = false;
    return failed - 1;
}

}  // namespace
