// Which rows stay, as a value. A keep goes by position (it says which row numbers which queries
// see) or by score (it hands over a Scorer, and the cache does the rest).
#pragma once

#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cairn/cache/seam/facts.hpp"
#include "cairn/cache/seam/options.hpp"
#include "cairn/cache/seam/row_store.hpp"
#include "cairn/cache/seam/scorer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Rows [begin, end) that queries see alike: query q sees row j iff from <= q - j < window, and
/// stands at min(q - shift, max_query) for rotation, ALiBi and the model's window.
struct Interval {
    static constexpr int forever = std::numeric_limits<int>::max();
    int begin = 0;
    int end = 0;
    int from = 0;
    int window = forever;
    int shift = 0;
    int max_query = forever;
};

/// Intervals, rows ascending and apart.
using Intervals = std::vector<Interval>;

/// A keep by position. `extent` says what a store has to hold at once: the first `pinned` rows and
/// of the others the last `recent` ones (0: all of them). `intervals` says which rows a query at
/// `committed` or later, below `length`, may see; all that are displaced (shift, max_query) are so
/// by the same numbers. It may allocate, but must not throw for lengths it was asked about: the
/// cache asks while it stages, and a commit asks again. Where it throws nevertheless, the next
/// stage is Error{bad_state}, until a call of it succeeds (truncate, clear). Optional: `facts`
/// (static KeepFacts), `word`, `options`, `wrong()` (a sentence where its settings cannot work).
template <class K>
concept PositionalKeep = std::copyable<K> && requires(const K& keep, Intervals& to) {
    { keep.extent(1, 1) } -> std::convertible_to<Extent>;
    keep.intervals(0, 1, to);
};

/// A keep that chooses by score: `H2O<B>`, `SnapKv<B>`, ... or a scorer of your own.
template <class K>
concept ScoringKeep = std::copyable<K> && requires(const K& keep, const HeadLayout& layout) {
    { keep.scorer(layout) } -> std::convertible_to<std::shared_ptr<const Scorer>>;
};

/// Which rows stay, and who sees them.
template <class K>
concept Keep = PositionalKeep<K> || ScoringKeep<K>;

/// The static facts of a keep.
template <class K>
constexpr KeepFacts keep_facts() {
    if constexpr (requires { K::facts; })
        return K::facts;
    else
        return {ScoringKeep<K>, true};
}

namespace internal {

/// A keep of any type.
class KeepObject {
  public:
    virtual ~KeepObject() = default;
    virtual KeepFacts facts() const = 0;
    virtual std::string word() const = 0;
    virtual std::string label() const = 0;
    virtual Extent extent(int capacity, int chunk) const = 0;
    virtual void intervals(int committed, int length, Intervals& to) const = 0;
    virtual std::shared_ptr<const Scorer> scorer(const HeadLayout& layout) const = 0;
};

template <class K>
class KeepHolder final : public KeepObject {
  public:
    explicit KeepHolder(K policy) : policy_(std::move(policy)) {
        if constexpr (requires { policy_.wrong(); })
            require(policy_.wrong().empty(), ErrorCode::invalid_argument, K::word, ": ",
                    policy_.wrong());
    }
    KeepFacts facts() const override { return keep_facts<K>(); }
    std::string word() const override {
        if constexpr (requires { K::word; })
            return spec_of(policy_);
        else
            return "own";
    }
    std::string label() const override {
        if constexpr (requires { policy_.label(); })
            return policy_.label();
        else
            return word();
    }
    Extent extent(int capacity, int chunk) const override {
        if constexpr (PositionalKeep<K>)
            return policy_.extent(capacity, chunk);
        else
            return {capacity, 0, 0, 0};
    }
    void intervals(int committed, int length, Intervals& to) const override {
        if constexpr (PositionalKeep<K>) policy_.intervals(committed, length, to);
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout& layout) const override {
        if constexpr (ScoringKeep<K>)
            return policy_.scorer(layout);
        else
            return nullptr;
    }

  private:
    K policy_;
};

}  // namespace internal

/// Any keep, chosen at run time. Which of its functions say something follows from its facts.
class AnyKeep {
  public:
    AnyKeep() = default;
    template <class K>
    requires(!std::is_same_v<K, AnyKeep> && Keep<K>)
    AnyKeep(K policy)  // NOLINT(google-explicit-constructor)
        : object_(static_cast<const internal::KeepObject*>(
              new internal::KeepHolder<K>(std::move(policy)))) {}

    KeepFacts facts_now() const { return object().facts(); }
    /// The word and numbers of a SPEC.
    std::string spec() const { return object().word(); }
    /// What a saved cache calls it.
    std::string label() const { return object().label(); }
    Extent extent(int capacity, int chunk) const { return object().extent(capacity, chunk); }
    void intervals(int committed, int length, Intervals& to) const {
        object().intervals(committed, length, to);
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout& layout) const {
        return object().scorer(layout);
    }
    explicit operator bool() const noexcept { return object_ != nullptr; }

  private:
    const internal::KeepObject& object() const {
        require(object_ != nullptr, ErrorCode::bad_state, "no keep was chosen");
        return *object_;
    }
    std::shared_ptr<const internal::KeepObject> object_;
};

}}  // namespace cairn
