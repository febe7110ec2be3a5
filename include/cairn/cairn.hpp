// Cairn: KV-cached transformer decoding over Eigen, in headers. This one includes everything that
// needs only Eigen; files and tokenizers are in cairn/io/.
#pragma once

#include "cairn/attention/engine.hpp"
#include "cairn/attention/prefill.hpp"
#include "cairn/attention/reference.hpp"
#include "cairn/cache/cache_spec.hpp"
#include "cairn/cache/kv_cache.hpp"
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
