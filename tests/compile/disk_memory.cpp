// REJECT: some rows must be in memory
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::Spilled<cairn::F16, cairn::F16, 0> store({1, 1, 32, 32}, {64, 0, 0, 16});
#else
cairn::Spilled<cairn::F16, cairn::F16, 8> store({1, 1, 32, 32}, {64, 0, 0, 16});
#endif
