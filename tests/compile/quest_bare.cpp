// REJECT: rows that become keys only when they are read say nothing before
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::BareKeys<cairn::F16>>, cairn::KeepAll, cairn::Quest> cache({1, 1, 8, 8}, 4);
#else
cairn::KvCache<cairn::Contiguous<cairn::BareKeys<cairn::F16>>> cache({1, 1, 8, 8}, 4);
#endif
