// REJECT: rows that become keys only when they are read go by position
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::BareKeys<cairn::F16>>, cairn::H2O<16>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::BareKeys<cairn::F16>>> cache({1, 1, 32, 32}, 64);
#endif
