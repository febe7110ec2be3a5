// The keeps that go by position: all rows, or a window of recent ones behind a pinned front.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cairn/cache/store/row_store.hpp"

namespace cairn::inline CAIRN_ABI {

/// Which rows stay, by position. Row numbers are positions.
struct PositionKeep {
    int window = 0;  ///< recent rows that stay, the query's own included; 0: all
    int sinks = 0;   ///< first rows that stay for ever

    /// The most rows that a query sees under a window: it and the sinks. Saturates.
    constexpr int reach() const noexcept {
        const std::int64_t rows = std::int64_t{window} + sinks;
        return static_cast<int>(
            std::min<std::int64_t>(rows, std::numeric_limits<std::int32_t>::max()));
    }
    /// Rows a store has to hold at once.
    Extent extent(int capacity, int chunk) const noexcept {
        return {capacity, sinks, window, chunk};
    }
    /// Whether a model whose queries see `model_window` rows (0: all) is served without loss.
    constexpr bool covers(int model_window) const noexcept {
        return window == 0 || (model_window != 0 && model_window <= window && sinks == 0);
    }
};

/// Every row stays until it is truncated.
struct KeepAll : PositionKeep {};

/// The last `recent` rows stay (a query sees itself and recent - 1 before it) and the first `first`
/// ones: StreamingLLM (Xiao et al. 2023, arXiv 2309.17453). Keys stay rotated at their positions;
/// for the first rows the query stands where it would if nothing lay between them and the window.
template <int recent, int first = 4>
struct WindowSinks : PositionKeep {
    static_assert(recent > 0 && first >= 0,
                  "WindowSinks<recent, first>: at least one recent row must stay.");
    constexpr WindowSinks() noexcept : PositionKeep{recent, first} {}
};

}  // namespace cairn::inline CAIRN_ABI
