// Random numbers that are the same on every machine: std:: distributions are not.
// Source: Blackman and Vigna's xoshiro256++, seeded by SplitMix64.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "cairn/core/fp_environment.hpp"
#include "cairn/numeric/elementary.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A small, fast generator whose whole state is four words. Copying it copies its future.
class Random {
  public:
    explicit Random(std::uint64_t seed = 0) noexcept {
        for (std::uint64_t& word : state_) {
            seed += 0x9E3779B97F4A7C15ULL;
            std::uint64_t z = seed;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
            word = z ^ (z >> 31);
        }
    }

    /// 64 uniformly random bits.
    std::uint64_t next() noexcept {
        auto& s = state_;
        const std::uint64_t result = std::rotl(s[0] + s[3], 23) + s[0];
        const std::uint64_t t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = std::rotl(s[3], 45);
        return result;
    }
    /// Uniform in [0, 1), 53 bits.
    double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
    /// Uniform in 0..bound-1, bound > 0.
    std::uint64_t below(std::uint64_t bound) noexcept {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
    }
    /// Standard normal, by Box and Muller.
    double normal() noexcept {
        const FpEnvironment environment;
        return normal_to_nearest();
    }

    /// The state, for session files.
    const std::array<std::uint64_t, 4>& state() const noexcept { return state_; }
    void set_state(const std::array<std::uint64_t, 4>& state) noexcept { state_ = state; }

  private:
    // Apart, so that no compiler computes any of it before or after the environment holds.
    [[gnu::noinline]] double normal_to_nearest() noexcept {
        const double u = 1.0 - uniform();
        const double radius = std::sqrt(-2.0 * elementary::log(u));
        return radius * elementary::sincos(6.283185307179586477 * uniform()).cos;
    }
    std::array<std::uint64_t, 4> state_{};
};

}}  // namespace cairn
