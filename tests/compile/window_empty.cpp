// REJECT: at least one recent row must stay
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::F16>, cairn::WindowSinks<0, 4>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::F16>, cairn::WindowSinks<1, 4>> cache({1, 1, 32, 32}, 64);
#endif
