// The host class of all caches: rows in a Store (where bytes live, and through it a Codec) under a
// Keep (which rows stay).
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>

#include "cairn/cache/busy.hpp"
#include "cairn/cache/concepts.hpp"
#include "cairn/cache/keep/scorer.hpp"
#include "cairn/cache/position_rows.hpp"
#include "cairn/cache/scored_rows.hpp"
#include "cairn/cache/store/contiguous.hpp"
#include "cairn/core/fp_environment.hpp"

namespace cairn::inline CAIRN_ABI {

/// Where rows live: two streams made for a layout and an extent.
template <class S>
concept Store = std::constructible_from<S, const HeadLayout&, const Extent&> &&
    std::derived_from<S, StreamPair>;

/// A keep that goes by position: KeepAll, `WindowSinks<W, S>`.
template <class K>
concept PositionalKeep = std::derived_from<K, PositionKeep> && std::default_initializable<K>;

/// A keep that chooses by score: `H2O<B>`, `SnapKv<B>`, ... or a scorer of your own.
template <class K>
concept ScoringKeep = requires(const K& keep, const HeadLayout& layout) {
    { keep.scorer(layout) } -> std::convertible_to<std::shared_ptr<const Scorer>>;
};

/// Which rows stay, and who sees them.
template <class K>
concept Keep = PositionalKeep<K> || ScoringKeep<K>;

namespace detail {

// Whether old rows go to disk.
template <class S>
concept OnDisk = requires {
    requires S::on_disk;
};

// Whether address space ends at the capacity, so that no row can be dropped to have others come at
// higher numbers; a store chosen at run time says so itself.
template <class S>
concept Flat = requires {
    requires S::flat;
};

template <class S>
constexpr bool movable_rows() {
    if constexpr (requires { typename S::KeyTag; }) return !requires {
            S::KeyTag::ages;
        }
    &&!requires { S::ValueTag::ages; };
    else return true;
}

}  // namespace detail

/// One layer's keys and values for one sequence, for up to `capacity` tokens. Every operation
/// either succeeds or leaves the cache as it was. Movable; `fork` and `copy` branch it by name. One
/// thread at a time may change it (another one gets Error{concurrent_use}, and `commit`, which
/// cannot throw, waits); any number may branch it at once. After a move what acts
/// gets Error{bad_state}, and what asks gets zero, false or nothing; only layout() still says what
/// it was.
template <class S = Contiguous<F32>, class K = KeepAll>
class KvCache {
    static_assert(Store<S>,
                  "KvCache<Store, Keep>: the first argument must be a store such as "
                  "cairn::Contiguous<cairn::F16>; a codec alone has no place to live.");
    static_assert(Keep<K>,
                  "KvCache<Store, Keep>: the second argument must be a keep such as "
                  "cairn::KeepAll; it says which rows stay.");
    static_assert(!ScoringKeep<K> || detail::movable_rows<S>(),
                  "KvCache<Store, Keep>: a keep that chooses rows by score moves them one by one; "
                  "rows that share scales or change form with age (Kivi, Tiered) cannot be moved.");
    static_assert(!detail::OnDisk<S> || std::derived_from<K, KeepAll>,
                  "KvCache<Store, Keep>: a store that puts old rows on disk keeps all of them; a "
                  "keep that forgets rows needs a store in memory.");

  public:
    static constexpr bool scored = ScoringKeep<K>;
    /// Whether the types allow a context shift; the rest is can_shift's to say.
    static constexpr bool shiftable = !scored && !detail::Flat<S>;

    /// An empty cache. Throws Error{invalid_argument} for an impossible layout or a capacity below
    /// one, Error{out_of_memory} if the address space is not to be had.
    KvCache(const HeadLayout& layout, int capacity) requires std::default_initializable<K>
        : KvCache(layout, capacity, [&](const Extent& extent) { return S(layout, extent); }) {}
    /// The same with a store from `make(extent)`, for codecs chosen at run time.
    template <class Make>
    requires std::invocable<const Make&, const Extent&> KvCache(const HeadLayout& layout,
                                                                int capacity, const Make& make,
                                                                K keep = {})
        : rows_(make_rows(checked(layout, capacity), capacity, make, keep)) {}

    /// Encodes rows behind the last one; attention sees them, commit decides. k is
    /// [rows][kv_heads][key_dim], v [rows][kv_heads][value_dim]. Throws Error{shape_mismatch,
    /// capacity, invalid_argument, bad_state, non_finite}; then nothing has changed.
    void stage(TokenRows k, TokenRows v) {
        const BusyFlag::Hold hold(busy_, "the cache");
        const FpEnvironment environment;
        alive();
        rows_.stage(k, v);
    }
    /// Keeps the first `rows` staged rows (0..staged) and forgets the others. A keep that chooses
    /// by score keeps all of them or none.
    void commit(int rows) noexcept {
        const FpEnvironment environment;  // keeps that choose by score compare here
        const BusyFlag::Turn turn(busy_);
        if (here()) rows_.commit(rows);
    }
    /// Keeps all staged rows.
    void commit() noexcept {
        const BusyFlag::Turn turn(busy_);
        if (here()) rows_.commit(rows_.length() - rows_.committed());
    }
    /// Forgets all staged rows.
    void rollback() noexcept { commit(0); }
    /// stage + commit: rows that are known to stay.
    void append(TokenRows k, TokenRows v) {
        const BusyFlag::Hold hold(busy_, "the cache");
        alive();
        rows_.stage(k, v);
        rows_.commit(rows_.length() - rows_.committed());
    }

    /// Whether `truncate(rows)` would succeed: always where all rows are kept in one form; as far
    /// back as nothing was forgotten or grew old; only to nothing where rows are chosen by score.
    bool can_truncate(int rows) const noexcept {
        const BusyFlag::Share share(busy_);
        return share && here() && rows_.can_truncate(rows);
    }
    /// Forgets all but the first `rows` committed rows, and all staged ones. Error{bad_state}.
    void truncate(int rows) {
        const BusyFlag::Hold hold(busy_, "the cache");
        alive();
        require(can_truncate(rows), ErrorCode::bad_state, "truncate to ", rows,
                " rows: the cache has ", committed(), " and cannot go back so far");
        rows_.truncate(rows);
    }
    /// Forgets everything; address space and pages stay for the next sequence.
    void clear() { truncate(0); }
    /// Whether `drop(begin, end)` would succeed.
    bool can_drop(int begin, int end) const noexcept requires shiftable {
        const BusyFlag::Share share(busy_);
        return share && here() && rows_.can_drop(begin, end);
    }
    /// Forgets rows [begin, end) in the middle; the others keep their numbers and distances. Needs
    /// a paged store and all rows kept; what is dropped later must adjoin what is gone.
    /// Error{bad_state}.
    void drop(int begin, int end) requires shiftable {
        const BusyFlag::Hold hold(busy_, "the cache");
        alive();
        require(can_drop(begin, end), ErrorCode::bad_state, "drop rows ", begin, " to ", end,
                ": the cache has ", committed());
        rows_.drop(begin, end);
    }
    /// Whether `close(rows)` would succeed.
    bool can_close(int rows) const noexcept requires shiftable {
        const BusyFlag::Share share(busy_);
        return share && here() && rows_.can_close(rows);
    }
    /// Closes `rows` rows of the hole that drop() left: later queries stand so much nearer to what
    /// is before it, and as many more tokens fit. Keys stay as they are. Error{bad_state}.
    void close(int rows) requires shiftable {
        const BusyFlag::Hold hold(busy_, "the cache");
        alive();
        require(can_close(rows), ErrorCode::bad_state, "close ", rows,
                " rows of a hole: so many were not dropped");
        rows_.close(rows);
    }
    /// Whether `shift(keep, rows)` would succeed.
    bool can_shift(int keep, int rows) const noexcept requires shiftable {
        const BusyFlag::Share share(busy_);
        if (!share) return false;
        const int gone = rows_.dropped();
        return rows > 0 && rows <= committed() && (gone == 0 || keep == rows_.hole()) &&
               keep >= 0 && keep <= committed() - gone && rows <= committed() - gone - keep &&
               can_drop(keep + gone, keep + gone + rows);
    }
    /// Context shift, drop and close in one: forgets `rows` rows behind the first `keep` ones that
    /// are there. Keys stay as they are;
    /// later queries stand nearer to the front. Not the same as a prompt without these rows: what
    /// is left was computed while they were seen. Error{bad_state}.
    void shift(int keep, int rows) {
        static_assert(!scored,
                      "KvCache::shift: rows are chosen by score, which have no place to shift to.");
        static_assert(
            !detail::Flat<S>,
            "KvCache::shift: this store's address space ends at the capacity (Contiguous, "
            "Mapped, Tiered, Spilled); Paged has room for what comes after a shift.");
        if constexpr (shiftable) {
            const BusyFlag::Hold hold(busy_, "the cache");
            alive();
            require(can_shift(keep, rows), ErrorCode::bad_state, "shift by ", rows, " rows behind ",
                    keep, ": the cache has ", committed());
            const int begin = keep + rows_.dropped();
            rows_.drop(begin, begin + rows);
            rows_.close(rows);
        }
    }

    /// Announces that a prompt ends before position `end`: keeps that choose rows at a prompt's
    /// end, or evict at every step, wait for it. Others do nothing. Error{bad_state,
    /// invalid_argument}.
    void expect_prompt(int end) {
        const BusyFlag::Hold hold(busy_, "the cache");
        alive();
        if constexpr (scored) rows_.expect_prompt(end);
        (void)end;
    }
    /// Rows at positions [begin, end) are never evicted, of this sequence and of those after a
    /// clear. Error{invalid_argument, limit}.
    void pin(int begin, int end) requires scored {
        const BusyFlag::Hold hold(busy_, "the cache");
        alive();
        rows_.pin(begin, end);
    }

    /// A branch with the same committed rows, shared until one of the two writes.
    KvCache fork() const {
        const BusyFlag::Share share(busy_, "the cache");
        alive();
        return KvCache(rows_.fork());
    }
    /// A deep copy: costs the bytes of all committed rows.
    KvCache copy() const {
        const BusyFlag::Share share(busy_, "the cache");
        alive();
        return KvCache(rows_.copy());
    }

    /// The runs of one KV head, valid until the next stage.
    void runs(int kv_head, RunList& keys, RunList& values) const noexcept {
        keys.clear();
        values.clear();
        if (here()) rows_.runs(kv_head, keys, values);
    }

    // Scores for keeps that choose by them; attention calls these.
    bool wants_scores(int query) const requires scored {
        return here() && rows_.wants_scores(query);
    }
    bool wants_queries() const noexcept requires scored { return here() && rows_.wants_queries(); }
    void on_queries(int kv_head, const float* q, int count, int position) requires scored {
        const FpEnvironment environment;
        if (here()) rows_.on_queries(kv_head, q, count, position);
    }
    void on_scores(int kv_head, const float* p, int begin, int end) noexcept requires scored {
        const FpEnvironment environment;
        if (here()) rows_.on_scores(kv_head, p, begin, end);
    }

    /// Tokens that stay; committed() <= length() = committed + staged.
    int committed() const noexcept { return here() ? rows_.committed() : 0; }
    int length() const noexcept { return here() ? rows_.length() : 0; }
    int capacity() const noexcept { return here() ? rows_.capacity() : 0; }
    /// Rows that one stage may bring now.
    int max_rows() const noexcept { return here() ? rows_.max_rows() : 0; }
    /// The longest distance between a query and a row it sees: a model's context must reach so far.
    int span() const noexcept { return here() ? rows_.span() : 0; }
    /// Whether tokens beyond a model's context may be fed, because old rows are forgotten.
    bool streaming() const noexcept { return here() && rows_.streaming(); }
    /// Whether a model whose queries see `window` keys can use it up to its capacity.
    bool serves_window(int window) const noexcept { return !scored || window >= capacity(); }
    /// Rows held now, of the head that holds most.
    int held() const noexcept { return here() ? rows_.held(rows_.committed()) : 0; }
    const HeadLayout& layout() const noexcept { return rows_.layout(); }

    /// Textbook bytes after `rows` tokens: rows held x kv_heads x (key + value bytes).
    /// Error{invalid_argument, limit}.
    std::size_t payload_bytes(int rows) const {
        require(rows >= 0 && rows <= row_limit, ErrorCode::invalid_argument, "payload of ", rows,
                " rows; 0 to ", row_limit, " are possible");
        return here() ? rows_.payload_bytes(rows) : 0;
    }
    /// Bytes of memory in use, rounding to tiles, pages and blocks included.
    std::size_t bytes() const noexcept { return here() ? rows_.bytes() : 0; }

    /// Writes the committed rows, or reads them into this empty cache. Throws Error{bad_state} if
    /// rows are staged or there to be replaced, and what the archive throws; then nothing has
    /// changed.
    void archive(CacheArchive& archive) {
        const BusyFlag::Hold hold(busy_, "the cache");
        alive();
        rows_.archive(archive);
    }

    /// The streams of keys and values: for views, pools and session files.
    const StreamPair& streams() const noexcept { return rows_.streams(); }
    /// The bookkeeping behind this cache, for session files and tests.
    const auto& bookkeeping() const noexcept { return rows_; }
    auto& bookkeeping() noexcept { return rows_; }

  private:
    using Bookkeeping = std::conditional_t<scored, detail::ScoredRows, detail::PositionRows>;
    explicit KvCache(Bookkeeping rows) : rows_(std::move(rows)) {}
    template <class Make>
    static Bookkeeping make_rows(const HeadLayout& layout, int capacity, const Make& make,
                                 const K& keep) {
        const auto pair = [&](const Extent& extent) -> StreamPair { return make(extent); };
        if constexpr (scored)
            return Bookkeeping(layout, capacity, keep.scorer(layout), layer_of(keep), pair);
        else
            return Bookkeeping(layout, capacity, keep, pair);
    }
    static int layer_of(const K& keep) noexcept {
        if constexpr (requires { keep.layer; })
            return keep.layer;
        else
            return 0;
    }
    static const HeadLayout& checked(const HeadLayout& layout, int capacity) {
        validate(layout);
        for (const int dim : {layout.key_dim, layout.value_dim})
            require(std::int64_t{layout.heads} * dim <= row_limit, ErrorCode::invalid_argument,
                    "head layout: ", layout.heads, " heads of ", dim, " numbers; ", row_limit,
                    " numbers a row are possible");
        require(capacity > 0 && capacity <= row_limit, ErrorCode::invalid_argument,
                "cache capacity ", capacity, "; 1 to ", row_limit, " rows are possible");
        return layout;
    }
    bool here() const noexcept { return rows_.streams().keys().valid(); }
    void alive() const { require(here(), ErrorCode::bad_state, "the cache was moved from"); }

    Bookkeeping rows_;
    mutable BusyFlag busy_;
};

}  // namespace cairn::inline CAIRN_ABI
