// What a person sees and can do while a program generates: a bar for a long prompt, Ctrl-C, and one
// line at the end.
#pragma once

#include <csignal>
#include <optional>

#include "support.hpp"

namespace programs {

/// Watches one generation. A prompt that takes more than a second shows a bar on standard error, if
/// that is a terminal. Ctrl-C ends the generation at the next layer instead of the process; a
/// second one kills the process. When the watch dies, the signal's handler and the session's hooks
/// are as before: what is pressed between two generations is not for the next one.
class Watch {
  public:
    /// Whether the bar is wanted.
    enum class Bar : std::uint8_t { shown, hidden };

    /// `prompt` tokens are to be fed now, `piece` at once (0: as many as the session takes). One
    /// watch at a time; the session outlives it. Throws what `Session::max_rows` throws.
    Watch(Session& session, std::size_t prompt, int piece, Bar bar);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    /// To be called when text begins to appear: the bar makes room for it.
    void prompt_is_fed() { bar_.reset(); }

  private:
    void after_layer(int layer);

    Session& session_;
    std::stop_source source_;
    std::function<void(int)> hook_;  // the session's own, called too and put back
    std::optional<ProgressBar> bar_;
    int start_;
    int prompt_;
    int rows_;  // of one piece
    struct sigaction before_ {};
};

/// "200 tokens (prompt 12), 1305.2 tokens/s, cache 3.70 MiB, stopped: length".
std::string closing_line(const cairn::Generation& generation, std::size_t cache_bytes);

/// Writes a line to standard error, dimmed where that is a terminal.
void note(const std::string& line);

}  // namespace programs
