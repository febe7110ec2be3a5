// The normalisation forms of Unicode, by utf8proc: Qwen's tokenizer.json asks for form C.
#pragma once

#include <utf8proc.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "cairn/core/error.hpp"
#include "cairn/io/utf8.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Combining marks in a row that a text may have: ordering them costs the square of it, and no
/// script needs a tenth of this.
inline constexpr int max_combining_marks = 256;

/// The four forms: decomposed or composed, with or without characters that only look alike.
enum class UnicodeForm : std::uint8_t { nfc, nfd, nfkc, nfkd };

namespace internal {

// Where the row of characters from `lowest` on that stands at `at` ends.
inline std::size_t high_characters(std::string_view text, std::size_t at, char32_t lowest) {
    int marks = 0;
    while (at < text.size()) {
        const Utf8Char c = utf8_char(text.substr(at));
        if (c.state != Utf8Char::State::complete || c.code < lowest) break;
        const bool mark =
            utf8proc_get_property(static_cast<utf8proc_int32_t>(c.code))->combining_class != 0;
        marks = mark ? marks + 1 : 0;
        require(marks <= max_combining_marks, ErrorCode::limit, "tokenizer: more than ",
                max_combining_marks, " combining marks in a row");
        at += c.bytes;
    }
    return at;
}
// Appends a text of whole characters in a form.
inline void compose(std::string_view text, UnicodeForm form, std::string& to) {
    const bool composed = form == UnicodeForm::nfc || form == UnicodeForm::nfkc;
    const bool alike = form == UnicodeForm::nfkc || form == UnicodeForm::nfkd;
    utf8proc_uint8_t* made = nullptr;
    const utf8proc_ssize_t size = utf8proc_map(
        reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
        static_cast<utf8proc_ssize_t>(text.size()), &made,
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE |
                                       (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                                       (alike ? UTF8PROC_COMPAT : 0)));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(made, &std::free);
    if (size == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
    require(size >= 0, ErrorCode::limit, "tokenizer: ", text.size(),
            " bytes cannot be normalised: ", utf8proc_errmsg(size));
    to.append(reinterpret_cast<const char*>(made), static_cast<std::size_t>(size));
}

}  // namespace internal

/// The text in a form. Bytes that are no UTF-8 stay as they are, and nothing is composed across
/// them. Throws Error{limit} for too many combining marks in a row, std::bad_alloc.
inline std::string unicode_form(std::string_view text, UnicodeForm form) {
    // Below U+0300 everything is in form C already, below U+0080 in every form, and composes with
    // nothing before it: only rows of characters from there on, each with the character in front of
    // it, are looked at.
    const bool nfc = form == UnicodeForm::nfc;
    const auto low = [&](std::size_t i) {
        return static_cast<unsigned char>(text[i]) < (nfc ? 0xCC : 0x80);
    };
    std::string result;
    std::size_t done = 0;
    for (std::size_t at = 0;;) {
        while (at < text.size() && low(at)) ++at;
        if (at == text.size()) break;
        std::size_t begin = at;
        while (begin > done && (static_cast<unsigned char>(text[begin - 1]) & 0xC0U) == 0x80U)
            --begin;
        if (begin > done) --begin;
        if (valid_utf8_bytes(text.substr(begin, at - begin)) != at - begin) begin = at;
        const std::size_t end = internal::high_characters(text, at, nfc ? 0x300 : 0x80);
        if (end == at) {  // no character: it stays, and nothing is composed across it
            at += utf8_char(text.substr(at)).bytes;
            continue;
        }
        result.append(text.substr(done, begin - done));
        internal::compose(text.substr(begin, end - begin), form, result);
        done = at = end;
    }
    return result.append(text.substr(done));
}

/// The text in form C.
inline std::string unicode_nfc(std::string_view text) {
    return unicode_form(text, UnicodeForm::nfc);
}

}}  // namespace cairn
