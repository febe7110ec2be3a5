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
    }

  private:
    int dims_ = 0;
    std::shared_ptr<const RotaryHalf> half_;
    std::shared_ptr<const RotaryInterleaved> pairs_;
};

}}  // namespace cairn
