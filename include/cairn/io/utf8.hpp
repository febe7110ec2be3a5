// UTF-8 from bytes that arrive in pieces: complete characters pass, invalid bytes become U+FFFD,
// one for each maximal part (Unicode 15, section 3.9), as Hugging Face and browsers do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What stands at the beginning of some bytes.
struct Utf8Char {
    enum class State : std::uint8_t { complete, invalid, incomplete };
    State state;
    std::size_t bytes;  ///< of the character, or of the invalid part; all there is when incomplete
    char32_t code = 0;
};

/// Decodes one character; `text` is not empty.
inline Utf8Char utf8_char(std::string_view text) noexcept {
    using enum Utf8Char::State;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) return {complete, 1, first};
    // The second byte's range excludes overlong forms, surrogates and values past U+10FFFF.
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    std::size_t length = 0;
    if (first >= 0xC2 && first <= 0xDF) {
        length = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
        length = 3;
        if (first == 0xE0) low = 0xA0;
        if (first == 0xED) high = 0x9F;
    } else if (first >= 0xF0 && first <= 0xF4) {
        length = 4;
        if (first == 0xF0) low = 0x90;
        if (first == 0xF4) high = 0x8F;
    } else {
        return {invalid, 1};
    }
    char32_t code = first & (0xFFU >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if (i == text.size()) return {incomplete, i};
        if (byte(i) < low || byte(i) > high) return {invalid, i};
        low = 0x80;
        high = 0xBF;
        code = (code << 6) | (byte(i) & 0x3FU);
    }
    return {complete, length, code};
}

/// Bytes at the beginning of a text that are whole characters.
[[gnu::noinline]] inline std::size_t valid_utf8_bytes(std::string_view text) noexcept {
    std::size_t at = 0;
    while (at < text.size()) {
        std::uint64_t eight = 0;  // most text is ASCII
        while (at + sizeof eight <= text.size()) {
            std::memcpy(&eight, text.data() + at, sizeof eight);
            if ((eight & 0x8080808080808080U) != 0) break;
            at += sizeof eight;
        }
        if (at == text.size()) break;
        const Utf8Char c = utf8_char(text.substr(at));
        if (c.state != Utf8Char::State::complete) break;
        at += c.bytes;
    }
    return at;
}

/// Appends a character as UTF-8.
inline void append_utf8(std::string& to, char32_t code) {
    const auto put = [&](char32_t value) {
        to.push_back(static_cast<char>(static_cast<unsigned char>(value)));
    };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | (code >> 6));
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | (code >> 12));
        put(0x80 | ((code >> 6) & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | (code >> 18));
        put(0x80 | ((code >> 12) & 0x3F));
        put(0x80 | ((code >> 6) & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

/// Turns pieces of bytes into valid UTF-8, holding back a character that is not complete yet.
class Utf8Stream {
  public:
    /// Valid UTF-8 that is certain now.
    std::string feed(std::string_view bytes) {
        held_ += bytes;
        std::string result;
        std::size_t at = 0;
        while (at < held_.size()) {
            const Utf8Char c = utf8_char(std::string_view(held_).substr(at));
            if (c.state == Utf8Char::State::incomplete) break;
            if (c.state == Utf8Char::State::complete)
                result.append(held_, at, c.bytes);
            else
                result += replacement;
            at += c.bytes;
        }
        held_.erase(0, at);
        return result;
    }
    /// What is left at the end: nothing, or one U+FFFD for a cut character.
    std::string finish() {
        std::string result(held_.empty() ? "" : replacement);
        held_.clear();
        return result;
    }

  private:
    static constexpr const char* replacement = "\xEF\xBF\xBD";
    std::string held_;
};

/// Any bytes as valid UTF-8.
inline std::string to_utf8(std::string_view bytes) {
    Utf8Stream stream;
    std::string result = stream.feed(bytes);
    return result + stream.finish();
}

}}  // namespace cairn
