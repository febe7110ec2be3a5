// What happens to a text before it is cut into tokens: literal replacements and prefixes, as the
// tokenizers of Llama and Mistral have them, the form C of Unicode, as those of Qwen, and steps
// that a reader of files brings along.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/fingerprint.hpp"
#include "cairn/io/json_fwd.hpp"
#include "cairn/io/limits.hpp"
#include "cairn/io/unicode_nfc.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// SentencePiece writes a space as this character (U+2581).
inline constexpr std::string_view visible_space = "\xE2\x96\x81";

/// Where a text stands: at the beginning of all, or behind something that was cut off before.
enum class TextPlace : std::uint8_t { begin, later };

/// A step of another kind: what becomes of a text.
class TextChange {
  public:
    virtual ~TextChange() = default;
    virtual std::string of(std::string_view text) const = 0;
};

namespace internal {

template <class Change>
class ChangeBy final : public TextChange {
  public:
    explicit ChangeBy(Change change) : change_(std::move(change)) {}
    std::string of(std::string_view text) const override { return change_(text); }

  private:
    Change change_;
};

}  // namespace internal

/// A sequence of steps. A text may grow to 64 times its length, no further.
class Normalizer {
  public:
    Normalizer() = default;
    /// From tokenizer.json (include cairn/io/tokenizer_json.hpp): Prepend, Replace, NFC, NFD, NFKC,
    /// NFKD, Lowercase, StripAccents, Strip, BertNormalizer, Precompiled, Sequence. Throws
    /// Error{bad_tokenizer}, Error{unsupported} naming what it does not know.
    Normalizer(const Json& json, const FileLimits& limits) { add(json, limits, 0); }
    /// Writes spaces visibly, after putting one in front if wanted.
    static Normalizer sentence(bool add_space_prefix) {
        Normalizer result;
        if (add_space_prefix) result.prepend(std::string(visible_space));
        result.replace(" ", std::string(visible_space));
        return result;
    }
    void prepend(std::string text) { steps_.push_back({Kind::prepend, {}, std::move(text)}); }
    /// The same unless it, or a space, is there already: everywhere, or only at the beginning of
    /// all.
    void prepend_missing(std::string text, TextPlace only) {
        steps_.push_back({only == TextPlace::begin ? Kind::prepend_first : Kind::prepend_missing,
                          {},
                          std::move(text)});
    }
    void replace(std::string from, std::string to) {
        steps_.push_back({Kind::replace, std::move(from), std::move(to)});
    }
    /// A step of another kind, told apart from others by a name and a number.
    template <class Change>
    void change(std::string name, std::uint64_t number, Change change) {
        steps_.push_back({Kind::other, std::move(name), {}});
        steps_.back().number = number;
        steps_.back().change = std::make_shared<internal::ChangeBy<Change>>(std::move(change));
    }
    void compose() { steps_.push_back({Kind::nfc, {}, {}}); }
    bool empty() const noexcept { return steps_.empty(); }
    /// Whether texts get a prefix.
    bool prepends() const noexcept {
        for (const Step& step : steps_)
            if (prefix(step.kind)) return true;
        return false;
    }
    /// Whether no space is left in a text.
    bool hides_spaces() const noexcept {
        for (const Step& step : steps_)
            if (step.kind == Kind::replace && step.from == " ") return true;
        return false;
    }

    /// Whether texts are brought to form C at most, or spaces are written visibly at most.
    bool only_composes() const noexcept {
        return std::all_of(steps_.begin(), steps_.end(),
                           [](const Step& step) { return step.kind == Kind::nfc; });
    }
    bool only_spaces() const noexcept {
        return std::all_of(steps_.begin(), steps_.end(), [](const Step& step) {
            return step.to == visible_space &&
                   (prefix(step.kind) || (step.kind == Kind::replace && step.from == " "));
        });
    }

    /// Adds the steps to a fingerprint.
    void hash(Fingerprint& to) const {
        for (const Step& step : steps_) {
            // All prefixes have one number, which files of sessions know.
            to.add(static_cast<std::uint64_t>(prefix(step.kind) ? Kind::prepend : step.kind));
            to.add(std::string_view(step.from));
            to.add(std::string_view(step.to));
            if (step.kind == Kind::other) to.add(step.number);
        }
    }
    /// Whether no text becomes shorter.
    bool never_shrinks() const noexcept {
        for (const Step& step : steps_)
            if (step.kind == Kind::nfc || step.kind == Kind::other ||
                step.to.size() < step.from.size())
                return false;
        return true;
    }

    /// The text after all steps. Throws Error{limit} if it grows too much.
    std::string apply(std::string_view text, TextPlace place = TextPlace::begin) const {
        std::string now(text);
        for (const Step& step : steps_) {
            if (now.empty()) break;
            std::string next;
            if (prefix(step.kind)) {
                const bool there = step.kind != Kind::prepend &&
                                   (now.starts_with(' ') || now.starts_with(step.to));
                const bool elsewhere =
                    step.kind == Kind::prepend_first && place != TextPlace::begin;
                if (there || elsewhere) continue;
                next = step.to + now;
            } else if (step.kind == Kind::nfc) {
                next = unicode_nfc(now);
            } else if (step.kind == Kind::other) {
                next = step.change->of(now);
            } else {
                for (std::size_t at = 0; at < now.size();) {
                    const std::size_t found = std::min(now.find(step.from, at), now.size());
                    next.append(now, at, found - at);
                    if (found < now.size()) next += step.to;
                    at = found < now.size() ? found + step.from.size() : found;
                    internal::check_growth(next.size(), text.size());
                }
            }
            internal::check_growth(next.size(), text.size());
            now = std::move(next);
        }
        return now;
    }

  private:
    enum class Kind : std::uint8_t { prepend, replace, nfc, prepend_missing, prepend_first, other };
    static bool prefix(Kind kind) noexcept {
        return kind == Kind::prepend || kind == Kind::prepend_missing ||
               kind == Kind::prepend_first;
    }
    struct Step {
        Kind kind;
        std::string from;
        std::string to;
        std::uint64_t number = 0;
        std::shared_ptr<const TextChange> change = nullptr;
    };
    bool add_letters(std::string_view type, const Json& json);
    void add(const Json& json, const FileLimits& limits, int depth);  // in tokenizer_json_steps.hpp
    std::vector<Step> steps_;
};

}}  // namespace cairn
