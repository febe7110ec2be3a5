// Attention: the names of the layer.
#pragma once

#include "cairn/attention/engine.hpp"      // attend: queries of one sequence over its cache
#include "cairn/attention/parameters.hpp"  // AttentionParameters: scale, mask, soft cap, ALiBi
#include "cairn/attention/prefill.hpp"     // prefill, key_view, value_view: matrices in and out
#include "cairn/attention/reference.hpp"   // reference_attention: the definition, for tests
