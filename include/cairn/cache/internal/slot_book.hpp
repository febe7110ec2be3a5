// The bookkeeping of a cache whose keep chooses rows by score. Rows lie in numbered slots, the same
// numbers for all heads, other positions in each; a head's freed slot takes its next row. When many
// rows go at once (a prompt's end) the next stage compacts the slots, in order, and memory shrinks.
//
// Such a cache commits all staged rows or none, cannot be truncated except to nothing, and is exact
// for every cut of a prompt whose end was announced: until then nothing is evicted and no free slot
// is taken, and afterwards rows come one at a time wherever one evicts at every step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cairn/cache/internal/check_staged.hpp"
#include "cairn/cache/internal/choice.hpp"
#include "cairn/cache/internal/read_rows.hpp"
#include "cairn/cache/internal/row_archive.hpp"
#include "cairn/cache/internal/slots.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

class SlotBook {
  public:
    /// Throws what the store throws, Error{invalid_argument} for what cannot work together.
    SlotBook(const HeadLayout& layout, int capacity, const AnyStore& store,
             std::shared_ptr<const Scorer> chosen, int layer, FixedVector<StreamSpec> specs)
        : layout_(layout),
          capacity_(capacity),
          choice_(std::move(chosen), layer),
          notes_(choice_.scorer().notes(layout)),
          streams_(store, std::move(specs), Extent{capacity, 0, 0, 0}),
          heads_(static_cast<std::size_t>(layout.kv_heads)) {
        for (int h = 0; h < layout.kv_heads; ++h)
            require(choice_.budget(h, 0) > 0, ErrorCode::invalid_argument, "keep ", scorer().name(),
                    ": a budget of ", choice_.budget(h, 0), " rows for head ", h);
    }

    /// Announces that a prompt ends before position `end`: nothing is evicted until it is complete.
    void expect_prompt(int end) {
        require(length_ == committed_, ErrorCode::bad_state,
                "expect_prompt: rows are staged and not committed");
        require(end <= row_limit, ErrorCode::invalid_argument, "expect_prompt: an end at ", end,
                "; positions are below ", row_limit);
        if (end > committed_) prompt_end_ = end;
    }
    void pin(int begin, int end) { add_pin(pins_, begin, end); }

    void stage(const TokenRows& k, const TokenRows& v) {
        check_staged(k, streams_.from_keys() ? k : v, length_, capacity_, max_rows());
        if (k.rows == 0) return;
        streams_.check_finite(k, v);
        if (gaps_) compact();
        // Everything that may throw comes before anything that changes.
        const bool fills = length_ >= prompt_end_;
        int slots = 0;
        int lowest = slots_;
        for (const Slots& head : heads_) {
            lowest = std::min(lowest, head.next(fills));
            slots = std::max(slots, head.used_after(k.rows, fills));
        }
        const auto most = static_cast<std::size_t>(slots);
        try {
            choice_.reserve(heads_.size(), most);
            for (AgedRows& stream : streams_) stream.rewrite(lowest, slots);
            for (Slots& head : heads_) head.reserve(most);
            if (scorer().reads_rows()) row_scores_.reserve(scorer(), layout_, streams_, most);
            if (notes_ > 0 && length_ < prompt_end_)
                for (Slots& head : heads_) {
                    head.notes.resize(notes_);
                    head.noted.resize(notes_);
                }
        } catch (...) {
            cut(slots_);
            throw;
        }
        slots_ = std::max(slots_, slots);
        try {
            put_rows(k, v, fills);
        } catch (...) {  // of a codec or scorer from outside
            rollback();
            throw;
        }
        length_ += k.rows;
        if (scorer().when() == Evicts::before_attending && scorer().key_is_query() && k.rows == 1)
            for (int h = 0; h < layout_.kv_heads; ++h)
                evict_farthest(h, 1, [&](int) {
                    return scorer().signature(k.data + h * layout_.key_dim, layout_.key_dim);
                });
    }

    /// Queries of one KV head's group, rotated, before they attend; only for single rows.
    void on_queries(int kv_head, const float* q, int count, int position) {
        if (!wants_queries()) return;
        if (length_ - committed_ != 1 || position + 1 != length_) return;
        evict_farthest(kv_head, count, [&](int i) {
            return scorer().signature(q + std::ptrdiff_t{i} * layout_.key_dim, layout_.key_dim);
        });
    }
    bool wants_queries() const noexcept {
        return scorer().when() == Evicts::before_attending && !scorer().key_is_query();
    }
    bool wants_scores(int query) const {
        return scorer().when() != Evicts::before_attending && !scorer().reads_rows() &&
               scorer().listens(query, prompt_end_);
    }
    /// Queries before rotation, where the keep sums them up.
    bool wants_notes(int query) const {
        return notes_ > 0 && query >= committed_ && query < prompt_end_ &&
               scorer().listens(query, prompt_end_);
    }
    void on_notes(int kv_head, NotedQueries queries) {
        queries.prompt_end = prompt_end_;
        scorer().note(queries, heads_[static_cast<std::size_t>(kv_head)].noted);
    }
    /// Final probabilities p[begin, end) of one query head for rows [begin, end) of `kv_head`.
    void on_scores(int kv_head, const float* p, int begin, int end) noexcept {
        std::vector<float>& pending = heads_[static_cast<std::size_t>(kv_head)].pending;
        for (int j = begin; j < end; ++j) pending[static_cast<std::size_t>(j)] += p[j - begin];
    }

    void commit(int rows) noexcept {
        const int staged = length_ - committed_;
        if (staged == 0) return;
        if (rows < staged) {
            rollback();
            return;
        }
        committed_ = length_;
        for (Slots& head : heads_) head.commit();
        if (committed_ < prompt_end_) return;
        const bool at_end = committed_ == prompt_end_;
        if (scorer().when() != Evicts::at_every_step && !at_end) return;
        for (int h = 0; h < layout_.kv_heads; ++h) {
            Slots& head = heads_[static_cast<std::size_t>(h)];
            if (scorer().reads_rows() &&
                (scorer().spreads() || head.held > choice_.budget(h, prompt_end_)))
                row_scores_.fill(scorer(), layout_, streams_, h, head);
            head.forget_notes();
        }
        choice_.share_out(heads_, prompt_end_, length_);
        // Rows that are not chosen become holes.
        for (int h = 0; h < layout_.kv_heads; ++h)
            gaps_ |=
                choice_.evict(heads_[static_cast<std::size_t>(h)], h, pins_, prompt_end_, length_);
    }

    bool can_truncate(int rows) const noexcept { return rows == 0 || rows == committed_; }
    /// To all committed rows, or to nothing: then all is as in a new cache, but for the pins.
    void truncate(int rows) noexcept {
        if (rows != 0) {
            rollback();
            return;
        }
        for (Slots& head : heads_) head = Slots();
        committed_ = length_ = slots_ = prompt_end_ = 0;
        gaps_ = false;
        cut(0);
    }

    void runs(int kv_head, RunList& keys, RunList& values) const noexcept {
        keys.clear();
        values.clear();
        const Slots& head = heads_[static_cast<std::size_t>(kv_head)];
        const int staged = length_ - committed_;
        // What is there already is seen by all; staged rows behind it causally.
        const int old = staged > 1 ? head.used - staged : head.used;
        Run like;
        like.positions = head.positions.data();
        like.offset = 1 - row_limit;
        add(kv_head, head, 0, old, like, keys, values);
        if (staged > 1) {
            like.offset = committed_ - old;
            add(kv_head, head, old, head.used, like, keys, values);
        }
    }

    int committed() const noexcept { return committed_; }
    int length() const noexcept { return length_; }
    int capacity() const noexcept { return capacity_; }
    int max_rows() const noexcept {
        if (length_ < prompt_end_) return prompt_end_ - length_;
        if (scorer().when() == Evicts::at_prompt_end) return capacity_ - length_;
        if (length_ != committed_) return 0;  // what is evicted depends on the commit before
        int room = capacity_ - length_;
        for (int h = 0; h < layout_.kv_heads; ++h)
            room = std::min(
                room, choice_.budget(h, prompt_end_) - heads_[static_cast<std::size_t>(h)].held);
        return std::max(room, 1);
    }
    int span() const noexcept { return capacity_; }
    static constexpr bool streaming() noexcept { return false; }
    int held(int) const noexcept {
        int most = 0;
        for (const Slots& head : heads_) most = std::max(most, head.held);
        return most;
    }
    std::size_t payload_bytes(int) const {
        std::size_t rows = 0;
        for (const Slots& head : heads_) rows += static_cast<std::size_t>(head.held);
        std::size_t sum = 0;
        for (const AgedRows& stream : streams_)
            sum += rows * stream.plan().coldest().row_bytes(stream.dims());
        return sum;
    }
    std::size_t bytes() const noexcept { return streams_.bytes(); }
    int most_runs() const noexcept { return RunList::inside; }
    const HeadLayout& layout() const noexcept { return layout_; }
    const Streams& streams() const noexcept { return streams_; }
    const Scorer& scorer() const noexcept { return choice_.scorer(); }
    /// Positions that a head holds, in storage order, -1 where a slot is free.
    std::span<const int> positions(int kv_head) const noexcept {
        return heads_[static_cast<std::size_t>(kv_head)].positions;
    }
    std::span<const float> scores(int kv_head) const noexcept {
        return heads_[static_cast<std::size_t>(kv_head)].scores;
    }

    SlotBook fork() const { return SlotBook(*this, streams_.share()); }
    SlotBook copy() const { return SlotBook(*this, streams_.copy()); }

    /// Writes the committed rows, or reads them into an empty cache. What fails leaves it as it
    /// was.
    void archive(CacheArchive& a) {
        require(length_ == (a.loading() ? 0 : committed_), ErrorCode::bad_state,
                "archive: rows are staged, or the cache to load into holds some");
        int committed = committed_;
        int slots = slots_;
        int prompt = prompt_end_;
        int gaps = gaps_ ? 1 : 0;
        // What is read replaces what is there when all of it was read; rows in slots that nobody
        // uses yet are nothing.
        Pins read_pins;
        std::vector<Slots> read_heads(a.loading() ? heads_.size() : 0);
        std::vector<Slots>& heads = a.loading() ? read_heads : heads_;
        try {
            a.label("keep", scorer().name());
            RowArchive rows(a);
            rows.label(streams_);
            a.number("committed tokens", committed, 0, capacity_);
            a.number("slots", slots, 0, committed);
            a.number("prompt's end", prompt, 0, row_limit);
            a.number("gaps", gaps, 0, 1);
            archive_pins(a, a.loading() ? read_pins : pins_);
            for (Slots& head : heads) head.archive(a, slots, committed, gaps != 0);
            if (notes_ > 0)
                for (Slots& head : heads) head.archive_notes(a, committed < prompt ? notes_ : 0);
            const auto live = [&](int h, int row) {
                const Slots& head = heads[static_cast<std::size_t>(h)];
                return row < head.used && head.positions[static_cast<std::size_t>(row)] >= 0;
            };
            for (AgedRows& stream : streams_) rows.rows(stream, 0, 0, slots, live);
        } catch (...) {
            if (a.loading()) trim(0);
            throw;
        }
        if (!a.loading()) return;
        heads_.swap(read_heads);
        pins_.swap(read_pins);
        committed_ = length_ = committed;
        prompt_end_ = prompt;
        gaps_ = gaps != 0;
        slots_ = most_used();
        for (AgedRows& stream : streams_) stream.set_written(0, 0, slots_);
    }

  private:
    SlotBook(const SlotBook& other, Streams streams)
        : layout_(other.layout_),
          capacity_(other.capacity_),
          choice_(other.choice_),
          notes_(other.notes_),
          streams_(std::move(streams)),
          heads_(other.heads_),
          pins_(other.pins_),
          committed_(other.committed_),
          length_(other.length_),
          slots_(other.slots_),
          prompt_end_(other.prompt_end_),
          gaps_(other.gaps_) {
        rollback();
    }

    void add(int kv_head, const Slots& head, int begin, int end, const Run& like, RunList& keys,
             RunList& values) const noexcept {
        const int gap = head.gap();
        for (int from = begin; from < end;) {
            const int to = gap >= from && gap < end ? gap : end;
            if (from < to) {
                push(streams_.keys(), kv_head, from, to, like, keys);
                Run value = like;
                streams_.as_values(value);
                push(streams_.values(), kv_head, from, to, value, values);
            }
            from = to == gap ? to + 1 : to;
        }
    }
    static void push(const AgedRows& stream, int kv_head, int begin, int end, Run run,
                     RunList& to) noexcept {
        run.begin = begin;
        run.end = end;
        run.rotated = stream.plan().rotated;
        stream.rows().locate(kv_head, begin, run);
        to.push(run);
    }
    template <class CodeOf>
    void evict_farthest(int h, int count, const CodeOf& code_of) {
        choice_.evict_farthest(heads_[static_cast<std::size_t>(h)], h, pins_, prompt_end_, length_,
                               count, code_of);
    }
    void cut(int slots) noexcept {
        for (AgedRows& stream : streams_) stream.cut(slots);
    }
    void trim(int slots) noexcept {
        for (AgedRows& stream : streams_) stream.trim(slots);
    }
    int most_used() const noexcept {
        int most = 0;
        for (const Slots& head : heads_) most = std::max(most, head.used);
        return most;
    }
    // Writes staged rows to slots, head by head.
    void put_rows(const TokenRows& k, const TokenRows& v, bool fills) {
        for (int h = 0; h < layout_.kv_heads; ++h) {
            Slots& head = heads_[static_cast<std::size_t>(h)];
            head.evicted = -1;
            if (length_ == committed_) {
                head.pending.assign(head.scores.begin(), head.scores.end());
                std::copy(head.notes.begin(), head.notes.end(), head.noted.begin());
            }
            for (int r = 0; r < k.rows; ++r) {
                const float* key = k.data + r * k.stride + h * layout_.key_dim;
                const int slot = head.take(fills, length_ + r,
                                           scorer().when() == Evicts::before_attending
                                               ? scorer().signature(key, layout_.key_dim)
                                               : 0);
                streams_.keys().put(h, slot, key);
                if (!streams_.from_keys())
                    streams_.values().put(h, slot, v.data + r * v.stride + h * layout_.value_dim);
            }
        }
    }
    // Takes staged rows back.
    void rollback() noexcept {
        for (Slots& head : heads_) head.rollback();
        length_ = committed_;
        slots_ = most_used();
        cut(slots_);
    }
    // Moves rows down over the holes, in order, and gives memory back.
    void compact() {
        for (AgedRows& stream : streams_) stream.rewrite(0, slots_);
        for (int h = 0; h < layout_.kv_heads; ++h)
            heads_[static_cast<std::size_t>(h)].compact([&](int from, int to) {
                for (AgedRows& stream : streams_) move(stream, h, from, to);
            });
        gaps_ = false;
        slots_ = most_used();
        trim(slots_);
    }
    static void move(AgedRows& stream, int head, int from, int to) {
        Run source;
        Run target;
        stream.rows().locate(head, from, source);
        stream.rows().locate(head, to, target);
        source.codec->copy_row(source.rows(from, from + 1), target.rows(to, to + 1), stream.dims());
    }

    HeadLayout layout_;
    int capacity_;
    RowChoice choice_;
    std::size_t notes_;  // numbers of a head's notes
    RowScores row_scores_;
    Streams streams_;
    std::vector<Slots> heads_;
    Pins pins_;
    int committed_ = 0;
    int length_ = 0;
    int slots_ = 0;
    int prompt_end_ = 0;
    bool gaps_ = false;
};

}}}  // namespace cairn::internal
