#include "support.hpp"
using namespace support;

TEST_CASE("every half survives the way to float and back", "[half]") {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float f = f16_to_f32(half);
        if (f == f)
            REQUIRE(f32_to_f16(f) == half);
        else
            REQUIRE((f32_to_f16(f) & 0x7E00) == 0x7E00);
        const float b = bf16_to_f32(half);
        if (b == b) REQUIRE(f32_to_bf16(b) == half);
    }
}

TEST_CASE("rounding to half is to nearest, ties to even", "[half]") {
    Random random(1);
    for (int i = 0; i < 200000; ++i) {
        // Any exponent a half can have, and a few beyond.
        const float x =
            static_cast<float>((random.uniform() - 0.5) * elementary::exp2(draw(random, -27, 17)));
        const float got = f16_to_f32(f32_to_f16(x));
        const std::uint16_t bits = f32_to_f16(x);
        if (std::abs(x) >= 65520.0F) {
            REQUIRE(std::isinf(got));
            continue;
        }
        for (const int step : {-1, 1}) {
            const auto neighbour = static_cast<std::uint16_t>(bits + step);
            if ((neighbour & 0x7FFF) > 0x7BFF || (neighbour ^ bits) > 0x7FFF) continue;
            const double here = std::abs(static_cast<double>(got) - x);
            const double there = std::abs(static_cast<double>(f16_to_f32(neighbour)) - x);
            REQUIRE((here < there || (here == there && (bits & 1) == 0)));
        }
    }
    CHECK(f32_to_f16(65519.99F) == 0x7BFF);
    CHECK(f32_to_f16_saturated(1e30F) == 0x7BFF);
    CHECK(f32_to_f16_saturated(-1e30F) == 0xFBFF);
    CHECK(f32_to_f16_saturated(std::numeric_limits<float>::infinity()) == 0x7C00);
    CHECK(f32_to_bf16(1.00390625F) == 0x3F80);  // a tie: to even
    CHECK(f32_to_bf16(1.01171875F) == 0x3F82);
}
