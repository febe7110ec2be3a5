// REJECT: keys are quantised in groups of 32 tokens
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::Kivi<4, 40>>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::Kivi<4, 64>>> cache({1, 1, 32, 32}, 64);
#endif
