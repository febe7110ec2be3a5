// Which kernels run: chosen once from what the processor can do, or from CAIRN_ISA in the
// environment.
#pragma once

#include <array>
#include <atomic>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "cairn/core/error.hpp"
#include "cairn/kernels/table.hpp"

#if !defined(CAIRN_EXTERN_KERNELS) || defined(CAIRN_KERNELS_IMPLEMENTATION)
#include "cairn/kernels/isa/avx2.hpp"
#include "cairn/kernels/isa/avx512.hpp"
#include "cairn/kernels/isa/neon.hpp"
#include "cairn/kernels/isa/portable.hpp"
#endif

namespace cairn::inline CAIRN_ABI::kernels {

namespace detail {

// Float kernels are shared by machines that differ only in integer products (kernels/quantised).
inline const Table& renamed(const Table& table, const char* name) {
    static const Table instance = [&] {
        Table copy = table;
        copy.name = name;
        return copy;
    }();
    return instance;
}

}  // namespace detail

#if defined(CAIRN_EXTERN_KERNELS) && !defined(CAIRN_KERNELS_IMPLEMENTATION)
/// The tables this processor can run, slowest first. Compiled in the library `cairn::kernels`.
std::span<const Table* const> available() noexcept;
#else
#if defined(CAIRN_KERNELS_IMPLEMENTATION)
std::span<const Table* const> available() noexcept;
#define CAIRN_KERNELS_LINKAGE
#else
#define CAIRN_KERNELS_LINKAGE inline
#endif
/// The tables this processor can run, slowest first.
CAIRN_KERNELS_LINKAGE std::span<const Table* const> available() noexcept {
    static const auto list = [] {
        struct {
            std::array<const Table*, 5> tables{};
            std::size_t count = 0;
        } found;
        found.tables[found.count++] = &portable::table("portable");
#if defined(__x86_64__)
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            found.tables[found.count++] = &avx2::table("avx2");
            if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
                found.tables[found.count++] = &avx512::table("avx512");
            if (found.count == 3 && __builtin_cpu_supports("avx512vnni"))
                found.tables[found.count++] =
                    &detail::renamed(avx512::table("avx512"), "avx512vnni");
        }
#elif defined(__aarch64__)
        found.tables[found.count++] = &neon::table("neon");
#if defined(__linux__)
        const bool dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
        const bool dot = true;
#endif
        if (dot) found.tables[found.count++] = &detail::renamed(neon::table("neon"), "neondot");
#endif
        return found;
    }();
    return {list.tables.data(), list.count};
}
#undef CAIRN_KERNELS_LINKAGE
#endif

/// The table called `name`; Error{unsupported} naming those this processor can run.
inline const Table& named(std::string_view name) {
    std::string known;
    for (const Table* table : available()) {
        if (table->name == name) return *table;
        known += std::string(known.empty() ? "" : ", ") + table->name;
    }
    fail(ErrorCode::unsupported, "CAIRN_ISA: no kernels named '", name, "' here; there are ",
         known);
}

namespace detail {

inline std::atomic<const Table*>& chosen() {
    static std::atomic<const Table*> table = [] {
        const char* wanted = std::getenv("CAIRN_ISA");
        return wanted != nullptr && *wanted != '\0' ? &named(wanted) : available().back();
    }();
    return table;
}

}  // namespace detail

/// The kernels in use. The first call reads CAIRN_ISA and may throw Error{unsupported}.
inline const Table& active() { return *detail::chosen().load(std::memory_order_relaxed); }

/// While it lives, all of the program uses another table: for tests and benchmarks.
class Override {
  public:
    explicit Override(const Table& table) : before_(&active()) { detail::chosen().store(&table); }
    ~Override() { detail::chosen().store(before_); }
    Override(const Override&) = delete;
    Override& operator=(const Override&) = delete;

  private:
    const Table* before_;
};

}  // namespace cairn::inline CAIRN_ABI::kernels
