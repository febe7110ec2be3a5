#include "support.hpp"
using namespace support;

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
