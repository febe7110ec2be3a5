// REJECT: a Hadamard matrix mixes the leading numbers of a row
#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/codec/latent.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::Rotated<cairn::Latent<cairn::F16>>>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::Latent<cairn::F16>>> cache({1, 1, 32, 32}, 64);
#endif
