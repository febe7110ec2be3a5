// Lines that a person or a pipe gives a program: with editing and history where libedit was there
// at build time, plain otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace programs {

/// Reads standard input. A line that ends in a backslash goes on in the next one, and so does a
/// pasted text. Control bytes and the escape sequences of keys never reach the program.
class LineEditor {
  public:
    enum class Got : std::uint8_t {
        line,
        interrupted,  ///< Ctrl-C: what was typed is dropped
        end           ///< Ctrl-D, or the end of a file
    };
    /// What `--help` says about it.
    static std::string_view described() noexcept;

    LineEditor();
    ~LineEditor();
    LineEditor(const LineEditor&) = delete;
    LineEditor& operator=(const LineEditor&) = delete;

    /// Whether a person types: standard input is a terminal.
    bool interactive() const noexcept;
    /// The next line without its end; `prompt` is shown on standard error, if a person types.
    Got read(const std::string& prompt, std::string& line);

  private:
    struct Terminal;
    Got read_piece(const std::string& prompt, std::string& piece);
    Got read_plain(const std::string& prompt, std::string& piece);

    std::unique_ptr<Terminal> terminal_;  // null: no editing
    std::string buffer_;                  // read and not yet handed out
    bool interactive_;
    bool ended_ = false;
};

/// `text` without control bytes but tabs and line ends, and without the sequences that keys send.
std::string without_control_bytes(std::string_view text);

}  // namespace programs
