// Elementary functions in double, made of + - * / fma only, so that every machine, compiler and C
// library gives the same bits. Errors are below 2 units in the last place on the ranges named.
// None is inlined: a product passed in or handed out could otherwise be contracted with an
// addition. The polynomials are Taylor and atanh series; the three-part pi/2 is Cody and Waite's
// reduction.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace elementary {

namespace internal {

// Nearest integer (ties to even) of |x| < 2^51, by adding and taking away 1.5 * 2^52.
inline double nearest(double x) noexcept { return (x + 6755399441055744.0) - 6755399441055744.0; }

// Nearest integer of x * y, the product not rounded first.
inline double nearest_product(double x, double y) noexcept {
    return std::fma(x, y, 6755399441055744.0) - 6755399441055744.0;
}

// 2^n for a normal result.
inline double power_of_two(std::int64_t n) noexcept {
    return std::bit_cast<double>(static_cast<std::uint64_t>(n + 1023) << 52);
}

// e^r * 2^n for |r| <= ln(2)/2 and an integer n.
inline double exp_reduced(double r, double n) noexcept {
    double sum = 1.0 / 6227020800.0;  // 1/13!
    constexpr double inverse_factorial[] = {1.0 / 479001600.0,
                                            1.0 / 39916800.0,
                                            1.0 / 3628800.0,
                                            1.0 / 362880.0,
                                            1.0 / 40320.0,
                                            1.0 / 5040.0,
                                            1.0 / 720.0,
                                            1.0 / 120.0,
                                            1.0 / 24.0,
                                            1.0 / 6.0,
                                            0.5,
                                            1.0,
                                            1.0};
    for (const double c : inverse_factorial) sum = std::fma(sum, r, c);
    const auto k = static_cast<std::int64_t>(n);
    // In two steps, so that subnormal results are rounded once and 2^1023.9 does not overflow
    // early.
    return sum * power_of_two(k / 2) * power_of_two(k - k / 2);
}

}  // namespace internal

/// 2^x for any x; 0 below -1074, infinity from 1024 on, NaN for NaN.
[[gnu::noinline]] inline double exp2(double x) noexcept {
    if (!(x == x)) return x;
    if (x >= 1024.0) return std::numeric_limits<double>::infinity();
    if (x < -1075.0) return 0.0;
    const double n = internal::nearest(x);
    const double r = (x - n) * 0.693147180559945309417232;  // |r| <= ln(2)/2
    return internal::exp_reduced(r, n);
}

/// Base-2 logarithm of a positive number; -infinity at 0, NaN below.
[[gnu::noinline]] inline double log2(double x) noexcept {
    if (!(x > 0.0))
        return x == 0.0 ? -std::numeric_limits<double>::infinity()
                        : std::numeric_limits<double>::quiet_NaN();
    if (x == std::numeric_limits<double>::infinity()) return x;
    double scaled = x;
    std::int64_t exponent = 0;
    if (x < std::numeric_limits<double>::min()) {
        scaled = x * 18014398509481984.0;  // 2^54
        exponent = -54;
    }
    const auto bits = std::bit_cast<std::uint64_t>(scaled);
    exponent += static_cast<std::int64_t>(bits >> 52) - 1023;
    double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFULL) | 0x3FF0000000000000ULL);
    if (m > 1.4142135623730951) {  // m in [sqrt(1/2), sqrt(2)]
        m *= 0.5;
        exponent += 1;
    }
    // ln m = 2 atanh(s), s = (m - 1)/(m + 1), |s| <= 0.1716
    const double s = (m - 1.0) / (m + 1.0);
    const double s2 = s * s;
    double sum = 1.0 / 25.0;
    for (int k = 23; k >= 3; k -= 2) sum = std::fma(sum, s2, 1.0 / k);
    constexpr double log2e = 1.442695040888963407359925;
    const double atanh2 = 2.0 * std::fma(s2 * sum, s, s);
    return std::fma(atanh2, log2e, static_cast<double>(exponent));
}

/// e^x, as exp2.
[[gnu::noinline]] inline double exp(double x) noexcept {
    if (!(x == x)) return x;
    if (x > 710.0) return std::numeric_limits<double>::infinity();
    if (x < -750.0) return 0.0;
    // Cody and Waite: x = n ln 2 + r with ln 2 in two parts.
    const double n = internal::nearest_product(x, 1.442695040888963407359925);
    double r = std::fma(-n, 6.93147180559945286227e-01, x);
    r = std::fma(-n, 2.31904681384629956e-17, r);
    return internal::exp_reduced(r, n);
}

/// Natural logarithm, as log2.
[[gnu::noinline]] inline double log(double x) noexcept {
    return log2(x) * 0.693147180559945309417232;
}

/// base^exponent for base > 0.
[[gnu::noinline]] inline double pow(double base, double exponent) noexcept {
    return exp2(exponent * log2(base));
}

/// Sine and cosine of an angle.
struct SinCos {
    double sin;
    double cos;
};

/// Both at once, for |x| < 2^30; absolute error below 1e-15.
[[gnu::noinline]] inline SinCos sincos(double x) noexcept {
    constexpr double pio2_high = 1.57079632679489655800e+00;
    constexpr double pio2_middle = 6.12323399573676603587e-17;
    constexpr double pio2_low = -1.49738490485916983e-33;
    const double n = internal::nearest_product(x, 0.636619772367581343075535);
    double r = std::fma(-n, pio2_high, x);
    r = std::fma(-n, pio2_middle, r);
    r = std::fma(-n, pio2_low, r);
    const double r2 = r * r;
    double s = -1.0 / 1307674368000.0;  // 15!
    constexpr double sine[] = {1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0,
                               -1.0 / 5040.0,      1.0 / 120.0,       -1.0 / 6.0};
    for (const double c : sine) s = std::fma(s, r2, c);
    const double r3 = r2 * r;
    s = std::fma(s, r3, r);
    double c = 1.0 / 20922789888000.0;  // 16!
    constexpr double cosine[] = {-1.0 / 87178291200.0,
                                 1.0 / 479001600.0,
                                 -1.0 / 3628800.0,
                                 1.0 / 40320.0,
                                 -1.0 / 720.0,
                                 1.0 / 24.0,
                                 -0.5,
                                 1.0};
    for (const double k : cosine) c = std::fma(c, r2, k);
    switch (static_cast<std::int64_t>(n) & 3) {
        case 0: return {s, c};
        case 1: return {c, -s};
        case 2: return {-s, -c};
        default: return {-c, s};
    }
}

}}}  // namespace cairn::elementary
