// Standard output of a program: made again where a signal interrupts it, and with the reason where
// it fails. Pipes that are full, disks that are full and limits on file sizes included.
#pragma once

#include <streambuf>
#include <string>
#include <string_view>

namespace programs {

/// Writes a text to a file descriptor, all of it. Returns 0 or an errno.
int write_all(int descriptor, std::string_view text) noexcept;

/// While it lives, std::cout writes through it: to a terminal line by line, else in large pieces.
/// A limit on file sizes is an error and no signal, for the whole process.
class StandardOutput final : public std::streambuf {
  public:
    StandardOutput();
    /// Writes what is left; failures are finish's to tell.
    ~StandardOutput() override;
    StandardOutput(const StandardOutput&) = delete;
    StandardOutput& operator=(const StandardOutput&) = delete;
    /// Throws Error{io} with the reason if anything could not be written.
    void finish();

  protected:
    int_type overflow(int_type c) override;
    std::streamsize xsputn(const char* text, std::streamsize count) override;
    int sync() override;

  private:
    std::string pending_;
    std::streambuf* before_;
    bool terminal_;
    int error_ = 0;  // of the first write that failed; nothing is written after it
};

}  // namespace programs
