// The memory that a codec may use while it works, given to it from outside: a codec allocates
// nothing, and what it needs is known beforehand (Codec::scratch_floats).
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A stretch of floats of one worker, handed out from the front. It is passed by value: what a
/// function takes is free again for its caller when it returns.
class Scratch {
  public:
    Scratch() = default;
    Scratch(float* at, std::size_t floats) noexcept : at_(at), left_(floats) {}
    /// The next `count` floats, aligned as the stretch is. Throws Error{bad_state} if fewer are
    /// left: the codec then needs more than its scratch_floats said.
    float* take(std::size_t count) {
        const std::size_t rounded = round(count);
        require(rounded <= left_, ErrorCode::bad_state, "scratch: ", count, " floats wanted, ",
                left_, " left; Codec::scratch_floats says how many a codec needs");
        float* taken = at_;
        at_ += rounded;
        left_ -= rounded;
        return taken;
    }
    /// What `take(count)` uses up.
    static constexpr std::size_t round(std::size_t count) noexcept {
        return (count + 15) / 16 * 16;
    }

  private:
    float* at_ = nullptr;
    std::size_t left_ = 0;
};

/// Scratch with memory of its own, for one thread.
class OwnScratch {
  public:
    /// At least `floats` of it. May allocate.
    Scratch with(std::size_t floats) {
        if (memory_.size() < floats) memory_.resize(floats);
        return {memory_.data(), memory_.size()};
    }

  private:
    std::vector<float> memory_;
};

}}  // namespace cairn
