// The host's floating-point environment, set to what no computation may depend on.
#pragma once

#include <cfenv>
#include <cstring>
#include <string>

#include "support.hpp"

namespace support {

/// While it lives, the thread rounds in another direction, or flushes denormals.
class HostEnvironment {
  public:
    static constexpr int flushing = -1;
    explicit HostEnvironment(int mode) {
        std::fegetenv(&saved_);
        if (mode != flushing) {
            std::fesetround(mode);
            return;
        }
#if defined(__x86_64__)
        _mm_setcsr(_mm_getcsr() | 0x8040);  // flush to zero, denormals are zero
#elif defined(__aarch64__)
        std::uint64_t word = 0;
        asm volatile("mrs %0, fpcr" : "=r"(word));
        asm volatile("msr fpcr, %0" : : "r"(word | std::uint64_t{1} << 24U));
#endif
    }
    ~HostEnvironment() { std::fesetenv(&saved_); }
    HostEnvironment(const HostEnvironment&) = delete;
    HostEnvironment& operator=(const HostEnvironment&) = delete;

  private:
    std::fenv_t saved_{};
};

/// Results to compare by their bits.
struct Bytes {
    std::string text;
    void add(const void* from, std::size_t size) {
        text.append(static_cast<const char*>(from), size);
    }
    void add(std::span<const float> row) { add(row.data(), row.size_bytes()); }
    void add(const std::vector<float>& row) { add(std::span<const float>(row)); }
    void add(const RowMatrix& m) { add(m.data(), static_cast<std::size_t>(m.size()) * 4); }
    template <class T>
    requires(std::is_arithmetic_v<T>)
    void add(T value) {
        add(&value, sizeof value);
    }
};

/// Checks that `body` gives the same Bytes in every environment, and leaves it as it was.
template <class Body>
void same_everywhere(const std::string& what, Body body) {
    const Bytes wanted = body();
    REQUIRE_FALSE(wanted.text.empty());
    for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, int{HostEnvironment::flushing}}) {
        INFO(what << " with mode " << mode);
        Bytes got;
        bool restored = false;
        {
            const HostEnvironment host(mode);
            got = body();
            if (mode != HostEnvironment::flushing) {
                restored = std::fegetround() == mode;
            } else {
                volatile float tiny = 1e-38F;
                restored = tiny * 0.01F == 0.0F;
            }
        }
        CHECK(restored);
        const bool same = got.text == wanted.text;
        CHECK(same);
    }
}

}  // namespace support
