// REJECT: a keep that forgets, hides or scores rows has chosen before it
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::F16>, cairn::WindowSinks<64>, cairn::Quest> cache({1, 1, 8, 8}, 4);
#else
cairn::KvCache<cairn::Contiguous<cairn::F16>, cairn::KeepAll, cairn::Quest> cache({1, 1, 8, 8}, 4);
#endif
