// The floating-point environment of the host: fixed while Cairn computes, restored afterwards, and
// a run-time canary that says whether this build keeps the exactness promise at all.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// While it lives, this thread rounds to nearest and keeps denormals, as on every other machine.
class FpEnvironment {
  public:
    FpEnvironment() noexcept : saved_(get()) {
        if (saved_ != standard) set(standard);
    }
    ~FpEnvironment() {
        if (saved_ != standard) set(saved_);
    }
    FpEnvironment(const FpEnvironment&) = delete;
    FpEnvironment& operator=(const FpEnvironment&) = delete;

  private:
#if defined(__x86_64__)
    using Word = std::uint32_t;
    static constexpr Word standard = 0x1F80;  // all exceptions masked, nearest, no FTZ, no DAZ
    // The status flags are sticky and harmless: they are left out of the comparison.
    static Word get() noexcept { return _mm_getcsr() & ~Word{0x3F}; }
    // What lies in memory is computed on its own side; what is returned in a register wants a
    // function that is not inlined (see Random::normal): compilers move plain arithmetic across.
    static void set(Word word) noexcept {
        asm volatile("" ::: "memory");
        _mm_setcsr(word);
        asm volatile("" ::: "memory");
    }
#elif defined(__aarch64__)
    using Word = std::uint64_t;
    static constexpr Word standard = 0;
    static Word get() noexcept {
        Word word = 0;
        asm volatile("mrs %0, fpcr" : "=r"(word));
        return word;
    }
    static void set(Word word) noexcept { asm volatile("msr fpcr, %0" : : "r"(word) : "memory"); }
#else
    using Word = int;
    static constexpr Word standard = 0;
    static Word get() noexcept { return 0; }
    static void set(Word) noexcept {}
#endif
    friend class FlushDenormals;
    Word saved_;
};

/// While it lives, this thread rounds to nearest and takes denormal numbers for zeros, results
/// included.
class FlushDenormals {
  public:
    FlushDenormals() noexcept : saved_(FpEnvironment::get()) {
        FpEnvironment::set(flushing);
#if defined(__aarch64__)
        asm volatile("msr fpsr, xzr" ::: "memory");
#endif
    }
    ~FlushDenormals() { FpEnvironment::set(saved_); }
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

    /// Whether so far all results were flushed as by vdpbf16ps, which asks whether a result is
    /// denormal once it is rounded, as x86 does. AArch64 asks before that: there the answer is
    /// whether any was flushed.
    bool as_vdpbf16ps() const noexcept {
#if defined(__x86_64__)
        return true;
#elif defined(__aarch64__)
        std::uint64_t flags = 0;
        asm volatile("mrs %0, fpsr" : "=r"(flags) : : "memory");
        return (flags & 0x8U) == 0;  // UFC, underflow
#else
        return false;
#endif
    }

  private:
#if defined(__x86_64__)
    static constexpr FpEnvironment::Word flushing = FpEnvironment::standard | 0x8040;  // FTZ, DAZ
#elif defined(__aarch64__)
    static constexpr FpEnvironment::Word flushing = std::uint64_t{1} << 24U;  // FZ
#else
    static constexpr FpEnvironment::Word flushing = 0;
#endif
    FpEnvironment::Word saved_;
};

namespace internal {

// Three expressions that -ffast-math, -fassociative-math or flushed denormals change. volatile
// keeps the compiler from folding them with other rules than it uses at run time.
inline bool canary() noexcept {
    const FpEnvironment environment;
    volatile float big = 16777216.0F;
    volatile float one = 1.0F;
    volatile float tiny = 1e-38F;
    const float b = big;
    const float o = one;
    const float t = tiny;
    const float reassociated = (b + o) - b;                      // 0, but 1 when reassociated
    const float denormal = t * 0.01F;                            // 0 when flushed
    const float magic = (o * 0.3F + 12582912.0F) - 12582912.0F;  // 0, but 0.3 when simplified
    volatile float zero = 0.0F;
    const float z = zero;
    const float nan = z / z;
    volatile bool unordered = !(nan == nan);  // false under -ffinite-math-only
    return reassociated == 0.0F && denormal > 0.0F && magic == 0.0F && unordered;
}

}  // namespace internal

/// Whether this build keeps the promise of docs/exactness.md. False under -ffast-math and the like:
/// results are then still right, but not the same bits as elsewhere. Checked once, at first use.
inline bool exact() noexcept {
    static const bool result = internal::canary();
    return result;
}

}}  // namespace cairn
