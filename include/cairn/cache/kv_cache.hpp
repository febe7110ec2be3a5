// The host class of all caches: bookkeeping of rows over a Store (where bytes live, and through it
// a Codec) and a Keep (which rows stay).
#pragma once

#include <limits>
#include <utility>

#include "cairn/cache/busy.hpp"
#include "cairn/cache/concepts.hpp"
#include "cairn/cache/keep/all.hpp"
#include "cairn/cache/store/contiguous.hpp"

namespace cairn::inline CAIRN_ABI {

/// Where rows live: two streams, and room on request. Stores with a `share` can fork.
template <class S>
concept Store = std::movable<S> && requires(S store, const S& constant, Run& run, int n) {
    store.reserve(n, n);
    constant.keys().locate(n, run);
    constant.values().locate(n, run);
    { constant.keys().bytes() } -> std::convertible_to<std::size_t>;
};

/// Which rows stay, and who sees them.
template <class K>
concept Keep = std::default_initializable<K> && requires(const K& keep, Run& run, int n) {
    keep.rows(n, run);
    { keep.can_truncate(n, n) } -> std::same_as<bool>;
};

/// One layer's keys and values for one sequence, up to `capacity` rows. Every operation either
/// succeeds or leaves the cache as it was. Movable; `fork` and `copy` branch it by name.
/// One thread at a time may change it (another one gets Error{concurrent_use}).
template <class S = Contiguous<F32>, class K = KeepAll>
class KvCache {
    static_assert(Store<S>,
                  "KvCache<Store, Keep>: the first argument must be a store such as "
                  "cairn::Contiguous<cairn::F16>; a codec alone has no place to live.");
    static_assert(Keep<K>,
                  "KvCache<Store, Keep>: the second argument must be a keep such as "
                  "cairn::KeepAll; it says which rows stay.");

  public:
    /// An empty cache. Throws Error{invalid_argument} for an impossible layout or a capacity below
    /// one, Error{out_of_memory} if the address space is not to be had.
    KvCache(const HeadLayout& layout,
            int capacity) requires std::constructible_from<S, const HeadLayout&, int>
        : layout_(checked(layout, capacity)), capacity_(capacity), store_(layout, capacity) {}
    /// The same over a store made elsewhere, for this layout and capacity.
    KvCache(const HeadLayout& layout, int capacity, S store)
        : layout_(checked(layout, capacity)), capacity_(capacity), store_(std::move(store)) {}

    /// Encodes rows behind the last one; attention sees them, commit decides. k is
    /// [rows][kv_heads][key_dim], v [rows][kv_heads][value_dim]. Throws Error{shape_mismatch,
    /// capacity, invalid_argument, bad_state}; then nothing has changed.
    void stage(TokenRows k, TokenRows v) {
        const BusyFlag::Hold hold(busy_, "the cache");
        alive();
        require(k.rows == v.rows, ErrorCode::shape_mismatch, "stage: ", k.rows, " key rows and ",
                v.rows, " value rows");
        require(k.rows >= 0 && (k.rows == 0 || (k.data != nullptr && v.data != nullptr)),
                ErrorCode::invalid_argument, "stage: ", k.rows, " rows at a null pointer");
        require(k.rows <= capacity_ - length_, ErrorCode::capacity, "cache full: ", k.rows,
                " more rows do not fit, ", length_, " of ", capacity_, " are used");
        if (k.rows == 0) return;
        store_.reserve(length_, length_ + k.rows);
        store_.keys().write(length_, k.rows, k.data, k.stride);
        store_.values().write(length_, v.rows, v.data, v.stride);
        length_ += k.rows;
    }
    /// Keeps the first `rows` staged rows (0..staged) and forgets the others.
    void commit(int rows) noexcept {
        committed_ += rows < length_ - committed_ ? rows : length_ - committed_;
        length_ = committed_;
    }
    /// Keeps all staged rows.
    void commit() noexcept { committed_ = length_; }
    /// Forgets all staged rows.
    void rollback() noexcept { commit(0); }
    /// stage + commit: rows that are known to stay.
    void append(TokenRows k, TokenRows v) {
        stage(k, v);
        commit();
    }

    /// Whether `truncate(rows)` would succeed.
    bool can_truncate(int rows) const noexcept { return keep_.can_truncate(rows, committed_); }
    /// Forgets all but the first `rows` committed rows, and all staged ones. Error{bad_state}.
    void truncate(int rows) {
        const BusyFlag::Hold hold(busy_, "the cache");
        require(can_truncate(rows), ErrorCode::bad_state, "truncate to ", rows,
                " rows: the cache has ", committed_);
        committed_ = length_ = rows;
    }
    /// Forgets everything; address space and pages stay for the next sequence.
    void clear() { truncate(0); }

    /// A branch with the same committed rows, shared until one of the two writes.
    KvCache fork() const requires requires(const S& store) { store.share(); }
    {
        alive();
        return KvCache(*this, S(store_.share()));
    }
    /// A deep copy: costs the bytes of all committed rows.
    KvCache copy() const {
        alive();
        return KvCache(*this, S(store_.copy(committed_)));
    }

    /// The runs of one KV head, valid until the next stage.
    void runs(int kv_head, RunList& keys, RunList& values) const noexcept {
        keys.clear();
        values.clear();
        Run run;
        keep_.rows(length_, run);
        store_.keys().locate(kv_head, run);
        keys.push(run);
        store_.values().locate(kv_head, run);
        values.push(run);
    }

    /// Rows that stay; committed() <= length() = committed + staged.
    int committed() const noexcept { return committed_; }
    int length() const noexcept { return length_; }
    int capacity() const noexcept { return capacity_; }
    /// Rows that one stage may bring: no limit but the capacity here.
    int max_rows() const noexcept { return capacity_; }
    const HeadLayout& layout() const noexcept { return layout_; }

    /// Textbook bytes of `rows` rows: rows x kv_heads x (key + value bytes).
    std::size_t payload_bytes(int rows) const {
        return store_.keys().payload_bytes(rows) + store_.values().payload_bytes(rows);
    }
    /// Bytes of memory in use, rounding to tiles and pages included.
    std::size_t bytes() const noexcept { return store_.keys().bytes() + store_.values().bytes(); }

    const S& store() const noexcept { return store_; }

  private:
    KvCache(const KvCache& other, S store)
        : layout_(other.layout_),
          capacity_(other.capacity_),
          store_(std::move(store)),
          keep_(other.keep_),
          committed_(other.committed_),
          length_(other.committed_) {}

    static const HeadLayout& checked(const HeadLayout& layout, int capacity) {
        validate(layout);
        require(capacity > 0 && capacity <= max_capacity, ErrorCode::invalid_argument,
                "cache capacity ", capacity, "; 1 to ", max_capacity, " rows are possible");
        return layout;
    }
    void alive() const {
        require(store_.keys().valid(), ErrorCode::bad_state, "the cache was moved from");
    }
    static constexpr int max_capacity = std::numeric_limits<int>::max() - 1024;

    HeadLayout layout_;
    int capacity_;
    S store_;
    K keep_{};
    int committed_ = 0;
    int length_ = 0;
    BusyFlag busy_;
};

}  // namespace cairn::inline CAIRN_ABI
