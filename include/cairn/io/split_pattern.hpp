// A regular expression that cuts a text: PCRE2's, with a limit on backtracking: a hostile pattern
// is an error, not a hang.
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

#include "cairn/core/fingerprint.hpp"
#include "cairn/io/limits.hpp"
#include "cairn/io/utf8.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A compiled pattern that splits text into matches and what lies between them.
class SplitPattern {
  public:
    /// Who wrote a pattern. This library's own are compiled to machine code where PCRE2 can do
    /// that; those of files are interpreted, so that a hostile one never reaches the compiler.
    enum class Origin : std::uint8_t { library, file };

    /// Throws Error{bad_tokenizer} for a pattern that is invalid or too long. `told_as`: what
    /// stands for the pattern in `print`.
    SplitPattern(const std::string& pattern, const FileLimits& limits, Origin origin)
        : SplitPattern(pattern, limits, origin, pattern) {}
    SplitPattern(const std::string& pattern, const FileLimits& limits, Origin origin,
                 std::string_view told_as)
        : context_(pcre2_match_context_create(nullptr), pcre2_match_context_free) {
        require(!pattern.empty(), ErrorCode::bad_tokenizer, "tokenizer: an empty pattern");
        internal::check_limit(pattern.size(), limits.regex_bytes, "regex_bytes", "tokenizer",
                              "bytes of a pattern", ErrorCode::bad_tokenizer);
        print_.add(told_as);
        if (context_ == nullptr) throw std::bad_alloc();
        // This library's own patterns go back over a text at most once: any length is fine.
        if (origin == Origin::file) steps_ = limits.regex_steps;
        pcre2_set_match_limit(context_.get(), steps_);
        pcre2_set_depth_limit(context_.get(), steps_);
        pcre2_set_heap_limit(context_.get(), 65536);  // KiB; a match that needs more is an error
        int error = 0;
        PCRE2_SIZE where = 0;
        code_.reset(
            pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &where, nullptr),
            pcre2_code_free);
        require(code_ != nullptr, ErrorCode::bad_tokenizer, "tokenizer: pattern error ", error,
                " at offset ", where);
        // Every step copies what all groups matched.
        std::uint32_t groups = 0;
        pcre2_pattern_info(code_.get(), PCRE2_INFO_CAPTURECOUNT, &groups);
        require(groups <= 64, ErrorCode::bad_tokenizer, "tokenizer: a pattern with ", groups,
                " groups; at most 64");
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

}}  // namespace cairn
