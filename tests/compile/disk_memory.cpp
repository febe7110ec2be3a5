// REJECT: some rows must be in memory
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::Spilled<cairn::F16, cairn::F16, 0> store;
#else
cairn::Spilled<cairn::F16, cairn::F16, 8> store;
#endif
