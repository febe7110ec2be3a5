// Cuts a text into the pieces that byte-pair merges never cross. Regular expressions are PCRE2's,
// with a limit on backtracking: a hostile pattern is an error, not a hang.
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/core/fingerprint.hpp"
#include "cairn/io/json.hpp"
#include "cairn/io/utf8.hpp"

namespace cairn::inline CAIRN_ABI {

/// A compiled pattern that splits text into matches and what lies between them.
class SplitPattern {
  public:
    /// Throws Error{bad_tokenizer} for a pattern that is invalid or too long.
    SplitPattern(const std::string& pattern, const FileLimits& limits)
        : steps_(limits.regex_steps) {
        require(!pattern.empty() && pattern.size() <= limits.regex_bytes, ErrorCode::bad_tokenizer,
                "tokenizer: a pattern of ", pattern.size(), " bytes; 1 to ", limits.regex_bytes,
                " are allowed");
        print_.add(std::string_view(pattern));
        int error = 0;
        PCRE2_SIZE where = 0;
        code_.reset(
            pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &error, &where, nullptr),
            pcre2_code_free);
        require(code_ != nullptr, ErrorCode::bad_tokenizer, "tokenizer: pattern error ", error,
                " at offset ", where);
    }

    /// Calls piece(text, is_match) for consecutive parts of the text. Throws Error{limit} when the
    /// pattern backtracks too much on this text.
    template <class Piece>
    void split(std::string_view text, Piece&& piece) const {
        const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
            pcre2_match_data_create_from_pattern(code_.get(), nullptr), pcre2_match_data_free);
        const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
            pcre2_match_context_create(nullptr), pcre2_match_context_free);
        if (data == nullptr || context == nullptr) throw std::bad_alloc();
        pcre2_set_match_limit(context.get(), steps_);
        pcre2_set_depth_limit(context.get(), steps_);
        std::size_t done = 0;
        std::size_t from = 0;
        while (from < text.size()) {
            const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                          text.size(), from, 0, data.get(), context.get());
            if (found == PCRE2_ERROR_NOMATCH) break;
            require(found > 0, ErrorCode::limit,
                    "tokenizer: the pattern failed on this text at byte ", from, " (PCRE2 error ",
                    found, ")");
            const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
            if (span[1] <= span[0] || span[1] <= from) {  // empty: go on one character further
                const Utf8Char next = utf8_char(text.substr(from));
                from += next.bytes;
                continue;
            }
            if (span[0] > done) piece(text.substr(done, span[0] - done), false);
            piece(text.substr(span[0], span[1] - span[0]), true);
            done = from = span[1];
        }
        if (done < text.size()) piece(text.substr(done), false);
    }

    /// A number that tells this pattern from others.
    std::uint64_t print() const noexcept { return print_.value(); }

  private:
    Fingerprint print_;
    std::shared_ptr<pcre2_code> code_;
    std::uint32_t steps_;
};

/// A sequence of splitting steps as tokenizer.json describes it: ByteLevel, Split, Digits,
/// Sequence.
class PreTokenizer {
  public:
    /// No steps: the text is one piece.
    PreTokenizer() = default;
    /// Throws Error{bad_tokenizer}, Error{unsupported} naming what it does not know.
    PreTokenizer(const Json& json, const FileLimits& limits) { add(json, limits, 0); }

    /// The pieces of a text; bytes are kept as they are, valid UTF-8 or not.
    std::vector<std::string> split(std::string_view text) const {
        std::vector<std::string> pieces{std::string(text)};
        for (const Step& step : steps_) {
            std::vector<std::string> next;
            for (std::string& piece : pieces) {
                if (step.add_prefix_space && !piece.empty() && piece.front() != ' ')
                    piece.insert(0, 1, ' ');
                if (!step.pattern) {
                    next.push_back(std::move(piece));
                    continue;
                }
                step.pattern->split(piece,
                                    [&](std::string_view part, bool) { next.emplace_back(part); });
            }
            pieces = std::move(next);
        }
        std::erase_if(pieces, [](const std::string& piece) { return piece.empty(); });
        return pieces;
    }
    /// The name GGUF files have for these steps; empty if they have none.
    std::string gguf_name() const {
        std::string steps;
        for (const std::string& kind : kinds_) steps += (steps.empty() ? "" : " ") + kind;
        if (steps == "gpt2") return "gpt-2";
        if (steps == "digits gpt2") return "smollm";
        if (kinds_.size() == 1 && steps.starts_with("split:(?i:'s|'t|")) {
            if (steps.find("\\p{N}{1,3}") != steps.npos) return "llama-bpe";
            if (steps.find("|\\p{N}|") != steps.npos) return "qwen2";
        }
        return {};
    }
    /// Adds the steps to a fingerprint.
    void hash(Fingerprint& to) const {
        for (const Step& step : steps_) {
            to.add(step.pattern ? step.pattern->print() : 0);
            to.add(std::uint64_t{step.add_prefix_space});
        }
        to.add(std::uint64_t{byte_level_});
    }
    /// Whether a ByteLevel step is there: bytes then stand for themselves.
    bool byte_level() const noexcept { return byte_level_; }

    /// The steps that GGUF files mean by the name of a pre-tokenizer. Error{unsupported} listing
    /// the known ones.
    static PreTokenizer named(std::string_view name, const FileLimits& limits) {
        PreTokenizer result;
        result.byte_level_ = true;
        const auto add = [&](const std::string& pattern) {
            result.steps_.push_back(
                {std::make_shared<SplitPattern>(with_white_space(pattern), limits), false});
        };
        const std::string words = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)";
        const std::string rest = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
        if (name == "gpt-2" || name == "gpt2") {
            add(gpt2_pattern());
        } else if (name == "smollm") {
            add(R"(\p{N})");
            add(gpt2_pattern());
        } else if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") {
            add(words + R"(\p{N}{1,3})" + rest);
        } else if (name == "qwen2") {
            add(words + R"(\p{N})" + rest);
        } else if (name == "default") {
            add(R"([\p{P}\$\+<=>\^~\|]+)");
            add(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))");
            add(R"(\p{N}+)");
            add(R"([0-9][0-9][0-9])");
        } else {
            fail(ErrorCode::unsupported, "tokenizer: pre-tokenizer \"", name.substr(0, 60),
                 "\" is not known; known: gpt-2, smollm, llama-bpe, qwen2, default");
        }
        return result;
    }

    /// GPT-2's own pattern. White space is spelt out: PCRE2 counts U+180E in, Unicode since 6.3
    /// not.
    static const char* gpt2_pattern() noexcept {
        return R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{L}\p{N}\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]+|[\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]+(?![^\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}])|[\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]+)";
    }

  private:
    // PCRE2 counts U+180E among white space, Unicode since 6.3 does not: \s is spelt out.
    static std::string with_white_space(std::string pattern) {
        const std::string set =
            R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
        bool in_class = false;
        std::string result;
        for (std::size_t i = 0; i < pattern.size(); ++i) {
            const char c = pattern[i];
            if (c == '\\' && i + 1 < pattern.size()) {
                const char next = pattern[++i];
                if (next == 's')
                    result += in_class ? set : "[" + set + "]";
                else if (next == 'S' && !in_class)
                    result += "[^" + set + "]";
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

    struct Step {
        std::shared_ptr<const SplitPattern> pattern;
        bool add_prefix_space = false;
    };

    void add(const Json& json, const FileLimits& limits, int depth) {
        require(depth < 8, ErrorCode::bad_tokenizer,
                "tokenizer: pre_tokenizer nested deeper than 8");
        const JsonObject object(json, ErrorCode::bad_tokenizer, "tokenizer: pre_tokenizer");
        const std::string type = object.string("type");
        if (type == "Sequence") {
            const Json* list = object.find("pretokenizers");
            require(list != nullptr && list->is_array() && list->size() <= 64,
                    ErrorCode::bad_tokenizer,
                    "tokenizer: pre_tokenizer Sequence without \"pretokenizers\"");
            for (const Json& item : *list) add(item, limits, depth + 1);
        } else if (type == "ByteLevel") {
            byte_level_ = true;
            Step step;
            step.add_prefix_space = object.boolean("add_prefix_space", true);
            if (object.boolean("use_regex", true))
                step.pattern = std::make_shared<SplitPattern>(gpt2_pattern(), limits);
            if (step.pattern) kinds_.push_back("gpt2");
            steps_.push_back(std::move(step));
        } else if (type == "Digits") {
            const bool each = object.boolean("individual_digits", false);
            kinds_.push_back(each ? "digits" : "numbers");
            steps_.push_back(
                {std::make_shared<SplitPattern>(each ? "\\p{N}" : "\\p{N}+", limits), false});
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
            std::string expression = kind.find("Regex") != nullptr
                                         ? with_white_space(kind.string("Regex"))
                                         : "\\Q" + kind.string("String") + "\\E";
            kinds_.push_back("split:" +
                             (kind.find("Regex") != nullptr ? kind.string("Regex") : ""));
            steps_.push_back({std::make_shared<SplitPattern>(expression, limits), false});
        } else {
            fail(ErrorCode::unsupported, "tokenizer: pre_tokenizer \"", type.substr(0, 60),
                 "\" is not known; known: ByteLevel, Split, Digits, Sequence");
        }
    }

    std::vector<Step> steps_;
    std::vector<std::string> kinds_;  // of the steps that cut
    bool byte_level_ = false;
};

}  // namespace cairn::inline CAIRN_ABI
