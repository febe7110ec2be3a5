// REJECT: the recent rows are part of the budget
#include <cairn/cache/cache_spec.hpp>
#ifdef REJECT
cairn::KvCache<cairn::Mapped<cairn::F16>, cairn::H2O<8, 9>> cache({1, 1, 32, 32}, 64);
#else
cairn::KvCache<cairn::Mapped<cairn::F16>, cairn::H2O<9, 8>> cache({1, 1, 32, 32}, 64);
#endif
