// Normalisation form C of Unicode, by utf8proc: what Qwen's tokenizer.json asks for.
#pragma once

#include <utf8proc.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "cairn/core/error.hpp"
#include "cairn/io/utf8.hpp"

namespace cairn::inline CAIRN_ABI {

/// Combining marks in a row that a text may have: ordering them costs the square of it, and no
/// script needs a tenth of this.
inline constexpr int max_combining_marks = 256;

/// The text in form C. Bytes that are no UTF-8 stay as they are, and nothing is composed across
/// them. Throws Error{limit} for too many combining marks in a row, std::bad_alloc.
inline std::string unicode_nfc(std::string_view text) {
    // Below U+0300 everything is in form C already.
    std::size_t plain = 0;
    while (plain < text.size() && static_cast<unsigned char>(text[plain]) < 0xCC) ++plain;
    if (plain == text.size()) return std::string(text);

    std::string result;
    const auto compose = [&](std::string_view part) {
        if (part.empty()) return;
        utf8proc_uint8_t* made = nullptr;
        const utf8proc_ssize_t size =
            utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(part.data()),
                         static_cast<utf8proc_ssize_t>(part.size()), &made,
                         static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
        const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(made, &std::free);
        if (size == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
        require(size >= 0, ErrorCode::limit, "tokenizer: ", part.size(),
                " bytes cannot be normalised: ", utf8proc_errmsg(size));
        result.append(reinterpret_cast<const char*>(made), static_cast<std::size_t>(size));
    };
    std::size_t begin = 0;
    int marks = 0;
    for (std::size_t at = 0; at < text.size();) {
        const Utf8Char c = utf8_char(text.substr(at));
        if (c.state == Utf8Char::State::complete) {
            const bool mark =
                c.code >= 0x300 &&
                utf8proc_get_property(static_cast<utf8proc_int32_t>(c.code))->combining_class != 0;
            marks = mark ? marks + 1 : 0;
            require(marks <= max_combining_marks, ErrorCode::limit, "tokenizer: more than ",
                    max_combining_marks, " combining marks in a row");
        } else {
            compose(text.substr(begin, at - begin));
            result.append(text.substr(at, c.bytes));
            begin = at + c.bytes;
            marks = 0;
        }
        at += c.bytes;
    }
    compose(text.substr(begin));
    return result;
}

}  // namespace cairn::inline CAIRN_ABI
