// The run-time choice of a cache, at the edge of the library: a thin shell around any KvCache.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <utility>

#include "cairn/cache/cache_ref.hpp"
#include "cairn/cache/kv_cache.hpp"

namespace cairn::inline CAIRN_ABI {

namespace detail {

/// What is left of a cache after a move: it holds nothing and takes nothing.
class MovedCache {
  public:
    void stage(TokenRows, TokenRows) { refuse(); }
    void commit(int) noexcept {}
    void rollback() noexcept {}
    void clear() { refuse(); }
    void expect_prompt(int) { refuse(); }
    void runs(int, RunList& keys, RunList& values) const noexcept {
        keys.clear();
        values.clear();
    }
    int committed() const noexcept { return 0; }
    int length() const noexcept { return 0; }
    int capacity() const noexcept { return 0; }
    int max_rows() const noexcept { return 0; }
    HeadLayout layout() const noexcept { return {}; }
    std::size_t bytes() const noexcept { return 0; }
    std::size_t payload_bytes(int) const noexcept { return 0; }
    [[noreturn]] static void refuse() { fail(ErrorCode::bad_state, "the cache was moved from"); }
    /// It has no state: one serves all.
    static MovedCache& instance() noexcept {
        static MovedCache cache;
        return cache;
    }
};

}  // namespace detail

/// Owns a cache of any type that can be truncated, forked and copied. One indirect call an
/// operation. After a move what acts gets Error{bad_state}, and what asks gets zero, false or
/// nothing.
class AnyCache {
  public:
    template <class C>
    requires(Rewindable<C>&& Forkable<C> && !std::same_as<C, AnyCache>) explicit AnyCache(C cache)
        : self_(std::make_unique<Holder<C>>(std::move(cache))) {}

    void stage(TokenRows k, TokenRows v) { ref().stage(k, v); }
    void commit(int rows) noexcept { ref().commit(rows); }
    void rollback() noexcept { commit(0); }
    bool can_truncate(int rows) const { return self_ && self_->can_truncate(rows); }
    void truncate(int rows) { self().truncate(rows); }
    void clear() { truncate(0); }
    bool can_drop(int begin, int end) const { return self_ && self_->can(Edit::drop, begin, end); }
    void drop(int begin, int end) { self().edit(Edit::drop, begin, end); }
    bool can_close(int rows) const { return self_ && self_->can(Edit::close, rows, 0); }
    void close(int rows) { self().edit(Edit::close, rows, 0); }
    bool can_shift(int keep, int rows) const {
        return self_ && self_->can(Edit::shift, keep, rows);
    }
    void shift(int keep, int rows) { self().edit(Edit::shift, keep, rows); }
    AnyCache fork() const { return AnyCache(self().fork()); }
    AnyCache copy() const { return AnyCache(self().copy()); }
    void runs(int kv_head, RunList& keys, RunList& values) const {
        ref().runs(kv_head, keys, values);
    }
    void expect_prompt(int end) { ref().expect_prompt(end); }
    bool wants_scores(int query) const { return ref().wants_scores(query); }
    bool wants_queries() const { return ref().wants_queries(); }
    void on_queries(int kv_head, const float* q, int count, int position) {
        ref().on_queries(kv_head, q, count, position);
    }
    void on_scores(int kv_head, const float* p, int begin, int end) {
        ref().on_scores(kv_head, p, begin, end);
    }
    int committed() const { return ref().committed(); }
    int length() const { return ref().length(); }
    int capacity() const { return ref().capacity(); }
    int max_rows() const { return ref().max_rows(); }
    HeadLayout layout() const { return ref().layout(); }
    int span() const { return self_ ? self_->span() : 0; }
    bool streaming() const { return self_ && self_->streaming(); }
    bool serves_window(int window) const { return self_ && self_->serves_window(window); }
    int held() const { return self_ ? self_->held() : 0; }
    std::size_t payload_bytes(int rows) const { return self_ ? self_->payload_bytes(rows) : 0; }
    std::size_t bytes() const { return self_ ? self_->bytes() : 0; }
    /// Writes or reads what is behind; see cache/archive.hpp. Error{unsupported} for caches that
    /// have no form on disk.
    void archive(CacheArchive& archive) { self().archive(archive); }

    /// The cache itself as attention sees it, one indirection less.
    CacheRef ref() const noexcept {
        return self_ ? self_->ref() : CacheRef(detail::MovedCache::instance());
    }
    /// The streams behind it, for pools and statistics; null if it is a cache of one's own.
    const StreamPair* streams() const noexcept { return self_ ? self_->streams() : nullptr; }

  private:
    enum class Edit : std::uint8_t { drop, close, shift };
    struct Interface {
        virtual ~Interface() = default;
        virtual CacheRef ref() noexcept = 0;
        virtual bool can_truncate(int rows) const = 0;
        virtual void truncate(int rows) = 0;
        virtual bool can(Edit edit, int a, int b) const = 0;
        virtual void edit(Edit edit, int a, int b) = 0;
        virtual const StreamPair* streams() const noexcept = 0;
        virtual std::unique_ptr<Interface> fork() const = 0;
        virtual std::unique_ptr<Interface> copy() const = 0;
        virtual int span() const = 0;
        virtual bool streaming() const = 0;
        virtual bool serves_window(int window) const = 0;
        virtual int held() const = 0;
        virtual std::size_t payload_bytes(int rows) const = 0;
        virtual std::size_t bytes() const = 0;
        virtual void archive(CacheArchive& archive) = 0;
    };
    template <class C>
    struct Holder final : Interface {
        explicit Holder(C held) : cache(std::move(held)) {}
        CacheRef ref() noexcept override { return cache; }
        bool can_truncate(int rows) const override { return cache.can_truncate(rows); }
        void truncate(int rows) override { cache.truncate(rows); }
        bool can(Edit edit, int a, int b) const override {
            if constexpr (Shiftable<C>) switch (edit) {
                    case Edit::drop: return cache.can_drop(a, b);
                    case Edit::close: return cache.can_close(a);
                    case Edit::shift: return cache.can_shift(a, b);
                }
            return (void)edit, (void)a, (void)b, false;
        }
        void edit(Edit edit, int a, int b) override {
            if constexpr (Shiftable<C>) switch (edit) {
                    case Edit::drop: return cache.drop(a, b);
                    case Edit::close: return cache.close(a);
                    case Edit::shift: return cache.shift(a, b);
                }
            fail(ErrorCode::bad_state, "drop, close or shift (", a, ", ", b,
                 "): this cache cannot forget rows in its middle");
        }
        const StreamPair* streams() const noexcept override {
            if constexpr (requires { cache.streams(); })
                return &cache.streams();
            else
                return nullptr;
        }
        std::unique_ptr<Interface> fork() const override {
            return std::make_unique<Holder>(cache.fork());
        }
        std::unique_ptr<Interface> copy() const override {
            return std::make_unique<Holder>(cache.copy());
        }
        int span() const override { return cache_span(cache); }
        bool streaming() const override { return cache_streams(cache); }
        bool serves_window(int window) const override { return cache_serves_window(cache, window); }
        int held() const override { return cache_held(cache); }
        std::size_t payload_bytes(int rows) const override { return cache.payload_bytes(rows); }
        std::size_t bytes() const override { return cache.bytes(); }
        void archive(CacheArchive& archive) override {
            if constexpr (requires { cache.archive(archive); })
                cache.archive(archive);
            else
                fail(ErrorCode::unsupported, "this cache has no form on disk");
        }
        C cache;
    };
    explicit AnyCache(std::unique_ptr<Interface> self) : self_(std::move(self)) {}
    Interface& self() const {
        if (!self_) detail::MovedCache::refuse();
        return *self_;
    }
    std::unique_ptr<Interface> self_;
};

}  // namespace cairn::inline CAIRN_ABI
