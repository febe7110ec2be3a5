// The interface of keeps that choose rows by what attention made of them, or by the rows
// themselves. A scorer says which queries it listens to and, when a head holds more rows than the
// budget, which of them stay; the cache does the rest. docs/extend.md writes one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cairn/cache/seam/head_rows.hpp"
#include "cairn/core/error.hpp"
#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The rows of one KV head when rows must go, in storage order.
struct HeldRows {
    int kv_head;
    int layer;                       ///< as the cache was told; 0 for a cache by itself
    int prompt_end;                  ///< of the announced prompt; 0: none
    int length;                      ///< tokens fed: the newest row is at length - 1
    int budget;                      ///< rows of this head that may stay
    std::span<const int> positions;  ///< of each row; -1: no row here
    /// Sum of the probabilities each row received from the queries that were listened to, or its
    /// distance (Scorer::signature), or what Scorer::score made of it.
    std::span<const float> scores;
};

/// A row among those of all heads.
struct RankedRow {
    double worth;
    int head;
    int position;
};

/// When rows are chosen.
enum class Evicts : std::uint8_t {
    at_prompt_end,     ///< once, when the announced prompt is complete; later rows all stay
    at_every_step,     ///< after the announced prompt, at every commit that exceeds the budget
    before_attending,  ///< as each new row comes, before its query reads; scores are distances
};

/// Which rows of a head stay.
class Scorer {
  public:
    virtual ~Scorer() = default;
    /// Rows that a KV head may hold once the budget applies.
    virtual int budget(int kv_head) const = 0;
    /// The same where it depends on the layer or on the announced prompt's end (0: none).
    virtual int budget_of(int kv_head, int layer, int prompt_end) const {
        (void)layer, (void)prompt_end;
        return budget(kv_head);
    }
    virtual Evicts when() const = 0;
    /// Whether the probabilities of a query at this position are added to the scores. Asked with
    /// the announced prompt's end (0: none announced).
    virtual bool listens(int query, int prompt_end) const = 0;
    /// Sets keep[i] = 1 for the rows that stay: at most `budget` of those with a position. Ties go
    /// to the later position. Must depend on nothing but `rows` and must not allocate: it runs
    /// inside a commit, which cannot fail. `order` is scratch of the rows' size.
    virtual void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                        std::span<int> order) const = 0;
    /// How good a row is in the order that `choose` fills its budget in; infinite where it always
    /// stays. Where heads share a budget, rows of different heads are compared by it.
    virtual double worth(const HeldRows& rows, int i) const {
        return static_cast<double>(rows.scores[static_cast<std::size_t>(i)]);
    }
    /// Whether the heads of a layer share its budget (at_prompt_end only): `spread` then says how
    /// many rows each may keep, before they are chosen.
    virtual bool spreads() const { return false; }
    /// budgets[h] comes with budget_of(h); the sum stays. `room` has an entry for every row of all
    /// heads. Must not allocate.
    virtual void spread(std::span<const HeldRows> heads, std::span<int> budgets,
                        std::span<RankedRow> room) const {
        (void)heads, (void)budgets, (void)room;
    }
    /// A few bits that stand for a row of `dims` numbers (before_attending only): rows are scored
    /// by the Hamming distance between their bits and the query's, summed over the head's group.
    virtual std::uint32_t signature(const float* row, int dims) const {
        (void)row;
        (void)dims;
        return 0;
    }
    /// Whether the new key itself stands for its query in that comparison.
    virtual bool key_is_query() const { return false; }
    /// Whether `score` makes the scores of the rows themselves, in place of probabilities.
    virtual bool reads_rows() const { return false; }
    /// Scores of the rows that have a position, from their keys and values as attention reads them
    /// and from the notes of queries (at_prompt_end and at_every_step only). Called where rows must
    /// go, before they are chosen. Must depend on nothing but what it is given, in an order of
    /// additions that no compiler changes, and must not allocate.
    virtual void score(HeadRows& rows, std::span<float> scores) const { (void)rows, (void)scores; }
    /// Doubles of scratch that `score` wants for a head of `slots` rows.
    virtual std::size_t room(const HeadLayout& layout, std::size_t slots) const {
        (void)layout, (void)slots;
        return 0;
    }
    /// Doubles that a KV head's queries are summed up in while the announced prompt is read; 0:
    /// none. Then `note` hears the queries that are listened to, positions ascending.
    virtual std::size_t notes(const HeadLayout& layout) const {
        (void)layout;
        return 0;
    }
    virtual void note(const NotedQueries& queries, std::span<double> notes) const {
        (void)queries, (void)notes;
    }
    /// The word and numbers of a cache SPEC.
    virtual std::string name() const = 0;
};

/// A budget of rows for every KV head, or one for each.
class Budget {
  public:
    Budget(int rows) : rows_{rows} { check(); }               // NOLINT(google-explicit-constructor)
    Budget(std::vector<int> rows) : rows_(std::move(rows)) {  // NOLINT(google-explicit-constructor)
        check();
    }
    int of(int kv_head) const noexcept {
        return rows_[std::min(static_cast<std::size_t>(kv_head), rows_.size() - 1)];
    }

  private:
    void check() const {
        require(!rows_.empty(), ErrorCode::invalid_argument, "a budget for no head");
        for (const int rows : rows_)
            require(rows > 0, ErrorCode::invalid_argument, "a budget of ", rows, " rows");
    }
    std::vector<int> rows_;
};

namespace internal {

// A reference to any `number(int)`, so that ordering rows is compiled once for all of them.
struct WorthRef {
    const void* object;
    double (*call)(const void*, int);
    double operator()(int row) const { return call(object, row); }
};

// Marks the `count` best of the rows in `order`.
inline void keep_best_of(const HeldRows& rows, int count, WorthRef worth,
                         std::span<std::uint8_t> keep, std::span<int> order) {
    count = std::clamp(count, 0, static_cast<int>(order.size()));
    const auto better = [&](int a, int b) {
        const double x = worth(a);
        const double y = worth(b);
        return x != y ? x > y
                      : rows.positions[static_cast<std::size_t>(a)] >
                            rows.positions[static_cast<std::size_t>(b)];
    };
    std::nth_element(order.begin(), order.begin() + count, order.end(), better);
    for (int i = 0; i < count; ++i)
        keep[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = 1;
}

}  // namespace internal

/// Keeps the `count` best of the rows that `candidate(i)` admits; the number `worth(i)` says how
/// good, ties go to the later position. The tool that most scorers are made of.
template <class Candidate, class Worth>
void keep_best(const HeldRows& rows, int count, const Candidate& candidate, const Worth& worth,
               std::span<std::uint8_t> keep, std::span<int> order) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < rows.positions.size(); ++i)
        if (rows.positions[i] >= 0 && keep[i] == 0 && candidate(static_cast<int>(i)))
            order[n++] = static_cast<int>(i);
    internal::keep_best_of(
        rows, count,
        {&worth,
         [](const void* object, int row) {
             return static_cast<double>((*static_cast<const Worth*>(object))(row));
         }},
        keep, order.first(n));
}

/// Keeps the `recent` last rows by age and fills the budget with the best of the others by score.
inline void keep_recent_and_best(const HeldRows& rows, int recent, std::span<std::uint8_t> keep,
                                 std::span<int> order) {
    const auto all = [](int) { return true; };
    keep_best(
        rows, recent, all, [&](int i) { return rows.positions[static_cast<std::size_t>(i)]; }, keep,
        order);
    keep_best(
        rows, rows.budget - recent, all,
        [&](int i) { return rows.scores[static_cast<std::size_t>(i)]; }, keep, order);
}

namespace internal {
constexpr bool recent_in_budget(int budget, int recent) noexcept {
    return budget > 0 && recent >= 0 && recent <= budget;
}
}  // namespace internal

}}  // namespace cairn
