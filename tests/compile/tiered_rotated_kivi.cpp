// REJECT: a tier cannot itself change form with age
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Tiered<cairn::Rotated<cairn::Kivi<4>>>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Tiered<cairn::Rotated<cairn::Q4_0>>> cache({1, 1, 32, 32}, 64);
#endif
