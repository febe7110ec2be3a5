// REJECT: and width a multiple of heads
#include <cairn/models/tiny_gpt.hpp>
#ifdef REJECT
constexpr cairn::TinyShape shape{.heads = 3, .width = 64};
#else
constexpr cairn::TinyShape shape{.heads = 4, .width = 64};
static_assert(shape.cache_bytes(100) == 100 * 2 * 2 * 64 * 4);
#endif
const auto model = cairn::TinyGpt::random<shape>(1);
