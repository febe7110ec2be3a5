// One layer's cache for one sequence, whatever it is made of: the library's own from a store and a
// keep, or any class that meets the concepts.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cairn/cache/internal/host_cache.hpp"
#include "cairn/cache/internal/moved_cache.hpp"
#include "cairn/cache/internal/page_book.hpp"
#include "cairn/cache/seam/cache_ref.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Owns a cache. Every operation either succeeds or leaves the cache as it was. Movable; `fork` and
/// `copy` branch it by name. One thread at a time may change it (another one gets
/// Error{concurrent_use}, and `commit`, which cannot throw, waits); any number may branch it at
/// once. After a move what acts gets Error{bad_state}, and what asks gets zero, false or nothing.
class AnyCache {
  protected:
    // Which bookkeepings are compiled: a type that names its keep needs one of them.
    enum class Books : std::uint8_t { any, by_position, by_score };

  public:
    /// The library's cache of a store under a keep, empty, for up to `capacity` tokens of layer
    /// `layer`. Throws Error{invalid_argument} for an impossible layout, a capacity below one, or
    /// policies that cannot work together (seam/facts.hpp has the sentences), Error{out_of_memory}
    /// if the address space cannot be had. A template, so that who makes none compiles none.
    template <Books books = Books::any>
    AnyCache(const HeadLayout& layout, int capacity, const AnyStore& store, AnyKeep keep,
             int layer = 0)
        : AnyCache(layout, capacity, store, std::move(keep), AnyRead(), layer) {}
    /// The same whose queries read what `read` chooses.
    template <Books books = Books::any>
    AnyCache(const HeadLayout& layout, int capacity, const AnyStore& store, AnyKeep keep,
             const AnyRead& read, int layer = 0)
        : self_(made<books>(layout, capacity, store, std::move(keep), read, layer)) {}
    /// A cache of one's own that can be truncated and forked (and copied: see `copy`).
    template <class C>
    requires(Rewindable<C> && Forkable<C> && !std::derived_from<C, AnyCache>)
    explicit AnyCache(C cache) : self_(std::make_unique<Holder<C>>(std::move(cache))) {}

    AnyCache(AnyCache&&) noexcept = default;
    AnyCache& operator=(AnyCache&&) noexcept = default;

    /// Encodes rows behind the last one; attention sees them, commit decides. k is
    /// [rows][kv_heads][key_dim], v [rows][kv_heads][value_dim], for caches of other rows what
    /// rows_wanted() says. Throws Error{shape_mismatch,
    /// capacity, invalid_argument, bad_state, non_finite}; then nothing has changed.
    void stage(TokenRows k, TokenRows v) { ref().stage(k, v); }
    /// Keeps the first `rows` staged rows (0..staged) and forgets the others. A keep that chooses
    /// by score keeps all of them or none: `commits_part` tells.
    void commit(int rows) noexcept { ref().commit(rows); }
    bool commits_part() const noexcept { return ref().commits_part(); }
    /// Keeps all staged rows.
    void commit() noexcept {
        if (self_ != nullptr) self_->commit_all();
    }
    /// Forgets all staged rows.
    void rollback() noexcept { commit(0); }
    /// stage + commit: rows that are known to stay.
    void append(TokenRows k, TokenRows v) { self().append(k, v); }

    /// Whether `truncate(rows)` would succeed: always where all rows are kept in one form; as far
    /// back as nothing was forgotten or grew old; only to nothing where rows are chosen by score.
    bool can_truncate(int rows) const noexcept {
        return self_ != nullptr && self_->can_truncate(rows);
    }
    /// Forgets all but the first `rows` committed rows, and all staged ones. Error{bad_state}.
    void truncate(int rows) { self().truncate(rows); }
    /// Forgets everything; address space and pages stay for the next sequence.
    void clear() { truncate(0); }
    /// Whether `drop(begin, end)` would succeed.
    bool can_drop(int begin, int end) const noexcept { return can(Edit::drop, begin, end); }
    /// Forgets rows [begin, end) in the middle; the others keep their numbers and distances. Needs
    /// a paged store and all rows kept; what is dropped later must adjoin what is gone.
    /// Error{bad_state}.
    void drop(int begin, int end) { self().edit(Edit::drop, begin, end); }
    /// Whether `close(rows)` would succeed.
    bool can_close(int rows) const noexcept { return can(Edit::close, rows, 0); }
    /// Closes `rows` rows of the hole that drop() left: later queries stand so much nearer to what
    /// is before it, and as many more tokens fit. Keys stay as they are. Error{bad_state}.
    void close(int rows) { self().edit(Edit::close, rows, 0); }
    /// Whether `shift(keep, rows)` would succeed.
    bool can_shift(int keep, int rows) const noexcept { return can(Edit::shift, keep, rows); }
    /// Context shift, drop and close in one: forgets `rows` rows behind the first `keep` ones that
    /// are there. Keys stay as they are; later queries stand nearer to the front. Not the same as a
    /// prompt without these rows: what is left was computed while they were seen.
    /// Error{bad_state}.
    void shift(int keep, int rows) { self().edit(Edit::shift, keep, rows); }

    /// Announces that a prompt ends before position `end`: keeps that choose rows at a prompt's
    /// end, or evict at every step, wait for it. Others do nothing. Error{bad_state,
    /// invalid_argument}.
    void expect_prompt(int end) { ref().expect_prompt(end); }
    /// Rows at positions [begin, end) are never evicted, of this sequence and of those after a
    /// clear. Error{invalid_argument, limit}, or Error{unsupported} where rows go by position.
    void pin(int begin, int end) { self().pin(begin, end); }

    /// A branch with the same committed rows, shared until one of the two writes.
    AnyCache fork() const { return AnyCache(self().fork()); }
    /// A deep copy: costs the bytes of all committed rows. Error{unsupported} for a cache of one's
    /// own without copy().
    AnyCache copy() const { return AnyCache(self().copy()); }

    /// The runs of one KV head, valid until the next stage.
    void runs(int kv_head, RunList& keys, RunList& values) const noexcept {
        ref().runs(kv_head, keys, values);
    }
    /// What stage() wants: keys and values, or what they are made of.
    RowsWanted rows_wanted() const { return ref().rows_wanted(); }
    /// Runs of a stream at most, now.
    int most_runs() const { return ref().most_runs(); }
    /// How queries choose the rows they read; null: they read all.
    const RowsRead* rows_read() const { return ref().rows_read(); }
    // Scores for keeps that choose by them; attention calls these.
    bool wants_scores(int query) const { return ref().wants_scores(query); }
    bool wants_queries() const { return ref().wants_queries(); }
    bool wants_notes(int query) const { return ref().wants_notes(query); }
    void on_notes(int kv_head, const NotedQueries& queries) { ref().on_notes(kv_head, queries); }
    void on_queries(int kv_head, const float* q, int count, int position) {
        ref().on_queries(kv_head, q, count, position);
    }
    void on_scores(int kv_head, const float* p, int begin, int end) {
        ref().on_scores(kv_head, p, begin, end);
    }

    /// Tokens that stay; committed() <= length() = committed + staged.
    int committed() const noexcept { return ref().committed(); }
    int length() const noexcept { return ref().length(); }
    int capacity() const noexcept { return ref().capacity(); }
    /// Rows that one stage may bring now.
    int max_rows() const noexcept { return ref().max_rows(); }
    HeadLayout layout() const noexcept { return ref().layout(); }
    /// The longest distance between a query and a row it sees: a model's context must reach so far.
    int span() const noexcept { return self_ != nullptr ? self_->span() : 0; }
    /// Whether tokens beyond a model's context may be fed, because old rows are forgotten.
    bool streaming() const noexcept { return self_ != nullptr && self_->streaming(); }
    /// Whether a model whose queries see `window` keys can use it up to its capacity.
    bool serves_window(int window) const noexcept {
        return self_ != nullptr && self_->serves_window(window);
    }
    /// Rows held now, of the head that holds most.
    int held() const noexcept { return self_ != nullptr ? self_->held() : 0; }
    /// Positions of the rows that a KV head holds for the next query, ascending.
    std::vector<int> positions(int kv_head) const {
        internal::OwnRuns all(most_runs());
        runs(kv_head, all.keys, all.values);
        std::vector<int> found;
        for (const Run& run : all.keys)
            for (int row = run.begin; row < run.end; ++row) {
                const int at = run.positions != nullptr ? run.positions[row] : row + run.offset;
                if (at >= 0) found.push_back(at);
            }
        std::sort(found.begin(), found.end());
        return found;
    }
    /// Textbook bytes after `rows` tokens: rows held x kv_heads x (key + value bytes).
    std::size_t payload_bytes(int rows) const {
        return self_ != nullptr ? self_->payload_bytes(rows) : 0;
    }
    /// Bytes of memory in use, rounding to tiles, pages and blocks included.
    std::size_t bytes() const noexcept { return self_ != nullptr ? self_->bytes() : 0; }
    /// How full the pool is that blocks of its keys come from, of all caches that share it; that of
    /// its values has as many.
    PoolUse pool_use() const noexcept { return self_ != nullptr ? self_->pool_use() : PoolUse{}; }

    /// Writes the committed rows, or reads them into this empty cache. Throws Error{bad_state} if
    /// rows are staged or there to be replaced, Error{unsupported} for caches that have no form on
    /// disk, and what the archive throws; then nothing has changed.
    void archive(CacheArchive& archive) { self().archive(archive); }
    /// This cache lies behind `before`, that of the layer before, which outlives it: some codecs
    /// write and read rows with those of that layer. A CacheSet calls it; others do nothing.
    void bind(const AnyCache& before) noexcept {
        if (self_ != nullptr && before.self_ != nullptr) self_->bind(*before.self_);
    }
    /// The cache itself as attention sees it, one indirection less.
    CacheRef ref() const noexcept {
        return self_ != nullptr ? self_->ref() : CacheRef(internal::MovedCache::instance());
    }

  private:
    enum class Edit : std::uint8_t { drop, close, shift };
    struct Interface {
        virtual ~Interface() = default;
        virtual CacheRef ref() noexcept = 0;
        virtual void append(TokenRows k, TokenRows v) = 0;
        virtual void commit_all() noexcept = 0;
        virtual bool can_truncate(int rows) const noexcept = 0;
        virtual void truncate(int rows) = 0;
        virtual bool can(Edit edit, int a, int b) const noexcept = 0;
        virtual void edit(Edit edit, int a, int b) = 0;
        virtual void pin(int begin, int end) = 0;
        virtual std::unique_ptr<Interface> fork() const = 0;
        virtual std::unique_ptr<Interface> copy() const = 0;
        virtual int span() const noexcept = 0;
        virtual bool streaming() const noexcept = 0;
        virtual bool serves_window(int window) const noexcept = 0;
        virtual int held() const noexcept = 0;
        virtual std::size_t payload_bytes(int rows) const = 0;
        virtual std::size_t bytes() const noexcept = 0;
        virtual PoolUse pool_use() const noexcept = 0;
        virtual void archive(CacheArchive& archive) = 0;
        virtual void bind(const Interface& before) noexcept = 0;
        virtual const void* as(const void* type) const noexcept = 0;
    };
    template <class C>
    struct Holder final : Interface {
        [[gnu::cold]] explicit Holder(C held) : cache(std::move(held)) {}
        CacheRef ref() noexcept override { return cache; }
        void append(TokenRows k, TokenRows v) override {
            if constexpr (requires { cache.append(k, v); }) {
                cache.append(k, v);
            } else {
                cache.stage(k, v);
                cache.commit(k.rows);
            }
        }
        void commit_all() noexcept override {
            if constexpr (requires { cache.commit_all(); })
                cache.commit_all();
            else
                cache.commit(cache.length() - cache.committed());
        }
        bool can_truncate(int rows) const noexcept override { return cache.can_truncate(rows); }
        [[gnu::cold]] void truncate(int rows) override { cache.truncate(rows); }
        [[gnu::cold]] bool can(Edit edit, int a, int b) const noexcept override {
            if constexpr (Shiftable<C>) {
                if (edit == Edit::drop) return cache.can_drop(a, b);
                return edit == Edit::close ? cache.can_close(a) : cache.can_shift(a, b);
            }
            return (void)edit, (void)a, (void)b, false;
        }
        [[gnu::cold]] void edit(Edit edit, int a, int b) override {
            if constexpr (Shiftable<C>) {
                if (edit == Edit::drop) return cache.drop(a, b);
                return edit == Edit::close ? cache.close(a) : cache.shift(a, b);
            }
            fail(ErrorCode::bad_state, "drop, close or shift (", a, ", ", b,
                 "): this cache cannot forget rows in its middle");
        }
        [[gnu::cold]] void pin(int begin, int end) override {
            if constexpr (requires { cache.pin(begin, end); })
                cache.pin(begin, end);
            else
                fail(ErrorCode::unsupported, "pin rows ", begin, " to ", end,
                     ": this cache's rows go by position");
        }
        [[gnu::cold]] std::unique_ptr<Interface> fork() const override {
            return std::make_unique<Holder>(cache.fork());
        }
        [[gnu::cold]] std::unique_ptr<Interface> copy() const override {
            if constexpr (requires { cache.copy(); })
                return std::make_unique<Holder>(cache.copy());
            else
                fail(ErrorCode::unsupported, "this cache has no copy");
        }
        int span() const noexcept override { return cache_span(cache); }
        bool streaming() const noexcept override { return cache_streams(cache); }
        bool serves_window(int window) const noexcept override {
            return cache_serves_window(cache, window);
        }
        int held() const noexcept override { return cache_held(cache); }
        std::size_t payload_bytes(int rows) const override { return cache.payload_bytes(rows); }
        std::size_t bytes() const noexcept override { return cache.bytes(); }
        PoolUse pool_use() const noexcept override {
            if constexpr (requires { cache.pool_use(); })
                return cache.pool_use();
            else
                return {};
        }
        [[gnu::cold]] void archive(CacheArchive& archive) override {
            if constexpr (requires { cache.archive(archive); })
                cache.archive(archive);
            else
                fail(ErrorCode::unsupported, "this cache has no form on disk");
        }
        [[gnu::cold]] void bind(const Interface& before) noexcept override {
            (void)before;
            if constexpr (requires(const C& other) { cache.bind(other); })
                if (const void* other = before.as(&type)) cache.bind(*static_cast<const C*>(other));
        }
        const void* as(const void* wanted) const noexcept override {
            return wanted == &type ? &cache : nullptr;
        }
        static constexpr char type = 0;  // its address tells types of caches apart
        C cache;
    };

  protected:
    explicit AnyCache(std::unique_ptr<Interface> self) : self_(std::move(self)) {}

    template <Books books>
    static std::unique_ptr<Interface> made(const HeadLayout& layout, int capacity,
                                           const AnyStore& store, AnyKeep keep, const AnyRead& read,
                                           int layer);

  private:
    bool can(Edit edit, int a, int b) const noexcept {
        return self_ != nullptr && self_->can(edit, a, b);
    }
    Interface& self() const {
        if (self_ == nullptr) internal::MovedCache::refuse();
        return *self_;
    }
    std::unique_ptr<Interface> self_;
};

// Not inline: g++ compiles inline functions even where the compiled library has them.
template <AnyCache::Books books>
[[gnu::cold]] std::unique_ptr<AnyCache::Interface> AnyCache::made(const HeadLayout& layout,
                                                                  int capacity,
                                                                  const AnyStore& store,
                                                                  AnyKeep keep, const AnyRead& read,
                                                                  int layer) {
    using namespace internal;
    validate(layout);
    require(capacity > 0 && capacity <= row_limit, ErrorCode::invalid_argument, "cache capacity ",
            capacity, "; 1 to ", row_limit, " rows are possible");
    for (const int dim : {layout.key_dim, layout.value_dim})
        require(std::int64_t{layout.heads} * dim <= row_limit, ErrorCode::invalid_argument,
                "head layout: ", layout.heads, " heads of ", dim, " numbers; ", row_limit,
                " numbers a row are possible");
    require(layout.input >= 0 && layout.input <= row_limit, ErrorCode::invalid_argument,
            "head layout: inputs of ", layout.input, " numbers; 0 to ", row_limit, " are possible");
    const KeepFacts facts = keep.facts_now();
    FixedVector<StreamSpec> specs =
        plan_streams(store, facts, read.facts_now(), layout, layer).streams;
    if constexpr (books != Books::by_position)
        if (facts.by_score)
            return std::make_unique<Holder<HostCache<SlotBook>>>(HostCache(
                SlotBook(layout, capacity, store, keep.scorer(layout), layer, std::move(specs))));
    if constexpr (books != Books::by_score)
        if (!facts.by_score)
            return std::make_unique<Holder<HostCache<PositionBook>>>(
                HostCache(PositionBook(layout, capacity, store, std::move(keep),
                                       read.pages(layout, capacity, layer), std::move(specs))));
    fail(ErrorCode::invalid_argument, "keep ", keep.spec(), ": its facts say ",
         facts.by_score ? "by score" : "by position", ", its type does not");
}

#if defined(CAIRN_EXTERN_IO)
// The compiled library has the caches of all policies: programs over it compile none.
#if defined(CAIRN_IO_IMPLEMENTATION)
#define CAIRN_CACHES_OF template
#else
#define CAIRN_CACHES_OF extern template
#endif
CAIRN_CACHES_OF std::unique_ptr<AnyCache::Interface> AnyCache::made<AnyCache::Books::any>(
    const HeadLayout&, int, const AnyStore&, AnyKeep, const AnyRead&, int);
CAIRN_CACHES_OF std::unique_ptr<AnyCache::Interface> AnyCache::made<AnyCache::Books::by_position>(
    const HeadLayout&, int, const AnyStore&, AnyKeep, const AnyRead&, int);
CAIRN_CACHES_OF std::unique_ptr<AnyCache::Interface> AnyCache::made<AnyCache::Books::by_score>(
    const HeadLayout&, int, const AnyStore&, AnyKeep, const AnyRead&, int);
#undef CAIRN_CACHES_OF
#endif

}}  // namespace cairn
