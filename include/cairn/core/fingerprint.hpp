// A 64-bit hash of bytes, the same on every machine: tells weights, configurations and blocks of a
// file apart. It finds accidents, any changed word for certain, and no forger.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Gets the settings of a model that are no weights, each by its name and with a number of its own:
/// so that an error can say what differs. Layers of one kind hand over the same name.
class SettingSink {
  public:
    virtual void setting(std::string_view name, std::uint64_t print) = 0;

  protected:
    ~SettingSink() = default;
};

/// Bytes and numbers in, one number out. Every step is a bijection of the state and of the word, so
/// a change within one word always shows.
class Fingerprint {
  public:
    /// Settings go to `settings`, which outlives this, if one is given.
    explicit Fingerprint(SettingSink* settings = nullptr) noexcept : settings_(settings) {}
    void add(const void* data, std::size_t bytes) noexcept {
        const auto* at = static_cast<const unsigned char*>(data);
        for (; bytes >= 8; bytes -= 8, at += 8) {
            std::uint64_t word;
            std::memcpy(&word, at, 8);
            add(word);
        }
        std::uint64_t word = 0;
        if (bytes > 0) std::memcpy(&word, at, bytes);
        add(word ^ (std::uint64_t{bytes} << 56));
    }
    void add(std::uint64_t word) noexcept {
        state_ = std::rotl((state_ ^ word) * 0x9E3779B97F4A7C15ULL, 29) + 0x165667B19E3779F9ULL;
    }
    void add(std::string_view text) noexcept {
        add(text.size());
        add(text.data(), text.size());
    }
    /// Names a setting. It does not enter this number: add it as well.
    void setting(std::string_view name, const void* data, std::size_t bytes) {
        if (settings_ == nullptr) return;
        Fingerprint own;
        own.add(data, bytes);
        settings_->setting(name, own.value());
    }
    std::uint64_t value() const noexcept {
        std::uint64_t x = state_;
        x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93ULL;
        return x ^ (x >> 32);
    }

  private:
    std::uint64_t state_ = 0x2545F4914F6CDD1DULL;
    SettingSink* settings_;
};

}}  // namespace cairn
