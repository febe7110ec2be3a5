// Stores whose recent rows are in another codec than the old ones: names for what the parts give.
#pragma once

#include "cairn/cache/codec/two_tiers.hpp"
#include "cairn/cache/store/contiguous.hpp"
#include "cairn/cache/store/spilled.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The store of `KvCache<Tiered<Q8_0>>`: recent rows hot, the others cold.
template <CodecPolicy Cold = Q8_0, CodecPolicy Hot = F16, int recent = 512>
using Tiered = Contiguous<TwoTiers<Cold, Hot, recent>>;

/// Three tiers: recent rows hot, `memory_rows` older ones cold in memory, whole blocks behind them
/// cold on disk.
template <CodecPolicy Cold = Q8_0, CodecPolicy Hot = F16, int recent = 512, int memory_rows = 4096>
using TieredToDisk = Spilled<TwoTiers<Cold, Hot, recent>, TwoTiers<Cold, Hot, recent>, memory_rows>;

}}  // namespace cairn
