#include "watch.hpp"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace programs {

namespace {

// Raised by the signal handler, which may do no more than this.
volatile std::sig_atomic_t& raised() {
    static volatile std::sig_atomic_t flag = 0;
    return flag;
}

}  // namespace

Watch::Watch(Session& session, std::size_t prompt, int piece, Bar bar)
    : session_(session),
      hook_(session.context().after_layer),
      start_(session.position()),
      prompt_(static_cast<int>(std::min<std::size_t>(prompt, 1U << 30))),
      rows_(std::clamp(session.max_rows(), 1, piece > 0 ? piece : Session::piece)) {
    if (bar == Bar::shown && prompt_ > 0) bar_.emplace("reading the prompt");
    session_.context().cancel = source_.get_token();
    session_.context().after_layer = [this](int layer) { after_layer(layer); };
    raised() = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { raised() = 1; };
    action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGINT, &action, &before_);
}

Watch::~Watch() {
    ::sigaction(SIGINT, &before_, nullptr);
    session_.context().cancel = {};
    session_.context().after_layer = std::move(hook_);
}

void Watch::after_layer(int layer) {
    if (hook_) hook_(layer);
    if (raised() != 0) source_.request_stop();
    if (!bar_) return;
    // Rows of the pieces before this one, and the layers' share of this one.
    const int fed = session_.position() - start_;
    const int now = std::min(rows_, prompt_ - fed);
    const int layers = session_.model().layers();
    (*bar_)(std::min(prompt_,
                     fed + static_cast<int>(static_cast<std::int64_t>(now) * (layer + 1) / layers)),
            prompt_);
}

std::string closing_line(const cairn::Generation& generation, std::size_t cache_bytes) {
    std::ostringstream line;
    const std::size_t count = generation.tokens.size();
    line << std::fixed << count << (count == 1 ? " token" : " tokens") << " (prompt "
         << generation.prompt_tokens << "), ";
    if (generation.decode_rate() > 0.0)
        line << std::setprecision(1) << generation.decode_rate() << " tokens/s, ";
    line << "cache " << std::setprecision(2) << static_cast<double>(cache_bytes) / 1048576.0
         << " MiB, stopped: " << cairn::stop_reason_name(generation.reason);
    return line.str();
}

void note(const std::string& line) {
    const bool terminal = ::isatty(STDERR_FILENO) != 0;
    std::cerr << (terminal ? "\x1b[2m" : "") << "-- " << line << (terminal ? "\x1b[0m\n" : "\n");
}

}  // namespace programs
