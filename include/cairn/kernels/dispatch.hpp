// Which kernels run: chosen once from what the processor can do, or from CAIRN_ISA in the
// environment.
#pragma once

#include <atomic>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "cairn/core/error.hpp"
#include "cairn/kernels/table.hpp"

#if !defined(CAIRN_EXTERN_KERNELS) || defined(CAIRN_KERNELS_IMPLEMENTATION)
#include "cairn/kernels/table_calls.hpp"

#define CAIRN_FOLDER set
#define CAIRN_FILE supported.hpp
#include "cairn/kernels/each.inl"
#endif

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

#if defined(CAIRN_EXTERN_KERNELS) && !defined(CAIRN_KERNELS_IMPLEMENTATION)
/// The tables this processor can run, slowest first. Compiled in the library `cairn::kernels`.
std::span<const Table* const> available() noexcept;
#else
#if defined(CAIRN_KERNELS_IMPLEMENTATION)
std::span<const Table* const> available() noexcept;
#endif
/// The tables this processor can run, slowest first.
CAIRN_KERNELS_LINKAGE std::span<const Table* const> available() noexcept {
#define CAIRN_TABLE(set, floats, ...) {#set, Isa::set, floats::gemm_rows},
#define CAIRN_SUPPORTED(set, floats, ...) set::supported,
    static constexpr Table tables[] = {CAIRN_KERNEL_SETS(CAIRN_TABLE)};
    struct Found {
        const Table* all[std::size(tables)];
        std::size_t count;
    };
    static const Found found = [] {
        Found there{};
        std::size_t at = 0;
        for (bool (*const supported)() noexcept : {CAIRN_KERNEL_SETS(CAIRN_SUPPORTED)}) {
            if (supported()) there.all[there.count++] = &tables[at];
            ++at;
        }
        return there;
    }();
    return {found.all, found.count};
}
#undef CAIRN_TABLE
#undef CAIRN_SUPPORTED
#endif

/// The table called `name`; Error{unsupported} naming those this processor can run.
[[gnu::cold]] inline const Table& named(std::string_view name) {
    std::string known;
    for (const Table* table : available()) {
        if (table->name == name) return *table;
        known += std::string(known.empty() ? "" : ", ") + table->name;
    }
    fail(ErrorCode::unsupported, "CAIRN_ISA: no kernels named '", name, "' here; there are ",
         known);
}

namespace internal {

inline std::atomic<const Table*>& chosen() {
    static std::atomic<const Table*> table = [] {
        const char* wanted = std::getenv("CAIRN_ISA");
        return wanted != nullptr && *wanted != '\0' ? &named(wanted) : available().back();
    }();
    return table;
}

}  // namespace internal

/// The kernels in use. The first call reads CAIRN_ISA and may throw Error{unsupported}.
inline const Table& active() { return *internal::chosen().load(std::memory_order_relaxed); }

/// While it lives, all of the program uses another table: for tests and benchmarks.
class Override {
  public:
    explicit Override(const Table& table) : before_(&active()) { internal::chosen().store(&table); }
    ~Override() { internal::chosen().store(before_); }
    Override(const Override&) = delete;
    Override& operator=(const Override&) = delete;

  private:
    const Table* before_;
};

}}}  // namespace cairn::kernels
