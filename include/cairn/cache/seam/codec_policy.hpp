// The first half of a cache's type: codecs as values. A codec policy says how the rows of any
// stream are written; its type is the choice at compile time, its members are its settings.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "cairn/cache/seam/facts.hpp"
#include "cairn/cache/seam/options.hpp"
#include "cairn/core/checked.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// How the rows of a stream are written: `plan(shape)`, called once a stream, or as a CodecTag.
/// Optional: `word` (its name in a SPEC), `facts` (static CodecFacts; checked against the plan).
template <class T>
concept CodecPolicy =
    std::copyable<T> && (CodecTag<T> || requires(const T& t, const StreamShape& shape) {
        { t.plan(shape) } -> std::convertible_to<StreamPlan>;
    });

/// A codec policy that makes something else of the rows of another one: what it is, and what it is
/// called, follows from that of `inner`.
template <class T>
concept CodecWrapper = requires(const T& t, const CodecFacts& inner) {
    t.inner;
    { T::over(inner) } -> std::same_as<CodecFacts>;
    { T::suffix } -> std::convertible_to<std::string_view>;
};

/// The static facts of a policy; those of plain rows where it says none.
template <class T>
constexpr CodecFacts codec_facts() {
    if constexpr (requires { T::facts; })
        return T::facts;
    else if constexpr (CodecWrapper<T>)
        return T::over(codec_facts<decltype(T::inner)>());
    else
        return {};
}

/// What a policy declares with the values it has; nothing: its plans say it.
template <class T>
std::optional<CodecFacts> codec_facts_now(const T& policy) {
    if constexpr (requires { policy.facts_now(); }) {
        return policy.facts_now();
    } else if constexpr (CodecWrapper<T>) {
        const std::optional<CodecFacts> inner = codec_facts_now(policy.inner);
        return inner ? std::optional(T::over(*inner)) : std::nullopt;
    } else if constexpr (requires { T::facts; }) {
        return T::facts;
    } else {
        return std::nullopt;
    }
}

/// The plan of a stream by a policy.
template <CodecPolicy T>
StreamPlan plan_of(const T& policy, const StreamShape& shape) {
    if constexpr (requires { policy.plan(shape); })
        return policy.plan(shape);
    else if (shape.keys)
        return T::keys();
    else
        return T::values();
}

namespace internal {

/// A codec policy of any type.
class CodecObject {
  public:
    virtual ~CodecObject() = default;
    virtual StreamPlan plan(const StreamShape& shape) const = 0;
    /// What the policy declares; nothing: its plans say it.
    virtual std::optional<CodecFacts> facts() const = 0;
    virtual std::string word() const = 0;
};

// What a policy calls itself in a SPEC; codecs without a word are called by their rows.
template <class T>
std::string codec_word(const T& policy) {
    if constexpr (requires { policy.spec(); })
        return policy.spec();
    else if constexpr (CodecWrapper<T>)
        return codec_word(policy.inner).append(T::suffix);
    else if constexpr (requires { T::word; })
        return spec_of(policy);
    else
        return "own";
}

template <CodecPolicy T>
class CodecHolder final : public CodecObject {
  public:
    explicit CodecHolder(T policy) : policy_(std::move(policy)) {}
    StreamPlan plan(const StreamShape& shape) const override { return plan_of(policy_, shape); }
    std::optional<CodecFacts> facts() const override { return codec_facts_now(policy_); }
    std::string word() const override { return codec_word(policy_); }

  private:
    [[no_unique_address]] T policy_;
};

}  // namespace internal

/// Any codec policy, chosen at run time; itself a codec policy, so wrappers take it.
class AnyCodec {
  public:
    AnyCodec() = default;
    template <class T>
    requires(!std::is_same_v<T, AnyCodec> && CodecPolicy<T>)
    AnyCodec(T policy)  // NOLINT(google-explicit-constructor)
        : object_(static_cast<const internal::CodecObject*>(
              new internal::CodecHolder<T>(std::move(policy)))) {}

    /// The forms of a stream. Error{bad_state} if nothing was chosen.
    StreamPlan plan(const StreamShape& shape) const { return object().plan(shape); }
    /// What it declares; nothing: its plans say it.
    std::optional<CodecFacts> facts_now() const { return object().facts(); }
    /// The word of a SPEC.
    std::string spec() const { return object().word(); }
    explicit operator bool() const noexcept { return object_ != nullptr; }

  private:
    const internal::CodecObject& object() const {
        require(object_ != nullptr, ErrorCode::bad_state, "no codec was chosen");
        return *object_;
    }
    std::shared_ptr<const internal::CodecObject> object_;
};

/// A stream as it will be written, and what is known of it.
struct PlannedStream {
    StreamPlan plan;
    CodecFacts facts;
};

/// The plan of a stream, its declared facts held against it. Throws Error{invalid_argument} if they
/// say otherwise than the rows that are written.
[[gnu::cold]] inline PlannedStream planned(const AnyCodec& codec, const StreamShape& shape) {
    PlannedStream result{codec.plan(shape), {}};
    if (result.plan.from_keys() && !shape.keys) {
        result.facts.leading = result.plan.leading;
        result.facts.kind = result.plan.kind;
        return result;
    }
    require(!result.plan.forms.empty(), ErrorCode::invalid_argument, "codec ", codec.spec(),
            " has no form to write rows in");
    result.facts = facts_of(result.plan);
    const std::optional<CodecFacts> said = codec.facts_now();
    if (!said) return result;
    const int unit = shape.keys ? said->key_unit : said->value_unit;
    require(unit % result.facts.key_unit == 0 && (result.facts.movable || !said->movable) &&
                (!result.facts.ages || said->ages),
            ErrorCode::invalid_argument, "codec ", codec.spec(), ": its facts say units of ", unit,
            " rows that ", said->movable ? "can" : "cannot", " be moved and ",
            said->ages ? "age" : "do not age", "; its rows come in units of ",
            result.facts.key_unit);
    result.facts.ages_twice = said->ages_twice;
    result.facts.nests = said->nests;
    return result;
}

}}  // namespace cairn
