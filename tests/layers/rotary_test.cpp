#include <unistd.h>

#include <fstream>
#include <thread>

#include "support.hpp"
using namespace support;

namespace {

std::size_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    std::size_t all = 0;
    std::size_t resident = 0;
    file >> all >> resident;
    return resident * page_size();
}

}  // namespace

TEST_CASE("rotation keeps q.k a function of the distance", "[rotary]") {
    Random random(3);
    const RotaryHalf rotary(RotarySettings{32, 10000.0, 2000, {}, {}});
    const auto q = random_vector(random, 40),
               k = random_vector(random, 40);  // 8 of 40 are not rotated
    const auto score = [&](int m, int n) {
        auto a = q, b = k;
        rotary.rotate(a.data(), m);
        rotary.rotate(b.data(), n);
        double sum = 0.0;
        for (std::size_t i = 0; i < 40; ++i) sum += static_cast<double>(a[i]) * b[i];
        return sum;
    };
    CHECK(score(100, 90) == Approx(score(1700, 1690)).margin(1e-4));
    CHECK(score(0, 0) == Approx(score(1999, 1999)).margin(1e-4));
    CHECK(std::abs(score(100, 90) - score(100, 80)) > 1e-3);
}

TEST_CASE("rotation of one pair is the definition, half or interleaved", "[rotary]") {
    const RotarySettings settings{4, 100.0, 50, {}, {}};
    std::vector<float> a{1, 2, 3, 4}, b{1, 3, 2, 4};
    RotaryHalf(settings).rotate(a.data(), 7);
    RotaryInterleaved(settings).rotate(b.data(), 7);
    CHECK(a[0] == b[0]);
    CHECK(a[1] == b[2]);
    CHECK(a[2] == b[1]);
    CHECK(a[3] == b[3]);
    CHECK(a[0] == Approx(std::cos(7.0) - 3 * std::sin(7.0)));
    CHECK(a[3] == Approx(4 * std::cos(0.7) + 2 * std::sin(0.7)));
    CHECK(code_of([] { RotaryHalf(RotarySettings{3, 1e4, 5, {}, {}}); }) ==
          ErrorCode::invalid_argument);
    CHECK(code_of([] { RotaryHalf(RotarySettings{4, 0.0, 5, {}, {}}); }) ==
          ErrorCode::invalid_argument);
    CHECK(code_of([] { RotaryHalf(RotarySettings{4, std::nan(""), 5, {}, {}}); }) ==
          ErrorCode::invalid_argument);
}

TEST_CASE("scaled frequencies follow their formulas", "[rotary]") {
    RotarySettings s{64, 500000.0, 10, {}, {}};
    const auto plain = rotary_frequencies(s);
    CHECK(plain[0] == 1.0);
    CHECK(plain[31] == Approx(std::pow(500000.0, -62.0 / 64)).epsilon(1e-13));
    s.scaling = {.kind = RotaryScaling::Kind::linear, .factor = 4.0};
    CHECK(rotary_frequencies(s)[5] == plain[5] / 4.0);
    s.scaling = {.kind = RotaryScaling::Kind::llama3, .factor = 8.0, .original_context = 8192};
    const auto llama3 = rotary_frequencies(s);
    CHECK(llama3[0] == plain[0]);
    CHECK(llama3[31] == plain[31] / 8.0);
    for (std::size_t i = 0; i < 32; ++i) {
        const double wavelength = 2 * 3.14159265358979 / plain[i];
        if (wavelength > 2048 && wavelength < 8192) {
            const double smooth = (8192 / wavelength - 1) / 3;
            CHECK(llama3[i] ==
                  Approx((1 - smooth) * plain[i] / 8 + smooth * plain[i]).epsilon(1e-12));
        }
    }
    s.scaling = {.kind = RotaryScaling::Kind::yarn, .factor = 40.0, .original_context = 4096};
    const auto yarn = rotary_frequencies(s);
    CHECK(yarn[0] == plain[0]);
    CHECK(yarn[31] == Approx(plain[31] / 40.0).epsilon(1e-12));
    float row[64] = {};
    row[0] = 1.0F;
    RotaryHalf(s).rotate(row, 0);
    CHECK(row[0] == Approx(0.1 * std::log(40.0) + 1.0));  // YaRN's magnitude
}

TEST_CASE("a rotation that would be none is refused with its number", "[rotary]") {
    const RotarySettings good{64, 10000.0, 2048, {}, {}};
    const auto refused = [](const RotarySettings& s) {
        return code_of([&] { RotaryHalf{s}; }) == ErrorCode::invalid_argument;
    };
    RotarySettings s = good;
    s.divisors.assign(32, 1.0F);
    CHECK(RotaryHalf(s).dims() == 64);
    s.divisors[3] = 1e-30F;
    CHECK(refused(s));
    s = good;
    s.scaling = {.kind = RotaryScaling::Kind::linear, .factor = 1e-300};
    CHECK(refused(s));
    s.scaling = {.kind = RotaryScaling::Kind::yarn, .factor = 4.0, .attention_factor = 1e300};
    CHECK(refused(s));
    s.scaling = {.kind = RotaryScaling::Kind::yarn, .factor = 4.0, .beta_fast = -1.0};
    CHECK(refused(s));
}

TEST_CASE("angles cost what is used of them, not what the context declares", "[rotary]") {
    constexpr int most = 1 << 24;
    const std::size_t before = resident_bytes();
    const RotaryHalf rotary(RotarySettings{64, 10000.0, most, {}, {}});
    Fingerprint fingerprint;
    rotary.hash(fingerprint);
    const auto angles = rotary_frequencies(RotarySettings{64, 10000.0, most, {}, {}});
    for (const int position : {0, 1, 511, 512, 1023, 1024, 131072, most - 1}) {
        float row[64] = {};
        row[3] = 1.0F;
        rotary.rotate(row, position);
        const auto turn = elementary::sincos(position * angles[3]);
        CHECK(row[3] == static_cast<float>(turn.cos));
        CHECK(row[35] == static_cast<float>(turn.sin));
    }
    CHECK(resident_bytes() - before < std::size_t{128} << 20);  // sanitizers add theirs
    float row[64] = {};
    CHECK(code_of([&] { rotary.rotate(row, most); }) == ErrorCode::capacity);
    CHECK(code_of([&] { rotary.rotate(row, -1); }) == ErrorCode::capacity);
}

TEST_CASE("threads that reach new positions at once see the same angles", "[rotary]") {
    const RotaryInterleaved shared(RotarySettings{16, 10000.0, 4096, {}, {}});
    std::vector<std::vector<float>> rows(4);
    std::vector<std::thread> threads;
    for (auto& mine : rows)
        threads.emplace_back([&] {
            for (int position = 0; position < 4096; position += 100) {
                float row[16] = {1.0F};
                shared.rotate(row, position);
                mine.insert(mine.end(), row, row + 16);
            }
        });
    for (std::thread& thread : threads) thread.join();
    for (const auto& mine : rows) CHECK(same_bits(mine, rows[0]));
}
