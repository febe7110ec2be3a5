// Cairn: KV-cached transformer decoding over Eigen, in headers. This one includes everything that
// needs only Eigen. Beside it: caches by name in cairn/cache/named/cache_spec.hpp, rows on disk in
// cairn/cache/store/spilled.hpp, the planner in cairn/cache/named/planner.hpp, the audit in
// cairn/models/audit.hpp, prefix reuse in cairn/serve/, files and tokenizers in cairn/io/. The
// names of every layer, a line each: docs/reference/names.md.
#pragma once

#include "cairn/attention/engine.hpp"
#include "cairn/attention/prefill.hpp"
#include "cairn/attention/reference.hpp"
#include "cairn/cache/any_cache.hpp"
#include "cairn/cache/codec/bare_keys.hpp"
#include "cairn/cache/codec/inputs.hpp"
#include "cairn/cache/codec/kivi.hpp"
#include "cairn/cache/keep/h2o.hpp"
#include "cairn/cache/keep/hash_evict.hpp"
#include "cairn/cache/keep/nacl.hpp"
#include "cairn/cache/keep/snapkv.hpp"
#include "cairn/cache/kv_cache.hpp"
#include "cairn/cache/store/paged.hpp"
#include "cairn/cache/store/tiered.hpp"
#include "cairn/core/config.hpp"
#include "cairn/core/context.hpp"
#include "cairn/core/error.hpp"
#include "cairn/core/thread_pool.hpp"
#include "cairn/generate/generate.hpp"
#include "cairn/generate/sampler.hpp"
#include "cairn/generate/sampler_steps.hpp"
#include "cairn/generate/stop_strings.hpp"
#include "cairn/layers/block.hpp"
#include "cairn/layers/embedding.hpp"
#include "cairn/models/decoder.hpp"
#include "cairn/models/gpt2.hpp"
#include "cairn/models/session.hpp"
#include "cairn/models/tiny_gpt.hpp"
#include "cairn/models/verify.hpp"
