// Codes of 1 to 8 bits, one behind the other, the lowest bit first.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

inline std::size_t code_bytes(int count, int bits) noexcept {
    return (static_cast<std::size_t>(count) * static_cast<std::size_t>(bits) + 7) / 8;
}

/// Writes codes from a byte on; finish() writes what is left of the last byte.
class PackedCodes {
  public:
    PackedCodes(std::byte* to, int bits) noexcept : to_(to), bits_(bits) {}
    void put(std::uint8_t code) noexcept {
        held_ |= static_cast<unsigned>(code) << filled_;
        filled_ += bits_;
        if (filled_ < 8) return;
        *to_++ = static_cast<std::byte>(held_ & 0xFFU);
        held_ >>= 8;
        filled_ -= 8;
    }
    void finish() noexcept {
        if (filled_ > 0) *to_ = static_cast<std::byte>(held_);
    }

  private:
    std::byte* to_;
    int bits_;
    unsigned held_ = 0;
    int filled_ = 0;
};

/// Calls body(i, code) for each.
template <class Body>
void unpack_codes(const std::byte* from, int count, int bits, const Body& body) {
    const unsigned mask = (1U << bits) - 1;
    unsigned held = 0;
    int filled = 0;
    for (int i = 0; i < count; ++i) {
        if (filled < bits) {
            held |= std::to_integer<unsigned>(*from++) << filled;
            filled += 8;
        }
        body(i, held & mask);
        held >>= bits;
        filled -= bits;
    }
}

}}}  // namespace cairn::internal
