// REJECT: this store's address space ends at the capacity
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
void shift(cairn::KvCache<cairn::Tiered<cairn::Q8_0>>& cache) { cache.shift(4, 8); }
#else
void shift(cairn::KvCache<cairn::Paged<cairn::Q8_0>>& cache) { cache.shift(4, 8); }
#endif
