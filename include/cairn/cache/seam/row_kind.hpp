// What the rows of a stream are: what attention multiplies, or what it is made of when it is read.
#pragma once

#include <cstdint>

namespace cairn { inline namespace CAIRN_ABI {

/// What a row holds. Rows that are not ready are made into keys and values by the attention engine,
/// a segment at a time, for all queries that read it.
enum class RowKind : std::uint8_t {
    ready,     ///< keys or values as attention multiplies them
    bare_key,  ///< keys before rotation
    input,     ///< of the layer: keys and values are projections of it
};

}}  // namespace cairn
