// Cuts a text into the pieces that tokens never cross.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/fingerprint.hpp"
#include "cairn/io/json_fwd.hpp"
#include "cairn/io/limits.hpp"
#include "cairn/io/normalizer.hpp"
#include "cairn/io/pre_tokenizer_names.hpp"
#include "cairn/io/split_pattern.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

/// What becomes of the matches of a pattern, in the words of tokenizer.json.
enum class SplitBehaviour : std::uint8_t {
    isolated,
    removed,
    merged_with_previous,
    merged_with_next,
    contiguous
};

/// Joins the parts of one text, matches and what lies between them, to pieces as they come.
template <class Piece>
class PieceJoiner {
  public:
    PieceJoiner(SplitBehaviour behaviour, Piece& piece) : behaviour_(behaviour), piece_(piece) {}

    void part(std::string_view text, bool match) {
        if (behaviour_ == SplitBehaviour::isolated) {
            piece_(text);
            return;
        }
        if (behaviour_ == SplitBehaviour::removed) {
            if (!match) piece_(text);
            return;
        }
        if (!held_.empty() && joins(match)) {
            held_ = std::string_view(held_.data(), held_.size() + text.size());
        } else {
            finish();
            held_ = text;
        }
        match_ = match;
    }
    void finish() {
        if (!held_.empty()) piece_(held_);
        held_ = {};
    }

  private:
    bool joins(bool match) const noexcept {
        switch (behaviour_) {
            case SplitBehaviour::merged_with_previous: return match && !match_;
            case SplitBehaviour::merged_with_next: return !match && match_;
            default: return match == match_;
        }
    }
    SplitBehaviour behaviour_;
    Piece& piece_;
    std::string_view held_;
    bool match_ = false;  // whether the part that came last was one
};

}  // namespace internal

/// A sequence of splitting steps as tokenizer.json describes it: ByteLevel, Split, Digits,
/// Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer, Metaspace, Sequence.
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
    void split(std::string_view text, Piece&& piece, TextPlace place = TextPlace::begin) const {
        std::vector<SplitPattern::Matches> matches;
        matches.reserve(steps_.size());
        for (const Step& step : steps_)
            matches.push_back(step.pattern ? step.pattern->matches()
                                           : SplitPattern::Matches(nullptr, pcre2_match_data_free));
        split_from(0, text, place, matches, piece);
    }
    bool empty() const noexcept { return steps_.empty(); }
    /// The name GGUF files have for these steps, with or without whole pieces; empty if they have
    /// none.
    std::string gguf_name(bool whole_pieces) const {
        for (const internal::NamedPreTokenizer& row : internal::named_pre_tokenizers) {
            std::size_t same = 0;
            while (same < row.patterns.size() && !row.patterns[same].empty() &&
                   same < patterns_.size() && patterns_[same] == row.patterns[same])
                ++same;
            const bool all = same == row.patterns.size() || row.patterns[same].empty();
            if (all && same == patterns_.size() && plain_ && row.whole_pieces == whole_pieces)
                return std::string(row.names.substr(0, row.names.find(' ')));
        }
        return {};
    }
    /// Adds the steps to a fingerprint.
    void hash(Fingerprint& to) const {
        for (const Step& step : steps_) {
            to.add(step.pattern ? step.pattern->print() : 0);
            to.add(std::uint64_t{step.add_prefix_space});
            if (step.special()) to.add(step.number());
        }
        to.add(std::uint64_t{byte_level_});
    }
    /// Whether a ByteLevel step is there: bytes then stand for themselves.
    bool byte_level() const noexcept { return byte_level_; }
    /// Whether a Metaspace step puts a visible space in front of a text.
    bool prepends() const noexcept {
        for (const Step& step : steps_)
            if (step.spaces != Spaces::untouched && step.spaces != Spaces::visible) return true;
        return false;
    }

    /// The steps that GGUF files mean by the name of a pre-tokenizer. Error{unsupported} listing
    /// the known ones.
    static PreTokenizer named(std::string_view name, const FileLimits& limits) {
        const internal::NamedPreTokenizer* row = internal::find_pre_tokenizer(name);
        if (row == nullptr) {
            std::string known;
            for (const internal::NamedPreTokenizer& one : internal::named_pre_tokenizers)
                (known += known.empty() ? "" : ", ") += one.names.substr(0, one.names.find(' '));
            fail(ErrorCode::unsupported, "tokenizer: pre-tokenizer \"", name.substr(0, 60),
                 "\" is not known; known: ", known);
        }
        PreTokenizer result;
        result.byte_level_ = true;
        for (const std::string_view pattern : row->patterns)
            if (!pattern.empty()) result.push_pattern(pattern, limits);
        return result;
    }

    /// Words and marks as BERT cuts them; white space is dropped.
    static PreTokenizer bert(const FileLimits& limits) {
        PreTokenizer result;
        result.push_bert(limits);
        return result;
    }

    /// GPT-2's own pattern.
    static const char* gpt2_pattern() noexcept { return internal::gpt2_words; }

  private:
    // What Metaspace does to spaces, and when it puts one in front.
    enum class Spaces : std::uint8_t { untouched, visible, first_prefixed, always_prefixed };
    struct Step {
        std::shared_ptr<const SplitPattern> pattern;
        bool add_prefix_space = false;
        bool inverted = false;  // what lies between matches counts as matched
        internal::SplitBehaviour behaviour = internal::SplitBehaviour::isolated;
        Spaces spaces = Spaces::untouched;

        bool special() const noexcept { return number() != 0; }
        std::uint64_t number() const noexcept {
            return static_cast<std::uint64_t>(behaviour) * 8 +
                   static_cast<std::uint64_t>(spaces) * 2 + (inverted ? 1 : 0);
        }
    };

    void push(Step step) {
        constexpr std::size_t most = 64;
        require(steps_.size() < most, ErrorCode::bad_tokenizer,
                "tokenizer: a pre_tokenizer of more than ", most, " steps");
        steps_.push_back(std::move(step));
    }
    // One of the library's own patterns, each match a piece.
    void push_pattern(std::string_view pattern, const FileLimits& limits) {
        Step step;
        step.pattern = own(pattern, limits);
        push(std::move(step));
        patterns_.emplace_back(pattern);
    }
    void push_bert(const FileLimits& limits) {
        Step spaces;
        spaces.pattern = own(R"(\s+)", limits);
        spaces.behaviour = internal::SplitBehaviour::removed;
        push(std::move(spaces));
        Step marks;
        marks.pattern = own(R"([\p{P}$+<=>^`|~])", limits);
        push(std::move(marks));
        plain_ = false;
    }
    static std::shared_ptr<const SplitPattern> own(std::string_view pattern,
                                                   const FileLimits& limits) {
        return std::make_shared<SplitPattern>(internal::with_white_space(pattern), limits,
                                              SplitPattern::Origin::library);
    }
    // The steps from one on; as many calls deep as there are steps.
    template <class Piece>
    void split_from(std::size_t index, std::string_view text, TextPlace place,
                    const std::vector<SplitPattern::Matches>& matches, Piece& piece) const {
        if (text.empty()) return;
        if (index == steps_.size()) {
            piece(text);
            return;
        }
        const Step& step = steps_[index];
        std::string changed;
        if (step.add_prefix_space && text.front() != ' ') {
            changed.reserve(text.size() + 1);
            text = changed.append(1, ' ').append(text);
        }
        if (step.spaces != Spaces::untouched) {
            if (step.spaces == Spaces::always_prefixed ||
                (step.spaces == Spaces::first_prefixed && place == TextPlace::begin))
                if (text.front() != ' ' && !text.starts_with(visible_space))
                    changed = visible_space;
            for (const char c : text)
                c == ' ' ? changed.append(visible_space) : changed.append(1, c);
            text = changed;
        }
        if (!step.pattern) {
            split_from(index + 1, text, place, matches, piece);
            return;
        }
        const char* const begin = text.data();
        const auto next = [&](std::string_view part) {
            split_from(index + 1, part, part.data() == begin ? place : TextPlace::later, matches,
                       piece);
        };
        internal::PieceJoiner<decltype(next)> joiner(step.behaviour, next);
        step.pattern->split(text, matches[index].get(), [&](std::string_view part, bool match) {
            joiner.part(part, match != step.inverted);
        });
        joiner.finish();
    }

    // In tokenizer_json_steps.hpp: who only tokenizes does not compile a reader of JSON.
    void add(const Json& json, const FileLimits& limits, int depth);
    bool add_words(std::string_view type, const Json& json, const FileLimits& limits);
    void add_split(const Json& json, const FileLimits& limits);

    std::vector<Step> steps_;
    std::vector<std::string> patterns_;  // of the steps that cut
    bool byte_level_ = false;
    bool plain_ = true;  // patterns with isolated matches and nothing else
};

}}  // namespace cairn
