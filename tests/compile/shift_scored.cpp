// REJECT: rows are chosen by score, which have no place to shift to
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
void shift(cairn::KvCache<cairn::Paged<>, cairn::H2O<16>>& cache) { cache.shift(4, 8); }
#else
void shift(cairn::KvCache<cairn::Paged<>>& cache) { cache.shift(4, 8); }
#endif
