#include "cache/cache_support.hpp"
using namespace support;

TEST_CASE("16-bit rows saturate, and keep NaN", "[plain]") {
    KvCache<Contiguous<F16>> cache({1, 1, 2, 2}, 4);
    const float k[] = {1e30F, std::nanf("")};
    const float v[] = {-1e30F, std::numeric_limits<float>::infinity()};
    cache.append({k, 2, 1}, {v, 2, 1});
    RunList keys, values;
    cache.runs(0, keys, values);
    float row[2];
    keys[0].codec->decode(keys[0].rows(0, 1), 2, row, 2);
    CHECK(row[0] == 65504.0F);
    CHECK(std::isnan(row[1]));
    values[0].codec->decode(values[0].rows(0, 1), 2, row, 2);
    CHECK(row[0] == -65504.0F);
    CHECK(std::isinf(row[1]));
}
