// Cairn: KV-cached transformer decoding over Eigen, in headers. This one includes the main names,
// by the indexes of its layers, which list them. Beside it: caches by name and the planner in
// cairn/cache/named/, beams in cairn/generate/beam.hpp, the audit and other architectures in
// cairn/models/, prefix reuse in cairn/serve/, files and tokenizers in cairn/io/. All names, a line
// each: docs/reference/names.md.
#pragma once

#include "cairn/attention/attention.hpp"
#include "cairn/cache/cache.hpp"
#include "cairn/core/config.hpp"
#include "cairn/core/context.hpp"
#include "cairn/core/error.hpp"
#include "cairn/core/thread_pool.hpp"
#include "cairn/generate/generate.hpp"
#include "cairn/generate/sampler.hpp"
#include "cairn/generate/sampler_steps.hpp"
#include "cairn/generate/stop_strings.hpp"
#include "cairn/layers/layers.hpp"
#include "cairn/models/models.hpp"
