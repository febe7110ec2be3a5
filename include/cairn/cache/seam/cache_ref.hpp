// A reference to any cache, for code that is compiled once for all of them. It does not own.
#pragma once

#include "cairn/cache/seam/concepts.hpp"

namespace cairn { inline namespace CAIRN_ABI {

class RowsRead;

/// Two pointers, the cache and its functions, and how they may be used. Valid as long as the
/// cache.
class CacheRef {
  public:
    template <AttentionCache C>
    requires(!std::same_as<C, CacheRef>)
    CacheRef(C& cache) noexcept  // NOLINT(google-explicit-constructor)
        : object_(&cache), functions_(&table<C>) {}

    /// The same cache for a layer that attends what another one staged: it reads rows and changes
    /// nothing, and no keep hears of its queries. `stage` throws Error{bad_state}.
    CacheRef reader() const noexcept {
        CacheRef result = *this;
        result.reads_ = true;
        return result;
    }

    /// The same cache, whose rows are read by the coarse codecs of their codecs where there are
    /// some: for drafts. What is staged through it is written as ever.
    CacheRef coarse() const noexcept {
        CacheRef result = *this;
        result.coarse_ = true;
        return result;
    }

    void stage(TokenRows k, TokenRows v) const {
        require(!reads_, ErrorCode::bad_state, "stage: ", k.rows,
                " rows of a layer that follows another one");
        functions_->stage(object_, k, v);
    }
    void commit(int rows) const noexcept {
        if (!reads_) functions_->commit(object_, rows);
    }
    void rollback() const noexcept { commit(0); }
    /// Whether commit of fewer rows than are staged keeps these; else it forgets them all.
    bool commits_part() const { return functions_->commits_part(object_); }
    void runs(int kv_head, RunList& keys, RunList& values) const {
        functions_->runs(object_, kv_head, keys, values);
        if (!coarse_) return;
        for (RunList* list : {&keys, &values})
            for (int i = 0; i < list->size(); ++i)
                if (const Codec* coarse = (*list)[i].codec->coarse) (*list)[i].codec = coarse;
    }
    int committed() const { return functions_->committed(object_); }
    int length() const { return functions_->length(object_); }
    int capacity() const { return functions_->capacity(object_); }
    int max_rows() const { return functions_->max_rows(object_); }
    HeadLayout layout() const { return functions_->layout(object_); }
    /// What stage() wants.
    RowsWanted rows_wanted() const { return functions_->rows_wanted(object_); }
    /// Runs of a stream at most, now: room for a RunList.
    int most_runs() const { return functions_->most_runs(object_); }

    // What keeps that choose rows by score ask for; nothing for the others.
    void expect_prompt(int end) const {
        if (!reads_) functions_->expect_prompt(object_, end);
    }
    bool wants_scores(int query) const {
        return !reads_ && functions_->wants_scores(object_, query);
    }
    bool wants_queries() const { return !reads_ && functions_->wants_queries(object_); }
    void on_queries(int kv_head, const float* q, int count, int position) const {
        if (!reads_) functions_->on_queries(object_, kv_head, q, count, position);
    }
    void on_scores(int kv_head, const float* p, int begin, int end) const {
        if (!reads_) functions_->on_scores(object_, kv_head, p, begin, end);
    }
    /// How queries choose the rows they read; null: they read all.
    const RowsRead* rows_read() const { return functions_->rows_read(object_); }
    bool wants_notes(int query) const { return !reads_ && functions_->wants_notes(object_, query); }
    void on_notes(int kv_head, const struct NotedQueries& queries) const {
        if (!reads_) functions_->on_notes(object_, kv_head, queries);
    }
    /// For caches that watch what attention makes of them (models/audit.hpp).
    void on_attended(const struct Attended& attended) const {
        if (functions_->on_attended != nullptr) functions_->on_attended(object_, attended);
    }

  private:
    struct Functions {
        void (*stage)(void*, TokenRows, TokenRows);
        void (*commit)(void*, int) noexcept;
        bool (*commits_part)(const void*);
        void (*runs)(const void*, int, RunList&, RunList&);
        int (*committed)(const void*);
        int (*length)(const void*);
        int (*capacity)(const void*);
        int (*max_rows)(const void*);
        HeadLayout (*layout)(const void*);
        RowsWanted (*rows_wanted)(const void*);
        int (*most_runs)(const void*);
        void (*expect_prompt)(void*, int);
        bool (*wants_scores)(const void*, int);
        bool (*wants_queries)(const void*);
        void (*on_queries)(void*, int, const float*, int, int);
        void (*on_scores)(void*, int, const float*, int, int);
        bool (*wants_notes)(const void*, int);
        void (*on_notes)(void*, int, const NotedQueries&);
        void (*on_attended)(void*, const Attended&);
        const RowsRead* (*rows_read)(const void*);
    };
    template <class C>
    static constexpr auto watcher() -> void (*)(void*, const Attended&) {
        if constexpr (requires(C& c, const Attended& a) { c.on_attended(a); })
            return [](void* o, const Attended& a) { static_cast<C*>(o)->on_attended(a); };
        else
            return nullptr;
    }
    template <class C>
    static const C& as(const void* object) noexcept {
        return *static_cast<const C*>(object);
    }
    template <class C>
    static constexpr Functions table{
        [](void* o, TokenRows k, TokenRows v) { static_cast<C*>(o)->stage(k, v); },
        [](void* o, int rows) noexcept { static_cast<C*>(o)->commit(rows); },
        [](const void* o) { return cache_commits_part(as<C>(o)); },
        [](const void* o, int head, RunList& k, RunList& v) { as<C>(o).runs(head, k, v); },
        [](const void* o) { return as<C>(o).committed(); },
        [](const void* o) { return as<C>(o).length(); },
        [](const void* o) { return as<C>(o).capacity(); },
        [](const void* o) { return as<C>(o).max_rows(); },
        [](const void* o) -> HeadLayout { return as<C>(o).layout(); },
        [](const void* o) { return cache_wants(as<C>(o)); },
        [](const void* o) -> int {
            (void)o;
            if constexpr (requires(const C& c) { c.most_runs(); })
                return as<C>(o).most_runs();
            else
                return RunList::inside;
        },
        [](void* o, int end) {
            if constexpr (requires(C& c) { c.expect_prompt(end); })
                static_cast<C*>(o)->expect_prompt(end);
            (void)o;
            (void)end;
        },
        [](const void* o, int query) -> bool {
            (void)o;
            (void)query;
            if constexpr (requires(const C& c) { c.wants_scores(query); })
                return as<C>(o).wants_scores(query);
            else
                return false;
        },
        [](const void* o) -> bool {
            (void)o;
            if constexpr (requires(const C& c) { c.wants_queries(); })
                return as<C>(o).wants_queries();
            else
                return false;
        },
        [](void* o, int head, const float* q, int count, int position) {
            (void)o, (void)head, (void)q, (void)count, (void)position;
            if constexpr (requires(C& c) { c.on_queries(head, q, count, position); })
                static_cast<C*>(o)->on_queries(head, q, count, position);
        },
        [](void* o, int head, const float* p, int begin, int end) {
            (void)o, (void)head, (void)p, (void)begin, (void)end;
            if constexpr (requires(C& c) { c.on_scores(head, p, begin, end); })
                static_cast<C*>(o)->on_scores(head, p, begin, end);
        },
        [](const void* o, int query) -> bool {
            (void)o;
            (void)query;
            if constexpr (requires(const C& c) { c.wants_notes(query); })
                return as<C>(o).wants_notes(query);
            else
                return false;
        },
        [](void* o, int head, const NotedQueries& queries) {
            (void)o, (void)head, (void)queries;
            if constexpr (requires(C& c) { c.on_notes(head, queries); })
                static_cast<C*>(o)->on_notes(head, queries);
        },
        watcher<C>(),
        [](const void* o) -> const RowsRead* {
            (void)o;
            if constexpr (requires(const C& c) { c.rows_read(); })
                return as<C>(o).rows_read();
            else
                return nullptr;
        },
    };

    void* object_;
    const Functions* functions_;
    bool reads_ = false;
    bool coarse_ = false;
};

}}  // namespace cairn
