#include <cairn/numeric/plain_format.hpp>

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

TEST_CASE("the double functions are right to two units in the last place", "[elementary]") {
    Random random(2);
    const auto relative = [](double got, double wanted) {
        return std::abs(got - wanted) / std::abs(wanted);
    };
    double worst = 0.0;
    for (int i = 0; i < 100000; ++i) {
        const double u = random.uniform() - 0.5;
        worst = std::max(worst, relative(elementary::exp(u * 1400), std::exp(u * 1400)));
        worst = std::max(worst, relative(elementary::exp2(u * 2000), std::exp2(u * 2000)));
        const double x = std::exp(u * 200);
        worst = std::max(worst, relative(elementary::log2(x), std::log2(x)));
        const auto [s, c] = elementary::sincos(u * 1e6);
        worst = std::max({worst, std::abs(s - std::sin(u * 1e6)), std::abs(c - std::cos(u * 1e6))});
    }
    CHECK(worst < 4.5e-16);
    CHECK(elementary::exp2(10.0) == 1024.0);
    CHECK(elementary::exp2(-1074.0) == 5e-324);
    CHECK(elementary::exp2(2000.0) == std::numeric_limits<double>::infinity());
    CHECK(elementary::log2(8.0) == 3.0);
    CHECK(elementary::log2(5e-324) == -1074.0);
    CHECK(elementary::log2(0.0) == -std::numeric_limits<double>::infinity());
    CHECK(std::isnan(elementary::log2(-1.0)));
    CHECK(std::isnan(elementary::exp(std::nan(""))));
    CHECK(elementary::pow(10.0, 3.0) == Approx(1000.0).epsilon(1e-15));
}

TEST_CASE("rotary angles stay exact far out", "[elementary]") {
    // Position 131071 at the highest frequency: the error of the angle itself, not of its cosine.
    for (const double x : {131071.0, 1048575.0, 131071.0 * 0.7498942093324559}) {
        const auto [s, c] = elementary::sincos(x);
        CHECK(std::abs(s - static_cast<double>(std::sin(static_cast<long double>(x)))) < 1e-15);
        CHECK(std::abs(c - static_cast<double>(std::cos(static_cast<long double>(x)))) < 1e-15);
    }
}

TEST_CASE("random numbers are fixed by their seed", "[random]") {
    Random random(42);
    CHECK(random.next() == 0xd0764d4f4476689fULL);  // xoshiro256++ after SplitMix64(42)
    Random copy = random;
    CHECK(copy.next() == random.next());
    double sum = 0.0;
    double squares = 0.0;
    constexpr int n = 100000;
    for (int i = 0; i < n; ++i) {
        const double x = random.normal();
        sum += x;
        squares += x * x;
        REQUIRE(random.below(7) < 7);
    }
    CHECK(std::abs(sum / n) < 0.02);
    CHECK(squares / n == Approx(1.0).epsilon(0.02));
    Random restored(0);
    restored.set_state(random.state());
    CHECK(restored.next() == random.next());
}

TEST_CASE("block formats know their size and decode", "[block_format]") {
    for (const ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16}) {
        const PlainFormat& format = format_of(type);
        const std::vector<float> x{0.5F, -2.0F, 1.5F};
        std::vector<std::byte> stored(format.size_of(3) + 1);
        format.encode(x.data(), 3, stored.data() + 1);  // unaligned on purpose
        std::vector<float> back(3);
        format.decode(stored.data() + 1, 3, back.data());
        CHECK(back == x);
        CHECK(code_of([&] { (void)format.size_of(~std::size_t{0}); }) == ErrorCode::limit);
    }
}
