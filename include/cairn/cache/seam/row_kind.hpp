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

/// Finds an orthonormal basis of what weights w [out][in] look at: `to` [out][in] gives an input's
/// coordinates in it, `from` [out][out] the outputs of coordinates, so that w = from * to.
using FactorWeights = void(const float* w, int out, int in, float* to, float* from);

}}  // namespace cairn
