// What a cache is: anything with these members. The library's own is KvCache; docs/extend.md
// writes another one.
#pragma once

#include <concepts>
#include <cstddef>

#include "cairn/cache/seam/run.hpp"
#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Rows of tokens from outside a cache: row t at data + t * stride, its heads one after another.
struct TokenRows {
    const float* data = nullptr;
    std::ptrdiff_t stride = 0;  ///< floats from row to row
    int rows = 0;
};

/// What stage() wants of a layer's tokens. k: keys, keys before rotation, or the layer's input rows
/// ([rows][width], one head); v: values, or anything where they are read from the rows of k.
struct RowsWanted {
    RowKind keys = RowKind::ready;
    bool values = true;
    /// Not null: k and v are the input's coordinates in bases that this finds, one head of as many
    /// numbers as all KV heads have.
    FactorWeights* factored = nullptr;
    constexpr bool operator==(const RowsWanted&) const = default;
};

/// One layer's cache. stage() writes rows that only attention sees, commit(n) keeps the first n of
/// them and forgets the others, rollback() is commit(0); commit and rollback cannot fail.
template <class C>
concept AttentionCache =
    requires(C cache, const C& constant, TokenRows rows, RunList& runs, int n) {
        cache.stage(rows, rows);
        { cache.commit(n) } noexcept;
        { cache.rollback() } noexcept;
        cache.clear();
        { constant.runs(n, runs, runs) } -> std::same_as<void>;
        { constant.committed() } -> std::same_as<int>;
        { constant.length() } -> std::same_as<int>;
        { constant.capacity() } -> std::same_as<int>;
        { constant.max_rows() } -> std::same_as<int>;
        { constant.layout() } -> std::convertible_to<HeadLayout>;
        { constant.bytes() } -> std::convertible_to<std::size_t>;
        { constant.payload_bytes(n) } -> std::convertible_to<std::size_t>;
    };

/// A cache that can be cut back exactly, or says beforehand that it cannot.
template <class C>
concept Rewindable = AttentionCache<C> && requires(C cache, const C& constant, int n) {
    { constant.can_truncate(n) } -> std::same_as<bool>;
    cache.truncate(n);
};

/// A cache that can branch; rows are shared until one branch writes.
template <class C>
concept Forkable = AttentionCache<C> && requires(const C& constant) {
    { constant.fork() } -> std::same_as<C>;
};

/// A cache that can forget rows in its middle and have later queries stand nearer.
template <class C>
concept Shiftable = AttentionCache<C> && requires(C cache, const C& constant, int n) {
    { constant.can_drop(n, n) } -> std::same_as<bool>;
    { constant.can_close(n) } -> std::same_as<bool>;
    { constant.can_shift(n, n) } -> std::same_as<bool>;
    cache.drop(n, n);
    cache.close(n);
    cache.shift(n, n);
};

/// The longest distance between a query and a row it sees; the capacity for caches that do not say.
template <AttentionCache C>
int cache_span(const C& cache) {
    if constexpr (requires { cache.span(); })
        return cache.span();
    else
        return cache.capacity();
}
/// Whether tokens beyond a model's context may be fed.
template <AttentionCache C>
bool cache_streams(const C& cache) {
    if constexpr (requires { cache.streaming(); })
        return cache.streaming();
    else
        return false;
}
/// Whether a model whose queries see `window` keys can use the cache up to its capacity: rows
/// chosen by score do not say which of them a window leaves out.
template <AttentionCache C>
bool cache_serves_window(const C& cache, int window) {
    if constexpr (requires { cache.serves_window(window); })
        return cache.serves_window(window);
    else
        return true;
}
/// Whether commit(n) keeps n of more rows that are staged, as commit says; a keep by score may not.
template <AttentionCache C>
bool cache_commits_part(const C& cache) {
    if constexpr (requires { cache.commits_part(); })
        return cache.commits_part();
    else
        return true;
}
/// What stage() wants; keys and values for caches that do not say.
template <AttentionCache C>
RowsWanted cache_wants(const C& cache) {
    if constexpr (requires { cache.rows_wanted(); })
        return cache.rows_wanted();
    else
        return {};
}
/// Rows held now.
template <AttentionCache C>
int cache_held(const C& cache) {
    if constexpr (requires { cache.held(); })
        return cache.held();
    else
        return cache.committed();
}

/// A cache that a Session can make: from a layout and a capacity in rows.
template <class C>
concept SessionCache =
    AttentionCache<C> && std::constructible_from<C, const HeadLayout&, int> && std::movable<C>;

}}  // namespace cairn
