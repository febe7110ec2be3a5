// Caches: the names of the layer. Beside them: caches by name in cairn/cache/cache_spec.hpp, the
// planner in cairn/cache/planner.hpp, what a part of one's own implements in cache/seam/. Keeps
// that few programs name come with their words or are included by themselves: cache/keep/adakv.hpp,
// duo.hpp, expected_attention.hpp, keydiff.hpp, pyramidkv.hpp.
#pragma once

#include "cairn/cache/any_cache.hpp"        // AnyCache: any cache, chosen at run time
#include "cairn/cache/cache_set.hpp"        // CacheSet: caches by layer, some of which are shared
#include "cairn/cache/codec/bare_keys.hpp"  // BareKeys: keys before rotation
#include "cairn/cache/codec/block.hpp"      // Q8_0 to Q4_0, Iq4Nl, Int8, Int4, Fp8E4M3, Fp8E5M2
#include "cairn/cache/codec/inputs.hpp"     // Inputs: a layer's inputs in place of keys and values
#include "cairn/cache/codec/kivi.hpp"       // Kivi: 4 or 2 bits, keys by channel
#include "cairn/cache/codec/latent.hpp"     // Latent: values are the leading numbers of keys
#include "cairn/cache/codec/plain.hpp"      // F32, F16, BF16
#include "cairn/cache/codec/rotated.hpp"    // Rotated: rows turned by a Hadamard matrix first
#include "cairn/cache/codec/two_tiers.hpp"  // TwoTiers: recent rows in another codec
#include "cairn/cache/keep/h2o.hpp"         // H2O: recent rows and heavy hitters
#include "cairn/cache/keep/hash_evict.hpp"  // HashEvict: the row with the farthest hash goes
#include "cairn/cache/keep/keep_all.hpp"    // KeepAll
#include "cairn/cache/keep/nacl.hpp"        // Nacl: proxy queries and chance
#include "cairn/cache/keep/snapkv.hpp"      // SnapKv: what the prompt's last queries looked at
#include "cairn/cache/keep/window_sinks.hpp"  // WindowSinks: the first rows and the last ones
#include "cairn/cache/kv_cache.hpp"           // KvCache: a cache whose policies are its type
#include "cairn/cache/read/quest.hpp"         // Quest: pages whose keys promise most are read
#include "cairn/cache/read/read_all.hpp"      // ReadAll
#include "cairn/cache/store/contiguous.hpp"   // Contiguous, Mapped
#include "cairn/cache/store/paged.hpp"        // Paged, BlockPools: blocks that caches share
#include "cairn/cache/store/spilled.hpp"      // Spilled: old rows on disk
#include "cairn/cache/store/tiered.hpp"       // Tiered, TieredToDisk
