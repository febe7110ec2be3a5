// The steps before the vocabulary as tokenizer.json describes them: what becomes of a text, and
// where it is cut.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "cairn/io/chars_map.hpp"
#include "cairn/io/json.hpp"
#include "cairn/io/letter_steps.hpp"
#include "cairn/io/normalizer.hpp"
#include "cairn/io/pre_tokenizer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Bytes from base64, as tokenizer.json writes maps. Error{bad_tokenizer}.
inline std::string from_base64(std::string_view text) {
    std::string result;
    std::uint32_t bits = 0;
    int count = 0;
    while (text.ends_with('=')) text.remove_suffix(1);
    for (const char c : text) {
        const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                          : c >= 'a' && c <= 'z' ? c - 'a' + 26
                          : c >= '0' && c <= '9' ? c - '0' + 52
                          : c == '+'             ? 62
                          : c == '/'             ? 63
                                                 : -1;
        require(value >= 0, ErrorCode::bad_tokenizer,
                "tokenizer: precompiled_charsmap is no base64");
        bits = bits << 6 | static_cast<std::uint32_t>(value);
        count += 6;
        if (count < 8) continue;
        count -= 8;
        result += static_cast<char>(bits >> count & 0xFFU);
    }
    return result;
}

}  // namespace internal

// Steps that look at letters. False: none of them.
inline bool Normalizer::add_letters(std::string_view type, const Json& json) {
    const JsonObject object(json, ErrorCode::bad_tokenizer, "tokenizer: normalizer");
    const std::string name(type);
    if (type == "NFD" || type == "NFKC" || type == "NFKD") {
        const UnicodeForm form = type == "NFD"    ? UnicodeForm::nfd
                                 : type == "NFKC" ? UnicodeForm::nfkc
                                                  : UnicodeForm::nfkd;
        change(name, 0, [form](std::string_view text) { return unicode_form(text, form); });
    } else if (type == "Lowercase") {
        change(name, 0, [](std::string_view text) { return internal::lower_case(text); });
    } else if (type == "StripAccents") {
        change(name, 0, [](std::string_view text) { return internal::without_marks(text, false); });
    } else if (type == "Strip") {
        const bool left = object.boolean("strip_left", true);
        const bool right = object.boolean("strip_right", true);
        change(name, std::uint64_t{left} * 2 + std::uint64_t{right},
               [left, right](std::string_view text) {
                   if (left) text = internal::trimmed_begin(text, internal::unicode_space);
                   if (right) text = internal::trimmed_end(text, internal::unicode_space);
                   return std::string(text);
               });
    } else if (type == "BertNormalizer") {
        BertCleaning wanted;
        wanted.clean_text = object.boolean("clean_text", true);
        wanted.handle_chinese_chars = object.boolean("handle_chinese_chars", true);
        wanted.lowercase = object.boolean("lowercase", true);
        wanted.strip_accents = object.boolean("strip_accents", wanted.lowercase);
        change(name, internal::bert_number(wanted),
               [wanted](std::string_view text) { return internal::bert_cleaned(text, wanted); });
    } else {
        return false;
    }
    return true;
}

inline void Normalizer::add(const Json& json, const FileLimits& limits, int depth) {
    require(depth < 8, ErrorCode::bad_tokenizer, "tokenizer: normalizer nested deeper than 8");
    const JsonObject object(json, ErrorCode::bad_tokenizer, "tokenizer: normalizer");
    const std::string type = object.string("type");
    if (type == "Sequence") {
        const Json* list = object.find("normalizers");
        require(list != nullptr && list->is_array() && list->size() <= 64, ErrorCode::bad_tokenizer,
                "tokenizer: normalizer Sequence without \"normalizers\"");
        for (const Json& item : *list) add(item, limits, depth + 1);
    } else if (type == "Prepend") {
        prepend(object.string("prepend"));
    } else if (type == "NFC") {
        compose();
    } else if (type == "Replace") {
        const Json* pattern = object.find("pattern");
        require(pattern != nullptr && pattern->is_object() && pattern->size() == 1,
                ErrorCode::bad_tokenizer, "tokenizer: normalizer Replace without a pattern");
        const JsonObject kind(*pattern, ErrorCode::bad_tokenizer,
                              "tokenizer: normalizer Replace pattern");
        if (kind.find("Regex") == nullptr) {
            std::string from = kind.string("String");
            require(!from.empty(), ErrorCode::bad_tokenizer,
                    "tokenizer: normalizer Replace of an empty text");
            replace(std::move(from), object.string("content"));
            return;
        }
        const SplitPattern cut(internal::with_white_space(kind.string("Regex")), limits,
                               SplitPattern::Origin::file);
        Fingerprint print;
        print.add(cut.print());
        print.add(std::string_view(object.string("content")));
        change("Replace", print.value(),
               [cut, by = object.string("content")](std::string_view text) {
                   std::string result;
                   cut.split(text, cut.matches().get(), [&](std::string_view part, bool match) {
                       result += match ? std::string_view(by) : part;
                       internal::check_growth(result.size(), text.size());
                   });
                   return result;
               });
    } else if (type == "Precompiled") {
        const auto map = std::make_shared<const internal::CharsMap>(
            internal::from_base64(object.string("precompiled_charsmap")));
        change("Precompiled", map->print(),
               [map](std::string_view text) { return map->by_clusters(text); });
    } else {
        require(add_letters(type, json), ErrorCode::unsupported, "tokenizer: normalizer \"",
                type.substr(0, 60),
                "\" is not supported; known: NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, "
                "BertNormalizer, Precompiled, Prepend, Replace, Sequence");
    }
}

inline void PreTokenizer::add(const Json& json, const FileLimits& limits, int depth) {
    require(depth < 8, ErrorCode::bad_tokenizer, "tokenizer: pre_tokenizer nested deeper than 8");
    const JsonObject object(json, ErrorCode::bad_tokenizer, "tokenizer: pre_tokenizer");
    const std::string type = object.string("type");
    if (type == "Sequence") {
        const Json* list = object.find("pretokenizers");
        require(list != nullptr && list->is_array() && list->size() <= 64, ErrorCode::bad_tokenizer,
                "tokenizer: pre_tokenizer Sequence without \"pretokenizers\"");
        for (const Json& item : *list) add(item, limits, depth + 1);
    } else if (type == "ByteLevel") {
        byte_level_ = true;
        Step step;
        step.add_prefix_space = object.boolean("add_prefix_space", true);
        plain_ = plain_ && !step.add_prefix_space;
        if (object.boolean("use_regex", true)) {
            step.pattern = own(gpt2_pattern(), limits);
            patterns_.emplace_back(gpt2_pattern());
        }
        push(std::move(step));
    } else if (type == "Split") {
        add_split(json, limits);
    } else {
        require(add_words(type, json, limits), ErrorCode::unsupported,
                "tokenizer: pre_tokenizer \"", type.substr(0, 60),
                "\" is not known; known: ByteLevel, Split, Digits, Punctuation, Whitespace, "
                "WhitespaceSplit, BertPreTokenizer, Metaspace, Sequence");
    }
}

namespace internal {

// How a Split or Punctuation step treats its matches. Error{unsupported}.
inline SplitBehaviour split_behaviour(const std::string& name) {
    if (name == "Isolated") return SplitBehaviour::isolated;
    if (name == "Removed") return SplitBehaviour::removed;
    if (name == "MergedWithPrevious") return SplitBehaviour::merged_with_previous;
    if (name == "MergedWithNext") return SplitBehaviour::merged_with_next;
    require(name == "Contiguous", ErrorCode::unsupported,
            "tokenizer: pre_tokenizer Split with behavior \"", name.substr(0, 40),
            "\"; known: Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous");
    return SplitBehaviour::contiguous;
}

// A pattern that matches a text and nothing else.
inline std::string literal(const std::string& text) {
    std::string result = "\\Q";
    for (std::size_t i = 0; i < text.size(); ++i)
        result += text.compare(i, 2, "\\E") == 0 ? "\\E\\\\\\Q" : std::string(1, text[i]);
    return result + "\\E";
}

// Letters of words as Hugging Face's Whitespace counts them: alphabetic, marks, digits, connectors.
inline constexpr std::string_view word_class =
    R"(\p{L}\p{M}\p{Nl}\p{Nd}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

}  // namespace internal

// Steps whose patterns are the library's own. False: none of them.
inline bool PreTokenizer::add_words(std::string_view type, const Json& json,
                                    const FileLimits& limits) {
    using internal::SplitBehaviour;
    if (type == "BertPreTokenizer") {
        push_bert(limits);
        return true;
    }
    const JsonObject object(json, ErrorCode::bad_tokenizer, "tokenizer: pre_tokenizer");
    Step step;
    std::string pattern;
    if (type == "Digits") {
        pattern =
            object.boolean("individual_digits", false) ? internal::one_digit : internal::all_digits;
    } else if (type == "Punctuation") {
        step.behaviour = internal::split_behaviour(object.string("behavior", "Isolated"));
        const bool row = step.behaviour == SplitBehaviour::contiguous;
        if (row) step.behaviour = SplitBehaviour::isolated;
        pattern = row ? std::string(internal::falcon_punctuation)
                      : std::string(internal::falcon_punctuation.substr(
                            0, internal::falcon_punctuation.size() - 1));
    } else if (type == "Whitespace") {
        const std::string word(internal::word_class);
        pattern.append("[").append(word).append("]+|[^").append(word);
        pattern.append(internal::white_space_class).append("]+");
        step.behaviour = SplitBehaviour::removed;
        step.inverted = true;
    } else if (type == "WhitespaceSplit") {
        pattern = R"(\s+)";
        step.behaviour = SplitBehaviour::removed;
    } else if (type == "Metaspace") {
        require(object.string("replacement", std::string(visible_space)) == visible_space,
                ErrorCode::unsupported, "tokenizer: Metaspace with another replacement than ",
                visible_space);
        const std::string scheme = object.string(
            "prepend_scheme", object.boolean("add_prefix_space", true) ? "always" : "never");
        require(scheme == "always" || scheme == "first" || scheme == "never",
                ErrorCode::unsupported, "tokenizer: Metaspace with prepend_scheme \"",
                scheme.substr(0, 40), "\"");
        step.spaces = scheme == "always"  ? Spaces::always_prefixed
                      : scheme == "first" ? Spaces::first_prefixed
                                          : Spaces::visible;
        if (object.boolean("split", true)) {
            pattern = visible_space;
            step.behaviour = SplitBehaviour::merged_with_next;
        }
    } else {
        return false;
    }
    if (!pattern.empty()) {
        step.pattern = own(pattern, limits);
        patterns_.push_back(std::move(pattern));
    }
    plain_ = plain_ && !step.special();
    push(std::move(step));
    return true;
}

inline void PreTokenizer::add_split(const Json& json, const FileLimits& limits) {
    const JsonObject object(json, ErrorCode::bad_tokenizer, "tokenizer: pre_tokenizer");
    Step step;
    step.behaviour = internal::split_behaviour(object.string("behavior"));
    step.inverted = object.boolean("invert", false);
    const Json* pattern = object.find("pattern");
    require(pattern != nullptr && pattern->is_object() && pattern->size() == 1,
            ErrorCode::bad_tokenizer, "tokenizer: pre_tokenizer Split without a pattern");
    const JsonObject kind(*pattern, ErrorCode::bad_tokenizer,
                          "tokenizer: pre_tokenizer Split pattern");
    const bool regex = kind.find("Regex") != nullptr;
    const std::string text = kind.string(regex ? "Regex" : "String");
    const std::string written = internal::written_pattern(text);
    bool known = false;
    const std::string_view meant = internal::meant_pattern(written, known);
    known = known && regex;
    const std::string told = regex ? internal::with_white_space(text) : internal::literal(text);
    step.pattern = std::make_shared<SplitPattern>(
        known ? internal::with_white_space(meant) : told, limits,
        known ? SplitPattern::Origin::library : SplitPattern::Origin::file, told);
    patterns_.emplace_back(known ? meant : std::string_view());
    plain_ = plain_ && !step.special();
    push(std::move(step));
}

}}  // namespace cairn
