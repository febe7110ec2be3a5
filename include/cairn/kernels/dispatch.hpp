// Which kernels run: chosen once from what the processor can do, or from CAIRN_ISA in the
// environment.
#pragma once

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
#include "cairn/kernels/table_calls.hpp"
#endif

namespace cairn::inline CAIRN_ABI::kernels {

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
#if defined(__x86_64__)
    // Machines that differ only in integer products (kernels/quantised) share the float kernels.
    static constexpr Table tables[] = {
        {"portable", Isa::portable, portable::gemm_rows},
        {"avx2", Isa::avx2, avx2::gemm_rows},
        {"avx512", Isa::avx512, avx512::gemm_rows},
        {"avx512vnni", Isa::avx512, avx512::gemm_rows},
    };
    static const std::size_t count = []() -> std::size_t {
        __builtin_cpu_init();
        if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 1;
        if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
            !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
            return 2;
        return __builtin_cpu_supports("avx512vnni") ? 4 : 3;
    }();
    static constexpr Table const* all[] = {tables, tables + 1, tables + 2, tables + 3};
#elif defined(__aarch64__)
    static constexpr Table tables[] = {
        {"portable", Isa::portable, portable::gemm_rows},
        {"neon", Isa::neon, neon::gemm_rows},
        {"neondot", Isa::neon, neon::gemm_rows},
    };
#if defined(__linux__)
    static const std::size_t count = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0 ? 3 : 2;
#else
    static const std::size_t count = 3;
#endif
    static constexpr Table const* all[] = {tables, tables + 1, tables + 2};
#else
    static constexpr Table tables[] = {{"portable", Isa::portable, portable::gemm_rows}};
    static constexpr std::size_t count = 1;
    static constexpr Table const* all[] = {tables};
#endif
    return {all, count};
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
