#include <map>

#include <cairn/io/number_map.hpp>

#include "support.hpp"
using namespace support;

TEST_CASE("a number map holds what a map holds", "[number_map]") {
    NumberMap<int> map;
    std::map<std::uint64_t, int> expected;
    CHECK(map.find(0) == nullptr);
    Random random(11);
    for (int i = 0; i < 20000; ++i) {
        const std::uint64_t key =
            random.below(3) == 0 ? random.below(500) : random.below(1U << 30) << random.below(33);
        map.set(key, i);
        expected[key] = i;
        const std::uint64_t other = random.below(1000);
        const int* found = map.find(other);
        REQUIRE((found != nullptr) == expected.contains(other));
        if (found != nullptr) REQUIRE(*found == expected[other]);
    }
    CHECK(map.size() == expected.size());
    for (const auto& [key, value] : expected) REQUIRE(*map.find(key) == value);
}

TEST_CASE("numbers that fall on one place cost another hash, not a long search", "[number_map]") {
    // The first hash of this map, turned round: all of these fall on one place of it.
    const auto inverse = [](std::uint64_t odd) {
        std::uint64_t x = odd;
        for (int i = 0; i < 6; ++i) x *= 2 - odd * x;
        return x;
    };
    for (std::uint64_t seed = 0; seed < 24; ++seed) {
        NumberMap<std::uint64_t> map;
        const std::uint64_t a = inverse(0x9E3779B97F4A7C15U);
        const std::uint64_t b = inverse(0xD6E8FEB86659FD93U + 2 * seed);
        for (std::uint64_t i = 0; i < 3000; ++i) {
            std::uint64_t h = i * b;
            h ^= h >> 32;
            map.set((h * a) ^ seed, i);
        }
        CHECK(map.size() == 3000);
        for (std::uint64_t i = 0; i < 3000; ++i) {
            std::uint64_t h = i * b;
            h ^= h >> 32;
            REQUIRE(*map.find((h * a) ^ seed) == i);
        }
    }
}
