// Cuts a text into the pieces that byte-pair merges never cross. Regular expressions are PCRE2's,
// with a limit on backtracking: a hostile pattern is an error, not a hang.
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/fingerprint.hpp"
#include "cairn/io/json_fwd.hpp"
#include "cairn/io/limits.hpp"
#include "cairn/io/utf8.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A compiled pattern that splits text into matches and what lies between them.
class SplitPattern {
  public:
    /// Who wrote a pattern. This library's own are compiled to machine code where PCRE2 can do
    /// that; those of files are interpreted, so that a hostile one never reaches the compiler.
    enum class Origin : std::uint8_t { library, file };

    /// Throws Error{bad_tokenizer} for a pattern that is invalid or too long.
    SplitPattern(const std::string& pattern, const FileLimits& limits, Origin origin)
        : context_(pcre2_match_context_create(nullptr), pcre2_match_context_free) {
        require(!pattern.empty(), ErrorCode::bad_tokenizer, "tokenizer: an empty pattern");
        internal::check_limit(pattern.size(), limits.regex_bytes, "regex_bytes", "tokenizer",
                              "bytes of a pattern", ErrorCode::bad_tokenizer);
        print_.add(std::string_view(pattern));
        if (context_ == nullptr) throw std::bad_alloc();
        // This library's own patterns go back over a text at most once: any length is fine.
        if (origin == Origin::file) steps_ = limits.regex_steps;
        pcre2_set_match_limit(context_.get(), steps_);
        pcre2_set_depth_limit(context_.get(), steps_);
        int error = 0;
        PCRE2_SIZE where = 0;
        code_.reset(
            pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &where, nullptr),
            pcre2_code_free);
        require(code_ != nullptr, ErrorCode::bad_tokenizer, "tokenizer: pattern error ", error,
                " at offset ", where);
        // Where that fails, matches are interpreted: slower, and the same.
        if (origin == Origin::library) (void)pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
    }

    /// What a match is written to: one for each thread that splits.
    using Matches = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;
    Matches matches() const {
        Matches result(pcre2_match_data_create_from_pattern(code_.get(), nullptr),
                       pcre2_match_data_free);
        if (result == nullptr) throw std::bad_alloc();
        return result;
    }

    /// Calls piece(text, is_match) for consecutive parts of the text. Bytes that are no UTF-8 match
    /// nothing. Throws Error{limit} when the pattern backtracks too much on this text.
    template <class Piece>
    void split(std::string_view text, pcre2_match_data* data, Piece&& piece) const {
        std::size_t done = 0;
        const auto match = [&](std::size_t begin, std::size_t end) {
            if (begin > done) piece(text.substr(done, begin - done), false);
            piece(text.substr(begin, end - begin), true);
            done = end;
        };
        // Each row of whole characters is a subject of its own, which PCRE2 need not check again.
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t valid = valid_utf8_bytes(text.substr(at));
            if (valid > 0) split_valid(text, at, at + valid, data, match);
            at += valid;
            if (at < text.size()) at += utf8_char(text.substr(at)).bytes;
        }
        if (done < text.size()) piece(text.substr(done), false);
    }

    /// A number that tells this pattern from others.
    std::uint64_t print() const noexcept { return print_.value(); }

  private:
    template <class Match>
    void split_valid(std::string_view text, std::size_t begin, std::size_t end,
                     pcre2_match_data* data, const Match& match) const {
        const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data() + begin);
        const std::size_t size = end - begin;
        const std::uint32_t options = PCRE2_NO_UTF_CHECK | (begin > 0 ? PCRE2_NOTBOL : 0U) |
                                      (end < text.size() ? PCRE2_NOTEOL : 0U);
        for (std::size_t from = 0; from < size;) {
            int found =
                pcre2_match(code_.get(), subject, size, from, options, data, context_.get());
            if (found == PCRE2_ERROR_JIT_STACKLIMIT)
                found = pcre2_match(code_.get(), subject, size, from, options | PCRE2_NO_JIT, data,
                                    context_.get());
            if (found == PCRE2_ERROR_NOMATCH) break;
            require(found != PCRE2_ERROR_MATCHLIMIT && found != PCRE2_ERROR_DEPTHLIMIT,
                    ErrorCode::limit,
                    "tokenizer: the pattern goes back too often on this text at byte ",
                    begin + from, "; the limit FileLimits::regex_steps is ", steps_);
            require(found > 0, ErrorCode::limit,
                    "tokenizer: the pattern failed on this text at byte ", begin + from,
                    " (PCRE2 error ", found, ")");
            const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data);
            if (span[0] >= from && span[1] > span[0]) {
                match(begin + span[0], begin + span[1]);
                from = span[1];
                continue;
            }
            // Empty: before it nothing matches, and it goes on one character behind.
            if (span[0] == span[1]) from = std::max(from, span[0]);
            if (from < size) from += utf8_char(text.substr(begin + from)).bytes;
        }
    }

    Fingerprint print_;
    std::uint32_t steps_ = std::numeric_limits<std::uint32_t>::max();  // back over a text
    std::shared_ptr<pcre2_code> code_;
    std::shared_ptr<pcre2_match_context> context_;
};

/// A sequence of splitting steps as tokenizer.json describes it: ByteLevel, Split, Digits,
/// Sequence.
class PreTokenizer {
  public:
    /// No steps: the text is one piece.
    PreTokenizer() = default;
    /// From tokenizer.json (include cairn/io/tokenizer_json.hpp). Throws Error{bad_tokenizer},
    /// Error{unsupported} naming what it does not know.
    PreTokenizer(const Json& json, const FileLimits& limits) { add(json, limits, 0); }

    /// Calls piece(text) for the parts of a text in order, none of them empty; each is valid during
    /// its call. Bytes are kept as they are, valid UTF-8 or not. Throws Error{limit} when a pattern
    /// backtracks too much on this text.
    template <class Piece>
    void split(std::string_view text, Piece&& piece) const {
        std::vector<SplitPattern::Matches> matches;
        matches.reserve(steps_.size());
        for (const Step& step : steps_)
            matches.push_back(step.pattern ? step.pattern->matches()
                                           : SplitPattern::Matches(nullptr, pcre2_match_data_free));
        split_from(0, text, matches, piece);
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
            result.push({own(with_white_space(pattern), limits), false});
        };
        if (name == "gpt-2" || name == "gpt2") {
            add(gpt2_pattern());
        } else if (name == "smollm") {
            add(R"(\p{N})");
            add(gpt2_pattern());
        } else if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") {
            add(words_pattern("{1,3}"));
        } else if (name == "qwen2") {
            add(words_pattern(""));
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
    // The pattern of Llama 3 and of Qwen 2, which cut numbers in other lengths.
    static std::string words_pattern(const char* digits) {
        return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" +
               std::string(digits) + R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    }
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

    static std::shared_ptr<const SplitPattern> own(const std::string& pattern,
                                                   const FileLimits& limits) {
        return std::make_shared<SplitPattern>(pattern, limits, SplitPattern::Origin::library);
    }
    void push(Step step) {
        constexpr std::size_t most = 64;
        require(steps_.size() < most, ErrorCode::bad_tokenizer,
                "tokenizer: a pre_tokenizer of more than ", most, " steps");
        steps_.push_back(std::move(step));
    }
    // The steps from one on; as many calls deep as there are steps.
    template <class Piece>
    void split_from(std::size_t index, std::string_view text,
                    const std::vector<SplitPattern::Matches>& matches, Piece& piece) const {
        if (text.empty()) return;
        if (index == steps_.size()) {
            piece(text);
            return;
        }
        const Step& step = steps_[index];
        std::string spaced;
        if (step.add_prefix_space && text.front() != ' ') {
            spaced.reserve(text.size() + 1);
            text = spaced.append(1, ' ').append(text);
        }
        if (!step.pattern) {
            split_from(index + 1, text, matches, piece);
            return;
        }
        step.pattern->split(text, matches[index].get(), [&](std::string_view part, bool) {
            split_from(index + 1, part, matches, piece);
        });
    }

    // In tokenizer_json_steps.hpp: who only tokenizes does not compile a reader of JSON.
    void add(const Json& json, const FileLimits& limits, int depth);

    std::vector<Step> steps_;
    std::vector<std::string> kinds_;  // of the steps that cut
    bool byte_level_ = false;
};

}}  // namespace cairn
