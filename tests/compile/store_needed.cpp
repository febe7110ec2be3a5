// REJECT: a codec alone has no place to live
#include <cairn/cache/kv_cache.hpp>
#ifdef REJECT
cairn::KvCache<cairn::F16> cache({1, 1, 8, 8}, 4);
#else
cairn::KvCache<cairn::Contiguous<cairn::F16> > cache({1, 1, 8, 8}, 4);
#endif
