// REJECT: CodecPolicy
#include <cairn/cache/kv_cache.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<float>> cache({1, 1, 8, 8}, 4);
#else
cairn::KvCache<cairn::Contiguous<cairn::F32>> cache({1, 1, 8, 8}, 4);
#endif
