// REJECT: a store that puts old rows on disk keeps all of them
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Spilled<cairn::F16>, cairn::WindowSinks<16, 4>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Spilled<cairn::F16>> cache({1, 1, 32, 32}, 64);
#endif
