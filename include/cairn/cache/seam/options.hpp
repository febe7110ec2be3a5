// The settings of a policy by name, said once: read from the words of a SPEC, printed in canonical
// form, and listed in help texts.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Whether a SPEC has an option's number.
enum class Given : std::uint8_t {
    maybe,        ///< the policy's default stands in where it is left out
    always,       ///< a SPEC that names the policy has to give it
    unless_zero,  ///< as maybe, and the canonical form leaves 0 out
};

/// One setting, as a policy describes it in its
///   template <class Self, class Visit> static void options(Self& self, Visit&& visit) {
///       visit(Option{"", "rows a block", 1}, self.block_rows);
///   }
/// The one without a name stands right behind the policy's word. Numbers are integers; a
/// std::string takes a text, as a file's name, in which no comma and no colon can be.
struct Option {
    std::string_view name;
    std::string_view help;
    std::int64_t least = 0;
    Given given = Given::maybe;
};

/// A policy that has settings.
template <class T>
concept HasOptions = requires(T& policy) { T::options(policy, [](const Option&, auto&) {}); };

namespace internal {

// A value in a help text, and in the canonical form.
template <class T>
constexpr std::string_view shown_value(const T&) noexcept {
    return std::integral<T> ? "=N" : "=FILE";
}
template <std::integral T>
std::string spelled(T value) {
    return std::to_string(value);
}
inline const std::string& spelled(const std::string& value) { return value; }
template <class T>
requires requires(const T& value) { value.word(); }
std::string spelled(const T& value) {
    return std::string(value.word());
}

// The most that a number of a SPEC may be: row numbers end there.
inline constexpr std::int64_t most_option = std::int64_t{1} << 30;

/// Words of a SPEC being read into a policy: "paged=16,blocks=2000".
class OptionReader {
  public:
    /// `whole` is the SPEC, for errors; `known` what the choices are.
    OptionReader(std::string_view words, std::string_view whole, std::string_view known)
        : words_(words), whole_(whole), known_(known) {}

    /// Fills the policy. Throws Error{usage} for a name or a number that it does not take.
    template <class Policy>
    void read(Policy& policy) {
        std::string_view rest = words_;
        bool first = true;
        while (first || !rest.empty()) {
            const std::size_t comma = rest.find(',');
            const std::string_view word = rest.substr(0, comma);
            rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
            read_word(policy, word, first);
            if (first)
                if constexpr (requires { policy.settle(); }) policy.settle();
            first = false;
        }
        if constexpr (requires { policy.wrong(); })
            if (const std::string_view sentence = policy.wrong(); !sentence.empty())
                refuse(sentence);
    }

  private:
    template <class... Parts>
    [[noreturn]] void refuse(const Parts&... parts) const {
        fail(ErrorCode::usage, "cache SPEC \"", whole_, "\": ", parts...);
    }
    template <class Policy>
    void read_word(Policy& policy, std::string_view word, bool first) {
        const std::size_t equals = word.find('=');
        const std::string_view name = first ? std::string_view() : word.substr(0, equals);
        const bool given = equals != std::string_view::npos;
        bool taken = first && !given;
        if constexpr (HasOptions<Policy>)
            Policy::options(policy, [&](const Option& option, auto& value) {
                if (option.name != name || (!first && name.empty())) return;
                if (!given && first && option.given == Given::always)
                    refuse(word, " needs ", shown_value(value), ", ", option.help);
                if (!given) return;
                set(word, word.substr(equals + 1), option, value);
                taken = true;
            });
        if (taken) return;
        if (first) refuse(word.substr(0, equals), " takes no number");
        refuse(words_.substr(0, words_.find_first_of("=,")), " has no option \"",
               word.substr(0, 40), "\"; known: ", known_);
    }
    void set(std::string_view word, std::string_view text, const Option& option,
             std::string& value) {
        if (text.empty()) refuse("\"", word.substr(0, 40), "\" is empty: ", option.help);
        value = std::string(text);
    }
    // A value that a word of text stands for: a file.
    template <class T>
    requires requires(std::string_view word) { T::from_word(word); }
    void set(std::string_view word, std::string_view text, const Option& option, T& value) {
        if (text.empty()) refuse("\"", word.substr(0, 40), "\" needs a ", option.help);
        value = T::from_word(text);
    }
    template <std::integral T>
    void set(std::string_view word, std::string_view digits, const Option& option, T& value) {
        std::int64_t parsed = 0;
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), parsed);
        if (error != std::errc() || end != digits.data() + digits.size() || parsed < option.least ||
            parsed > most_option)
            refuse("\"", word.substr(0, 40), "\" needs a number from ", option.least, " to ",
                   most_option);
        value = static_cast<T>(parsed);
    }
    std::string_view words_;
    std::string_view whole_;
    std::string_view known_;
};

}  // namespace internal

/// A policy as a SPEC writes it: its word, the value behind it, its other settings.
template <class Policy>
std::string spec_of(const Policy& policy) {
    std::string text(Policy::word);
    if constexpr (HasOptions<Policy>)
        Policy::options(policy, [&](const Option& option, const auto& value) {
            using Value = std::remove_cvref_t<decltype(value)>;
            if constexpr (requires { value.word(); })
                if (value.word().empty()) return;
            if constexpr (std::integral<Value>)
                if (option.given == Given::unless_zero && value == 0) return;
            if (!option.name.empty()) text.append(",").append(option.name);
            text.append("=").append(internal::spelled(value));
        });
    return text;
}

/// A policy as a help text shows it: "window=N[,sinks=N]".
template <class Policy>
std::string usage_of() {
    std::string text(Policy::word);
    if constexpr (HasOptions<Policy>) {
        const Policy policy{};
        Policy::options(policy, [&](const Option& option, const auto& value) {
            const bool needed = option.given == Given::always;
            text.append(needed ? "" : "[").append(option.name.empty() ? "" : ",");
            text.append(option.name).append(internal::shown_value(value));
            text.append(needed ? "" : "]");
        });
    }
    return text;
}

}}  // namespace cairn
