// A cache as a point on its axes, chosen by types: rows in a Store (where bytes live, and through
// it a Codec) under a Keep (which rows stay) and a Read (which of them queries read). What cannot
// work is one sentence from the compiler.
#pragma once

#include <type_traits>
#include <utility>

#include "cairn/cache/any_cache.hpp"
#include "cairn/cache/keep/keep_all.hpp"
#include "cairn/cache/read/read_all.hpp"
#include "cairn/cache/store/contiguous.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// The facts of types; defaults where a type is no policy, so that the sentence about that comes
// alone.
template <class S, class K, class R>
constexpr CacheFacts static_facts() {
    CacheFacts facts;
    if constexpr (StorePolicy<S>) {
        facts.store = store_facts<S>();
        facts.keys = codec_facts<decltype(S::keys)>();
        facts.values = codec_facts<decltype(S::values)>();
    }
    if constexpr (Keep<K>) facts.keep = keep_facts<K>();
    if constexpr (ReadPolicy<R>) facts.read = read_facts<R>();
    return facts;
}

}  // namespace internal

/// AnyCache with its policies in its type; the values of both may still be chosen at run time:
/// KvCache<Paged<F16>>(layout, 4096, {.block_rows = 32}). Moves into an AnyCache.
template <class S = Contiguous<F32>, class K = KeepAll, class R = ReadAll>
class KvCache : public AnyCache {
    static_assert(StorePolicy<S>,
                  "KvCache<Store, Keep>: the first argument must be a store such as "
                  "cairn::Contiguous<cairn::F16>; a codec alone has no place to live.");
    static_assert(Keep<K>,
                  "KvCache<Store, Keep>: the second argument must be a keep such as "
                  "cairn::KeepAll; it says which rows stay.");
    static_assert(ReadPolicy<R>,
                  "KvCache<Store, Keep, Read>: the third argument must be a read such as "
                  "cairn::ReadAll; it says which rows a query reads.");
    static constexpr CacheFacts f = internal::static_facts<S, K, R>();
#define CAIRN_STATIC_RULE(predicate, sentence) \
    static_assert(predicate, "KvCache<Store, Keep>: " sentence);
    CAIRN_CACHE_RULES(CAIRN_STATIC_RULE)
#undef CAIRN_STATIC_RULE

  public:
    static constexpr bool scored = f.keep.by_score;
    /// Whether the types allow a context shift; the rest is can_shift's to say.
    static constexpr bool shiftable = !scored && !f.store.flat && !f.read.few;

    /// An empty cache. Throws what AnyCache's constructor throws.
    KvCache(const HeadLayout& layout, int capacity, const S& store = {}, const K& keep = {},
            int layer = 0)
        : KvCache(layout, capacity, store, keep, R{}, layer) {}
    /// The same with the settings of a read.
    KvCache(const HeadLayout& layout, int capacity, const S& store, const K& keep, const R& read,
            int layer = 0)
        : AnyCache(made<books>(layout, capacity, store, keep, as_read(read), layer)) {}

    /// The cache of a layer of a model, where layers may keep or read
    /// differently.
    static KvCache of_layer(int layer, const HeadLayout& layout, int capacity)
    requires(f.read.few || requires { K::by_layer; })
    {
        return KvCache(layout, capacity, S{}, K{}, R{}, layer);
    }

    /// A branch with the same committed rows, shared until one of the two writes.
    KvCache fork() const { return KvCache(AnyCache::fork()); }
    /// A deep copy: costs the bytes of all committed rows.
    KvCache copy() const { return KvCache(AnyCache::copy()); }
    // What the types exclude is not there, so that code may ask for it (Shiftable).
    bool can_drop(int begin, int end) const noexcept
    requires shiftable
    {
        return AnyCache::can_drop(begin, end);
    }
    void drop(int begin, int end)
    requires shiftable
    {
        AnyCache::drop(begin, end);
    }
    bool can_close(int rows) const noexcept
    requires shiftable
    {
        return AnyCache::can_close(rows);
    }
    void close(int rows)
    requires shiftable
    {
        AnyCache::close(rows);
    }
    bool can_shift(int keep, int rows) const noexcept
    requires shiftable
    {
        return AnyCache::can_shift(keep, rows);
    }
    void pin(int begin, int end)
    requires scored
    {
        AnyCache::pin(begin, end);
    }
    /// Context shift; see AnyCache::shift.
    void shift(int keep, int rows) {
        static_assert(!scored,
                      "KvCache::shift: rows are chosen by score, which have no place to shift to.");
        static_assert(
            !f.store.flat,
            "KvCache::shift: this store's address space ends at the capacity, and no row has room "
            "behind it; a store of blocks has.");
        static_assert(!f.read.few,
                      "KvCache::shift: pages of rows are known by all of their keys; none can go.");
        AnyCache::shift(keep, rows);
    }

  private:
    // Who reads all rows compiles no policy for it.
    static AnyRead as_read(const R& read) {
        if constexpr (std::is_same_v<R, ReadAll>)
            return (void)read, AnyRead();
        else
            return read;
    }
    static constexpr Books books = std::is_same_v<K, AnyKeep> ? Books::any
                                   : scored                   ? Books::by_score
                                                              : Books::by_position;

    explicit KvCache(AnyCache cache) : AnyCache(std::move(cache)) {}
};

#undef CAIRN_CACHE_RULES

}}  // namespace cairn
