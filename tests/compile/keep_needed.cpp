// REJECT: the second argument must be a keep
#include <cairn/cache/kv_cache.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::F16>, cairn::F16> cache({1, 1, 8, 8}, 4);
#else
cairn::KvCache<cairn::Contiguous<cairn::F16>, cairn::KeepAll> cache({1, 1, 8, 8}, 4);
#endif
