// The steps before the vocabulary as tokenizer.json describes them: what becomes of a text, and
// where it is cut.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "cairn/io/json.hpp"
#include "cairn/io/normalizer.hpp"
#include "cairn/io/pre_tokenizer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

inline void Normalizer::add(const Json& json, int depth) {
    require(depth < 8, ErrorCode::bad_tokenizer, "tokenizer: normalizer nested deeper than 8");
    const JsonObject object(json, ErrorCode::bad_tokenizer, "tokenizer: normalizer");
    const std::string type = object.string("type");
    if (type == "Sequence") {
        const Json* list = object.find("normalizers");
        require(list != nullptr && list->is_array() && list->size() <= 64, ErrorCode::bad_tokenizer,
                "tokenizer: normalizer Sequence without \"normalizers\"");
        for (const Json& item : *list) add(item, depth + 1);
    } else if (type == "Prepend") {
        prepend(object.string("prepend"));
    } else if (type == "NFC") {
        compose();
    } else if (type == "Replace") {
        const Json* pattern = object.find("pattern");
        require(pattern != nullptr && pattern->is_object() && pattern->contains("String"),
                ErrorCode::unsupported,
                "tokenizer: normalizer Replace of something that is no literal");
        std::string from =
            JsonObject(*pattern, ErrorCode::bad_tokenizer, "tokenizer: normalizer Replace")
                .string("String");
        require(!from.empty(), ErrorCode::bad_tokenizer,
                "tokenizer: normalizer Replace of an empty text");
        replace(std::move(from), object.string("content"));
    } else {
        fail(ErrorCode::unsupported, "tokenizer: normalizer \"", type.substr(0, 60),
             "\" is not supported; known: NFC, Prepend, Replace, Sequence");
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
        if (object.boolean("use_regex", true)) step.pattern = own(gpt2_pattern(), limits);
        if (step.pattern) kinds_.push_back("gpt2");
        push(std::move(step));
    } else if (type == "Digits") {
        const bool each = object.boolean("individual_digits", false);
        kinds_.push_back(each ? "digits" : "numbers");
        push({own(each ? "\\p{N}" : "\\p{N}+", limits), false});
    } else if (type == "Split") {
        const std::string behaviour = object.string("behavior");
        require(behaviour == "Isolated", ErrorCode::unsupported,
                "tokenizer: pre_tokenizer Split with behavior \"", behaviour.substr(0, 40),
                "\"; Isolated is known");
        const Json* pattern = object.find("pattern");
        require(pattern != nullptr && pattern->is_object() && pattern->size() == 1,
                ErrorCode::bad_tokenizer, "tokenizer: pre_tokenizer Split without a pattern");
        const JsonObject kind(*pattern, ErrorCode::bad_tokenizer,
                              "tokenizer: pre_tokenizer Split pattern");
        const bool regex = kind.find("Regex") != nullptr;
        const std::string text = kind.string(regex ? "Regex" : "String");
        const bool known = regex && (text == words_pattern("{1,3}") || text == words_pattern(""));
        kinds_.push_back("split:" + (regex ? text : ""));
        push({std::make_shared<SplitPattern>(
                  regex ? with_white_space(text) : "\\Q" + text + "\\E", limits,
                  known ? SplitPattern::Origin::library : SplitPattern::Origin::file),
              false});
    } else {
        fail(ErrorCode::unsupported, "tokenizer: pre_tokenizer \"", type.substr(0, 60),
             "\" is not known; known: ByteLevel, Split, Digits, Sequence");
    }
}

}}  // namespace cairn
