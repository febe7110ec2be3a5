// REJECT: rows are kept in one way: a codec that makes others unrotated keys, inputs, leading values or tiers wraps plain rows
#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/codec/latent.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Tiered<cairn::Latent<cairn::F16>>> cache({2, 1, 32, 16}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::Latent<cairn::F16>>> cache({2, 1, 32, 16}, 64);
#endif
