// REJECT: Kivi<bits>: 4 and 2 bits exist
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::Kivi<3>>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::Kivi<2>>> cache({1, 1, 32, 32}, 64);
#endif
