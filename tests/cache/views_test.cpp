#include "cache/cache_support.hpp"
using namespace support;

TEST_CASE("Eigen sees the rows of an f32 cache", "[views]") {
    Random random(6);
    KvCache<> cache(uneven_heads, 50);
    const Step step(random, 33);
    append(cache, step);
    for (int h = 0; h < 2; ++h) {
        CHECK(key_view(cache, h) == step.k.middleCols(h * 20, 20));
        CHECK(value_view(cache, h) == step.v.middleCols(h * 12, 12));
    }
    CHECK(code_of([&] { key_view(cache, 2); }) == ErrorCode::invalid_argument);
    KvCache<Contiguous<F16>> half(uneven_heads, 50);
    CHECK(key_view(half, 0).rows() == 0);
    append(half, step);
    CHECK(code_of([&] { key_view(half, 0); }) == ErrorCode::unsupported);
}
