// REJECT: rows that share scales or change form with age cannot be moved
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Paged<cairn::F16, cairn::Kivi<2>, 32>, cairn::Nacl<16>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Paged<cairn::F16, cairn::Q4_1, 32>, cairn::Nacl<16>> cache({1, 1, 32, 32}, 64);
#endif
