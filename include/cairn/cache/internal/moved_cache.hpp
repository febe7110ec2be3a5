// What is left of a cache after a move: it holds nothing and takes nothing.
#pragma once

#include "cairn/cache/seam/concepts.hpp"
#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

class MovedCache {
  public:
    void stage(TokenRows, TokenRows) { refuse(); }
    void commit(int) noexcept {}
    void rollback() noexcept {}
    void clear() { refuse(); }
    void expect_prompt(int) { refuse(); }
    void runs(int, RunList& keys, RunList& values) const noexcept {
        keys.clear();
        values.clear();
    }
    int committed() const noexcept { return 0; }
    int length() const noexcept { return 0; }
    int capacity() const noexcept { return 0; }
    int max_rows() const noexcept { return 0; }
    HeadLayout layout() const noexcept { return {}; }
    std::size_t bytes() const noexcept { return 0; }
    std::size_t payload_bytes(int) const noexcept { return 0; }
    [[noreturn]] static void refuse() { fail(ErrorCode::bad_state, "the cache was moved from"); }
    /// It has no state: one serves all.
    static MovedCache& instance() noexcept {
        static MovedCache cache;
        return cache;
    }
};

}}}  // namespace cairn::internal
