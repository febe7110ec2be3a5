// SentencePiece's precompiled map of characters: what texts are replaced by, found in a
// double-array trie (Aoe 1989), as T5's and XLM-R's tokenizers carry it.
#pragma once

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/core/error.hpp"
#include "cairn/core/fingerprint.hpp"
#include "cairn/io/limits.hpp"
#include "cairn/io/utf8.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// A map from a file. Every look into it is checked: a hostile one maps wrongly, and nothing else.
class CharsMap {
  public:
    /// Bytes as SentencePiece writes them: the trie's size, the trie, texts that end in NUL. Throws
    /// Error{bad_tokenizer}.
    explicit CharsMap(std::string_view bytes) {
        std::uint32_t size = 0;
        require(bytes.size() >= 8, ErrorCode::bad_tokenizer,
                "tokenizer: a precompiled_charsmap of ", bytes.size(), " bytes");
        for (std::size_t i = 0; i < 4; ++i)
            size |= std::uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
        require(size % 4 == 0 && size > 0 && size <= bytes.size() - 4, ErrorCode::bad_tokenizer,
                "tokenizer: a trie of ", size, " bytes in a precompiled_charsmap of ",
                bytes.size());
        units_.resize(size / 4);
        for (std::size_t u = 0; u < units_.size(); ++u)
            for (std::size_t i = 0; i < 4; ++i)
                units_[u] |= std::uint32_t{static_cast<unsigned char>(bytes[4 + 4 * u + i])}
                             << (8 * i);
        texts_ = bytes.substr(4 + size);
        print_.add(bytes);
    }
    std::uint64_t print() const noexcept { return print_.value(); }

    /// As Hugging Face applies it: to each cluster of less than six bytes that begins with
    /// something in the map as a whole, otherwise to each character.
    std::string by_clusters(std::string_view text) const {
        const std::size_t before = text.size();
        std::string result;
        while (!text.empty()) {
            const std::size_t size = cluster(text);
            std::string_view part = text.substr(0, size);
            text.remove_prefix(size);
            check_growth(result.size(), before);
            if (size < 6 && shortest(part, result)) continue;
            while (!part.empty()) {
                const std::size_t bytes = utf8_char(part).bytes;
                if (!shortest(part.substr(0, bytes), result)) result += part.substr(0, bytes);
                part.remove_prefix(bytes);
                check_growth(result.size(), before);
            }
        }
        return result;
    }
    /// As SentencePiece applies it: the longest text of the map at each place.
    std::string by_longest(std::string_view text) const {
        const std::size_t before = text.size();
        std::string result;
        while (!text.empty()) {
            std::size_t found = 0;
            std::uint32_t value = 0;
            find(text, [&](std::size_t bytes, std::uint32_t at) {
                found = bytes;
                value = at;
                return true;
            });
            const std::size_t bytes = found > 0 ? found : utf8_char(text).bytes;
            result += found > 0 ? replacement(value) : text.substr(0, bytes);
            text.remove_prefix(bytes);
            check_growth(result.size(), before);
        }
        return result;
    }

  private:
    // Texts in a map are short; a trie that leads in a circle is left after this many bytes.
    static constexpr std::size_t longest = 64;

    // Appends what the shortest text of the map at the beginning is replaced by.
    bool shortest(std::string_view text, std::string& result) const {
        bool found = false;
        find(text, [&](std::size_t, std::uint32_t value) {
            result += replacement(value);
            found = true;
            return false;
        });
        return found;
    }
    std::string_view replacement(std::uint32_t at) const noexcept {
        if (at >= texts_.size()) return {};
        const std::string_view rest = std::string_view(texts_).substr(at);
        return rest.substr(0, rest.find('\0'));
    }
    // Calls each(bytes, value) for the texts of the map that this one begins with, until it is
    // false.
    template <class Each>
    void find(std::string_view text, const Each& each) const {
        std::size_t node = 0;
        node ^= offset(units_[0]);
        for (std::size_t i = 0; i < std::min(text.size(), longest); ++i) {
            const auto byte = static_cast<unsigned char>(text[i]);
            node ^= byte;
            if (byte == 0 || node >= units_.size()) return;
            const std::uint32_t unit = units_[node];
            if ((unit & 0x800000FFU) != byte) return;
            node ^= offset(unit);
            if (node >= units_.size()) return;
            if ((unit >> 8 & 1U) != 0 && !each(i + 1, units_[node] & 0x7FFFFFFFU)) return;
        }
    }
    static std::size_t offset(std::uint32_t unit) noexcept {
        return std::size_t{unit >> 10} << ((unit & 0x200U) >> 6);
    }
    // Bytes of what a reader takes for one character.
    static std::size_t cluster(std::string_view text) noexcept {
        Utf8Char c = utf8_char(text);
        std::size_t size = c.bytes;
        utf8proc_int32_t state = 0;
        while (c.state == Utf8Char::State::complete && size < text.size()) {
            const Utf8Char next = utf8_char(text.substr(size));
            if (next.state != Utf8Char::State::complete ||
                utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c.code),
                                                 static_cast<utf8proc_int32_t>(next.code), &state))
                break;
            size += next.bytes;
            c = next;
        }
        return size;
    }

    std::vector<std::uint32_t> units_;
    std::string texts_;
    Fingerprint print_;
};

}  // namespace internal

}}  // namespace cairn
