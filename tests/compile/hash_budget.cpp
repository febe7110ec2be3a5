// REJECT: the first 4 and the last 10 rows always stay
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::F32>, cairn::HashEvict<14>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::F32>, cairn::HashEvict<15>> cache({1, 1, 32, 32}, 64);
#endif
