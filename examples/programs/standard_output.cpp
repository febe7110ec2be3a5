#include "standard_output.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iostream>

#include <cairn/core/system_call.hpp>

namespace programs {

int write_all(int descriptor, std::string_view text) noexcept {
    while (!text.empty()) {
        const ssize_t n =
            cairn::uninterrupted([&] { return ::write(descriptor, text.data(), text.size()); });
        if (n >= 0) {
            text.remove_prefix(static_cast<std::size_t>(n));
            continue;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK) return errno;
        // Somebody made the descriptor one that does not wait: wait here.
        pollfd ready{descriptor, POLLOUT, 0};
        if (cairn::uninterrupted([&] { return ::poll(&ready, 1, -1); }) < 0) return errno;
    }
    return 0;
}

StandardOutput::StandardOutput()
    : before_(std::cout.rdbuf(this)), terminal_(::isatty(STDOUT_FILENO) != 0) {
    std::signal(SIGXFSZ, SIG_IGN);
}
StandardOutput::~StandardOutput() {
    sync();
    std::cout.rdbuf(before_);
}

void StandardOutput::finish() {
    std::cout.flush();
    if (error_ != 0) cairn::fail_io(error_, "standard output");
    cairn::require(static_cast<bool>(std::cout), cairn::ErrorCode::io,
                   "standard output cannot be written");
}

StandardOutput::int_type StandardOutput::overflow(int_type c) {
    const char one = traits_type::to_char_type(c);
    if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
    return xsputn(&one, 1) == 1 ? c : traits_type::eof();
}
std::streamsize StandardOutput::xsputn(const char* text, std::streamsize count) {
    const std::string_view added(text, static_cast<std::size_t>(count));
    if (error_ != 0) return 0;
    pending_ += added;
    constexpr std::size_t piece = std::size_t{1} << 16;
    const bool full =
        pending_.size() >= piece || (terminal_ && added.find('\n') != std::string_view::npos);
    return full && sync() != 0 ? 0 : count;
}
int StandardOutput::sync() {
    if (error_ == 0) error_ = write_all(STDOUT_FILENO, pending_);
    pending_.clear();
    return error_ == 0 ? 0 : -1;
}

}  // namespace programs
