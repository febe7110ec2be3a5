// What one forward feeds to one session, and what it gives back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/core/error.hpp"
#include "cairn/core/types.hpp"
#include "cairn/models/session_state.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Which rows of a slice want logits.
enum class LogitRows : std::uint8_t { none, last, all };

/// Whether a slice stays whole or not at all, or some of its first rows may stay alone.
enum class Acceptance : std::uint8_t { whole, in_part };

/// Consecutive tokens of one session. Outputs are written only when the whole forward succeeds.
struct Slice {
    SessionState* session = nullptr;
    Tokens tokens;
    LogitRows rows = LogitRows::last;
    float* logits = nullptr;  ///< [wanted rows][vocabulary]
    float* hidden = nullptr;  ///< [tokens][width] after the final norm; null if not wanted
    Acceptance acceptance = Acceptance::whole;  ///< what Forward::accept may be told

    int count() const noexcept { return static_cast<int>(tokens.size()); }
    /// Rows of logits that are wanted.
    int wanted() const noexcept {
        return rows == LogitRows::all ? count() : (rows == LogitRows::last ? 1 : 0);
    }
};

namespace internal {

inline void check_acceptance(const Slice& slice, int layers) {
    if (slice.acceptance == Acceptance::whole) return;
    for (int layer = 0; layer < layers; ++layer)
        require(slice.session->cache(layer).commits_part(), ErrorCode::unsupported,
                "forward: a slice of ", slice.count(),
                " tokens that may be accepted in part, but the cache of layer ", layer,
                " chooses rows by score and commits all staged rows or none");
}

// Everything of a forward that can be refused before any work.
template <class Model>
void check_slices(const Model& model, std::span<const Slice> slices) {
    require(model.identity() != nullptr, ErrorCode::bad_state, "forward: the model was moved from");
    for (const Slice& slice : slices) {
        require(slice.session->model_identity() != nullptr, ErrorCode::bad_state,
                "forward: the session was moved from");
        require(slice.session->model_identity() == model.identity(), ErrorCode::model_mismatch,
                "forward: the session belongs to another model");
        require(!slice.tokens.empty(), ErrorCode::empty_prompt, "forward: slice without tokens");
        require(slice.rows == LogitRows::none || slice.logits != nullptr,
                ErrorCode::invalid_argument, "forward: logits wanted, but nowhere to write them");
        const int position = slice.session->position();
        const auto limit = static_cast<std::size_t>(slice.session->capacity() - position);
        require(slice.tokens.size() <= limit, ErrorCode::capacity,
                "context full: ", slice.tokens.size(), " tokens at position ", position,
                " do not fit a capacity of ", position + static_cast<int>(limit));
        for (std::size_t i = 0; i < slice.tokens.size(); ++i)
            require(slice.tokens[i] >= 0 && slice.tokens[i] < model.vocabulary(),
                    ErrorCode::token_range, "token ", slice.tokens[i], " at index ", i,
                    " is not in 0..", model.vocabulary() - 1);
        check_acceptance(slice, model.layers());
    }
}

}  // namespace internal

}}  // namespace cairn
