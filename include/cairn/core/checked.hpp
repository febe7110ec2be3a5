// Arithmetic on sizes that came from outside: every overflow is an error, never a wrapped number.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// a * b, or Error{limit} naming `what`.
inline std::size_t checked_mul(std::size_t a, std::size_t b, std::string_view what) {
    std::size_t result = 0;
    if (__builtin_mul_overflow(a, b, &result))
        fail(ErrorCode::limit, what, ": ", a, " x ", b, " overflows 64 bits");
    return result;
}

/// a + b, or Error{limit} naming `what`.
inline std::size_t checked_add(std::size_t a, std::size_t b, std::string_view what) {
    std::size_t result = 0;
    if (__builtin_add_overflow(a, b, &result))
        fail(ErrorCode::limit, what, ": ", a, " + ", b, " overflows 64 bits");
    return result;
}

/// The value as another integer type, or Error{limit} naming `what`.
template <std::integral To, std::integral From>
To checked_cast(From value, std::string_view what) {
    if (!std::in_range<To>(value))
        fail(ErrorCode::limit, what, " = ", value, " does not fit ", sizeof(To) * 8, " bits");
    return static_cast<To>(value);
}

/// The smallest multiple of `unit` that is >= n (no overflow check: for sizes already known small).
constexpr std::size_t round_up(std::size_t n, std::size_t unit) noexcept {
    return (n + unit - 1) / unit * unit;
}

}}  // namespace cairn
