// A cache by name; see named/cache_spec.hpp.
#pragma once

#include "cairn/cache/kv_cache.hpp"
#include "cairn/cache/named/cache_spec.hpp"
