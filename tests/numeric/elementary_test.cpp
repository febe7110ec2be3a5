#include "support.hpp"
using namespace support;

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
