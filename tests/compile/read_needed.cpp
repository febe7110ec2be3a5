// REJECT: the third argument must be a read such as
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Contiguous<cairn::F16>, cairn::KeepAll, cairn::F16> cache({1, 1, 8, 8}, 4);
#else
cairn::KvCache<cairn::Contiguous<cairn::F16>, cairn::KeepAll, cairn::ReadAll> cache({1, 1, 8, 8}, 4);
#endif
