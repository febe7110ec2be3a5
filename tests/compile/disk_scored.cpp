// REJECT: a keep that forgets rows or chooses them by score needs a store in memory
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Spilled<cairn::Q8_0>, cairn::H2O<16>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::Q8_0>, cairn::H2O<16>> cache({1, 1, 32, 32}, 64);
#endif
