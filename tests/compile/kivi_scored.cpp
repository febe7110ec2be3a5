// REJECT: rows that share scales or change form with age cannot be moved
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::Kivi<4>>, cairn::H2O<16>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::Q4_0>, cairn::H2O<16>> cache({1, 1, 32, 32}, 64);
#endif
