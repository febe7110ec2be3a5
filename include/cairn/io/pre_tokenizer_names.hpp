// The pre-tokenizers that GGUF files know by name, as facts: where their patterns cut a text.
#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <string_view>

#include "cairn/io/utf8.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Contents of a class: what Unicode calls white space since 6.3. PCRE2's \s counts U+180E in.
inline constexpr std::string_view white_space_class =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

/// A pattern with \s and \S spelt out. A \S inside of a class stays.
inline std::string with_white_space(std::string_view pattern) {
    bool in_class = false;
    std::string result;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        const char c = pattern[i];
        if (c == '\\' && i + 1 < pattern.size()) {
            const char next = pattern[++i];
            if (next == 's')
                result.append(in_class ? "" : "[")
                    .append(white_space_class)
                    .append(in_class ? "" : "]");
            else if (next == 'S' && !in_class)
                result.append("[^").append(white_space_class).append("]");
            else
                result += {c, next};
            continue;
        }
        if (c == '[') in_class = true;
        if (c == ']') in_class = false;
        result += c;
    }
    return result;
}

// The patterns as the models' tokenizer.json has them; each match is a piece, and so is what lies
// between two. The first one has white space spelt out at the end of its class.
inline constexpr const char* gpt2_words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{L}\p{N}\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]+|[\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]+(?![^\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}])|[\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]+)";
inline constexpr std::string_view default_words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
inline constexpr std::string_view cl100k_words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen2_words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen35_words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view o200k_words =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view tekken_words =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view bloom_words =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)";
inline constexpr std::string_view one_digit = R"(\p{N})";
inline constexpr std::string_view all_digits = R"(\p{N}+)";
inline constexpr std::string_view three_digits = R"(\p{N}{1,3})";
inline constexpr std::string_view ascii_digits = "[0-9][0-9][0-9]";
inline constexpr std::string_view punctuation = R"([\p{P}\$\+<=>\^~\|]+)";
inline constexpr std::string_view falcon_punctuation = R"([\p{P}\$\+<=>\^~\|`]+)";
inline constexpr std::string_view line_end = R"([\r\n])";
inline constexpr std::string_view deepseek_han =
    R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
inline constexpr std::string_view deepseek_last_space = R"((?<!\s)\s++\z)";
inline constexpr std::string_view deepseek_letters =
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A})"
    R"(\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556})"
    R"(\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF})"
    R"(\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D})"
    R"(\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-)"
    R"(\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"
    R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC})"
    R"(\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128})"
    R"(\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E})"
    R"(\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3})"
    R"(\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E})"
    R"(\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A})"
    R"(\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-)"
    R"(\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)";
inline constexpr std::string_view deepseek_punctuation =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
inline constexpr std::string_view coder_letters = R"(\s?\p{L}+)";
inline constexpr std::string_view coder_punctuation = R"(\s?\p{P}+)";
inline constexpr std::string_view v3_kana =
    R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
inline constexpr std::string_view v3_words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// One pre-tokenizer.
struct NamedPreTokenizer {
    std::string_view names;  ///< in GGUF files, separated by spaces; the first is the usual one
    std::array<std::string_view, 6>
        patterns;               ///< one after the other, each over pieces of the last
    bool whole_pieces = false;  ///< a piece that is a token is not merged
    bool begins = false;        ///< texts begin with BOS unless the file says no
};

/// All that are known. Of rows with the same patterns the first one names them in exports.
inline constexpr std::array<NamedPreTokenizer, 15> named_pre_tokenizers{{
    {"gpt-2 gpt2 mpt olmo phi-2 jais trillion granite-docling exaone4 jina-es jina-de jina-v2-es "
     "jina-v2-de gigachat a.x-4.0 mellum modern-bert",
     {gpt2_words}},
    {"smollm starcoder refact command-r codeshell exaone minerva-7b", {one_digit, gpt2_words}},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
     {cl100k_words},
     true,
     true},
    {"qwen2 stablelm2 deepseek-r1-qwen megrez hunyuan", {qwen2_words}},
    {"default", {punctuation, default_words, all_digits, ascii_digits}},
    {"dbrx smaug-bpe glm4 chatglm-bpe", {cl100k_words}},
    {"qwen35", {qwen35_words}},
    {"gpt-4o llama4 kanana2", {o200k_words}},
    {"tekken", {tekken_words}, true, true},
    {"falcon", {falcon_punctuation, gpt2_words, ascii_digits}},
    {"bloom poro-chat gpt3-finnish", {bloom_words}},
    {"viking", {bloom_words, one_digit}},
    {"deepseek-llm",
     {line_end, deepseek_letters, deepseek_punctuation, deepseek_last_space, deepseek_han,
      all_digits}},
    {"deepseek-coder", {line_end, coder_letters, coder_punctuation, deepseek_han, one_digit}},
    {"deepseek-v3 hunyuan-dense joyai-llm", {three_digits, v3_kana, v3_words}},
}};

/// Patterns of tokenizer.json that mean something else to PCRE2, or take quadratic time, and what
/// is matched instead.
struct PatternSpelling {
    std::string_view written;
    std::string_view meant;
};
inline constexpr std::array<PatternSpelling, 2> pattern_spellings{{
    {R"( ?[^(\s|[.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C}])]+)", bloom_words},
    {R"(\s+$)", deepseek_last_space},
}};

/// A pattern of a file as this one writes patterns: without ends of lines and letters beyond ASCII.
inline std::string written_pattern(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const Utf8Char c = utf8_char(text);
        char code[16] = "";
        if (c.code == '\n' || c.code == '\r')
            result += c.code == '\n' ? "\\n" : "\\r";
        else if (c.state == Utf8Char::State::complete && c.code >= 0x80)
            result.append(code, static_cast<std::size_t>(std::snprintf(
                                    code, sizeof code, "\\x{%X}", static_cast<unsigned>(c.code))));
        else
            result += text.substr(0, c.bytes);
        text.remove_prefix(c.bytes);
    }
    return result;
}

/// What is matched for such a pattern, and whether it is one of the library's own.
inline std::string_view meant_pattern(std::string_view written, bool& own) noexcept {
    for (const PatternSpelling& spelling : pattern_spellings)
        if (spelling.written == written) written = spelling.meant;
    own = false;
    for (const NamedPreTokenizer& row : named_pre_tokenizers)
        for (const std::string_view pattern : row.patterns) own = own || pattern == written;
    return written;
}

/// The row of a name, or null.
inline const NamedPreTokenizer* find_pre_tokenizer(std::string_view name) noexcept {
    for (const NamedPreTokenizer& row : named_pre_tokenizers)
        for (std::string_view rest = row.names; !rest.empty();) {
            const std::size_t end = std::min(rest.find(' '), rest.size());
            if (rest.substr(0, end) == name) return &row;
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    return nullptr;
}

}  // namespace internal

}}  // namespace cairn
