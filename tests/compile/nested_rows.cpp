// REJECT: rows are kept in one way: what BareKeys, Inputs, Latent and two tiers wrap are plain rows
#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/codec/latent.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Tiered<cairn::Latent<cairn::F16>>> cache({2, 1, 32, 16}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::Latent<cairn::F16>>> cache({2, 1, 32, 16}, 64);
#endif
