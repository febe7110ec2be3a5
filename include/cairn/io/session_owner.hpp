// What a session file is bound to: weights, settings and tokenizer of the model that made it, as
// numbers, so that a session never goes on under another one.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/cache/seam/archive.hpp"
#include "cairn/core/context.hpp"

namespace cairn { inline namespace CAIRN_ABI {

struct LoadedModel;

/// A part of a model or of its tokenizer with a number of its own: an error names it.
struct OwnerPart {
    std::string name;
    std::uint64_t print = 0;
};

/// What a session file is bound to. Everything must be equal to load it. Of the parts those are
/// compared that both sides have: files of older versions have none.
struct SessionOwner {
    std::uint64_t weights = 0;
    std::uint64_t tokenizer = 0;
    Compute compute = Compute::fast;
    std::vector<OwnerPart> parts{};
    Compute attention = Compute::accurate;

    /// Of a loaded model and the modes of its session's context: one pass over weights and
    /// vocabulary. In io/session_file.hpp.
    static inline SessionOwner of(const LoadedModel& loaded, Compute compute,
                                  Compute attention = Compute::accurate);
};

namespace internal {

// A number that must be equal on both sides; the error names it.
inline void bound(CacheArchive& a, std::string_view what, std::uint64_t mine) {
    auto value = static_cast<std::int64_t>(mine);
    a.number(what, value, std::numeric_limits<std::int64_t>::min(),
             std::numeric_limits<std::int64_t>::max());
    require(value == static_cast<std::int64_t>(mine), ErrorCode::model_mismatch,
            "the session belongs to another ", what);
}
// Parts that both sides have must be equal. Their number and the lengths of their names are
// checked.
inline void bound_parts(CacheArchive& a, const std::vector<OwnerPart>& mine) {
    auto count = static_cast<std::int64_t>(mine.size());
    a.number("number of parts", count, 0, 100);
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        OwnerPart part = a.loading() ? OwnerPart{} : mine[i];
        auto length = static_cast<std::int64_t>(part.name.size());
        a.number("length of a part's name", length, 0, 200);
        part.name.resize(static_cast<std::size_t>(length));
        a.bytes(part.name.data(), part.name.size());
        a.bytes(&part.print, sizeof part.print);
        for (const OwnerPart& own : mine)
            require(own.name != part.name || own.print == part.print, ErrorCode::model_mismatch,
                    "the session belongs to a model that differs in the ", own.name);
    }
}

}  // namespace internal

}}  // namespace cairn
