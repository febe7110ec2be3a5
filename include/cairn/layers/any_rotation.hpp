// Any rotation behind one type, or none: for models whose layers rotate differently or not at all.
#pragma once

#include <memory>
#include <utility>

#include "cairn/layers/rotary.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// RotaryHalf, RotaryInterleaved or no rotation. Copies are handles to the same angles.
class AnyRotation final : public Rotation {
  public:
    /// Rows stay as they are.
    AnyRotation() = default;
    AnyRotation(RotaryHalf half)  // NOLINT(google-explicit-constructor)
        : dims_(half.dims()), half_(std::make_shared<const RotaryHalf>(std::move(half))) {}
    AnyRotation(RotaryInterleaved pairs)  // NOLINT(google-explicit-constructor)
        : dims_(pairs.dims()),
          pairs_(std::make_shared<const RotaryInterleaved>(std::move(pairs))) {}
    /// `near` for sequences of at most `capacity` tokens, `far` for longer ones (longrope): which
    /// one is fixed with a sequence, so that all its keys are turned alike. Both turn as many
    /// numbers.
    AnyRotation(const AnyRotation& near, const AnyRotation& far, int capacity) : AnyRotation(near) {
        require(far.dims_ == dims_ && capacity > 0, ErrorCode::invalid_argument, "rotation of ",
                dims_, " or ", far.dims_, " numbers, from a capacity of ", capacity, " on");
        far_ = std::make_shared<const AnyRotation>(far);
        near_ = capacity;
    }
    /// The one that rows of a sequence with room for `capacity` tokens are turned by.
    const AnyRotation& of(int capacity) const noexcept {
        return near_ > 0 && capacity > near_ ? *far_ : *this;
    }
    /// The largest capacity of sequences that take the first of two; 0: there is one.
    int near() const noexcept { return near_; }
    /// Error{capacity} beyond positions().
    void rotate(float* row, int position) const override {
        if (half_ != nullptr)
            half_->rotate(row, position);
        else if (pairs_ != nullptr)
            pairs_->rotate(row, position);
    }
    int positions() const noexcept override { return internal::RotaryTable::positions; }
    /// Rotated leading numbers of a row; 0: none.
    int dims() const noexcept { return dims_; }
    /// Adds the angles to a fingerprint.
    void hash(Fingerprint& to) const {
        if (half_ != nullptr)
            half_->hash(to);
        else if (pairs_ != nullptr)
            pairs_->hash(to);
        else
            to.add(0U);
        if (far_ == nullptr) return;
        to.add(static_cast<std::uint64_t>(near_));
        far_->hash(to);
    }

  private:
    int dims_ = 0;
    int near_ = 0;
    std::shared_ptr<const RotaryHalf> half_;
    std::shared_ptr<const RotaryInterleaved> pairs_;
    std::shared_ptr<const AnyRotation> far_;
};

}}  // namespace cairn
