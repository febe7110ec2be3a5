// REJECT: rows of this codec come in units that do not divide the block
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Paged<cairn::Q8_0, cairn::Q8_0, 8>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Paged<cairn::F32, cairn::Q8_0, 8>> cache({1, 1, 32, 32}, 64);
#endif
