// REJECT: rows that share scales or change form with age cannot be moved
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Tiered<cairn::Q8_0>, cairn::SnapKv<16>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Tiered<cairn::Q8_0>, cairn::WindowSinks<16, 4>> cache({1, 1, 32, 32}, 64);
#endif
