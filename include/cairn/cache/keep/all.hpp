// The keep that forgets nothing.
#pragma once

#include "cairn/cache/run.hpp"

namespace cairn::inline CAIRN_ABI {

/// Every row stays until it is truncated.
struct KeepAll {
    /// Fills the keep's fields of the runs of a cache that holds `length` rows.
    void rows(int length, Run& run) const noexcept {
        run.begin = 0;
        run.end = length;
    }
    /// Whether a cache of `length` committed rows can be cut back to `rows` exactly.
    bool can_truncate(int rows, int length) const noexcept { return rows >= 0 && rows <= length; }
    /// Whether a model whose queries see `window` rows (0: all) is served without loss.
    static constexpr bool covers(int window) noexcept { return window >= 0; }
};

}  // namespace cairn::inline CAIRN_ABI
