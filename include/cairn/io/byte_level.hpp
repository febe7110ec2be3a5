// The byte-level alphabet of GPT-2's tokenizer: every byte as one printable character, so that
// tokens are text in a JSON file.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>

#include "cairn/io/utf8.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

// GPT-2's alphabet: every byte as a printable character; 256 + n for those that are not.
inline const std::array<char32_t, 256>& byte_alphabet() {
    static const std::array<char32_t, 256> table = [] {
        std::array<char32_t, 256> result{};
        char32_t next = 256;
        for (char32_t b = 0; b < 256; ++b) {
            const bool printable =
                (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            result[b] = printable ? b : next++;
        }
        return result;
    }();
    return table;
}

// A token of the vocabulary as the bytes it stands for; characters outside the alphabet stay.
inline std::string token_bytes(std::string_view token) {
    static const std::unordered_map<char32_t, char> bytes = [] {
        std::unordered_map<char32_t, char> result;
        for (std::size_t b = 0; b < 256; ++b) result[byte_alphabet()[b]] = static_cast<char>(b);
        return result;
    }();
    std::string result;
    while (!token.empty()) {
        const Utf8Char c = utf8_char(token);
        const auto at = bytes.find(c.code);
        if (c.state == Utf8Char::State::complete && at != bytes.end())
            result.push_back(at->second);
        else
            result.append(token.substr(0, c.bytes));
        token.remove_prefix(c.bytes);
    }
    return result;
}

}  // namespace internal

}}  // namespace cairn
