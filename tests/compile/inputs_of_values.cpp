// REJECT: values that are made of a layer's inputs need the inputs
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::F16, cairn::Inputs<cairn::F16>>> cache({1, 1, 32, 32, 64}, 64);
#else
cairn::KvCache<cairn::Contiguous<cairn::Inputs<cairn::F16>, cairn::F16>> cache({1, 1, 32, 32, 64}, 64);
#endif
