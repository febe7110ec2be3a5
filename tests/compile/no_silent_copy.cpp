// REJECT: deleted
#include <cairn/cache/kv_cache.hpp>
cairn::KvCache<> cache({1, 1, 8, 8}, 4);
#ifdef REJECT
cairn::KvCache<> other = cache;
#else
cairn::KvCache<> other = cache.fork();
#endif
