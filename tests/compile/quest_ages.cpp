// REJECT: keys that change form with age are read in several ways
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::Kivi<4>>, cairn::KeepAll, cairn::Quest> cache({1, 1, 32, 32}, 4);
#else
cairn::KvCache<cairn::Contiguous<cairn::F16, cairn::Kivi<4>>, cairn::KeepAll, cairn::Quest> cache({1, 1, 32, 32}, 4);
#endif
