// Steps of normalizers that look at one character after the other: lower case, accents, what BERT
// cleans up.
#pragma once

#include <utf8proc.h>

#include <string>
#include <string_view>

#include "cairn/io/unicode_nfc.hpp"
#include "cairn/io/utf8.hpp"
#include "cairn/io/white_space.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a BertNormalizer does. Without a word about accents they go where letters become small.
struct BertCleaning {
    bool clean_text = true;            ///< no control characters, one kind of space
    bool handle_chinese_chars = true;  ///< spaces around ideographs
    bool strip_accents = true;
    bool lowercase = true;
};

namespace internal {

/// Hands over every character's code, bytes that are none as U+FFFFFFFF, with its text.
template <class Each>
void each_character(std::string_view text, const Each& each) {
    while (!text.empty()) {
        const Utf8Char c = utf8_char(text);
        each(c.state == Utf8Char::State::complete ? c.code : char32_t{0xFFFFFFFF},
             text.substr(0, c.bytes));
        text.remove_prefix(c.bytes);
    }
}
inline utf8proc_category_t category_of(char32_t c) noexcept {
    return c > 0x10FFFF ? UTF8PROC_CATEGORY_CN
                        : utf8proc_category(static_cast<utf8proc_int32_t>(c));
}
/// Every letter on its own, as Rust's to_lowercase; no word changes by where a letter stands.
inline std::string lower_case(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    each_character(text, [&](char32_t c, std::string_view part) {
        if (c < 0x80) {
            result += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
        } else if (c == 0x130) {
            result += "i\xCC\x87";
        } else if (c > 0x10FFFF) {
            result += part;
        } else {
            append_utf8(result,
                        static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
        }
    });
    return result;
}
/// Without characters of some categories.
inline std::string without_marks(std::string_view text, bool only_nonspacing) {
    std::string result;
    each_character(text, [&](char32_t c, std::string_view part) {
        const auto category = category_of(c);
        const bool other = category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
        if (category != UTF8PROC_CATEGORY_MN && !(other && !only_nonspacing)) result += part;
    });
    return result;
}
inline bool ideograph(char32_t c) noexcept {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}
/// A number that tells such steps apart.
inline std::uint64_t bert_number(const BertCleaning& wanted) noexcept {
    return (wanted.clean_text ? 8U : 0U) + (wanted.handle_chinese_chars ? 4U : 0U) +
           (wanted.strip_accents ? 2U : 0U) + (wanted.lowercase ? 1U : 0U);
}
inline std::string bert_cleaned(std::string_view text, const BertCleaning& wanted) {
    std::string result;
    each_character(text, [&](char32_t c, std::string_view part) {
        const bool line = c == '\t' || c == '\n' || c == '\r';
        if (wanted.clean_text) {
            const auto category = category_of(c);
            const bool control =
                !line && (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
                          category == UTF8PROC_CATEGORY_CO);
            if (c == 0 || c == 0xFFFD || control) return;
        }
        if (wanted.clean_text && (line || unicode_space(c)))
            result += ' ';
        else if (wanted.handle_chinese_chars && ideograph(c))
            result.append(" ").append(part).append(" ");
        else
            result += part;
    });
    if (wanted.strip_accents) result = without_marks(unicode_form(result, UnicodeForm::nfd), true);
    return wanted.lowercase ? lower_case(result) : result;
}

}  // namespace internal

}}  // namespace cairn
