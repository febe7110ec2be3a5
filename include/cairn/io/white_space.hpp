// White space as Unicode counts it, and texts without it at their ends.
#pragma once

#include <string_view>

#include "cairn/io/utf8.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// What Unicode calls white space.
inline bool unicode_space(char32_t c) noexcept {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}
/// What Python's strip() takes off the ends of a text, and with it what templates trim.
inline bool python_space(char32_t c) noexcept {
    return unicode_space(c) || (c >= 0x1C && c <= 0x1F);
}

/// The text without such characters at its beginning.
template <class Is>
std::string_view trimmed_begin(std::string_view text, const Is& is) noexcept {
    while (!text.empty()) {
        const Utf8Char c = utf8_char(text);
        if (c.state != Utf8Char::State::complete || !is(c.code)) break;
        text.remove_prefix(c.bytes);
    }
    return text;
}
/// The text without such characters at its end.
template <class Is>
std::string_view trimmed_end(std::string_view text, const Is& is) noexcept {
    while (!text.empty()) {
        std::size_t at = text.size() - 1;
        while (at > 0 && text.size() - at < 4 &&
               (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U)
            --at;
        const Utf8Char c = utf8_char(text.substr(at));
        if (c.state != Utf8Char::State::complete || c.bytes != text.size() - at || !is(c.code))
            break;
        text.remove_suffix(c.bytes);
    }
    return text;
}

}  // namespace internal

}}  // namespace cairn
