// System calls: made again where a signal interrupted them, and their failure in words.
#pragma once

#include <cerrno>
#include <system_error>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Calls again what a signal interrupted (EINTR), and returns what `call` returned. Not for close:
/// that has closed even then. Bounded: what a thousand calls could not finish is a failure and no
/// hang.
template <class Call>
auto uninterrupted(const Call& call) {
    auto result = call();
    for (int again = 0; result < 0 && errno == EINTR && again < 1000; ++again) result = call();
    return result;
}

/// Throws Error{io}: the parts, a colon, and what the error number means. Give it errno itself: the
/// number is taken before anything else can change it, and no text is made unless there is need.
template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail_io(int error, const Parts&... parts) {
    fail(ErrorCode::io, parts..., ": ", std::generic_category().message(error));
}

}}  // namespace cairn
