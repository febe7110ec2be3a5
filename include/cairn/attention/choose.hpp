// Attention over caches whose queries choose the rows they read. Every row of queries is attended
// by itself, as in decoding: first each KV head's group chooses its pages, then the rows go through
// the reducer side by side, as sequences of a batch do. So a prompt has the bits of its tokens one
// by one, and all pages chosen have the bits of a cache that is read whole.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>
#include <span>
#include <utility>

#include "cairn/attention/reduce.hpp"
#include "cairn/cache/seam/rows_read.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Attention of all members' queries, in pieces of rows, so that memory is that of a piece.
class ChoosingReducer {
  public:
    ChoosingReducer(std::span<const Member> members, const HeadLayout& layout,
                    const AttentionParameters& parameters, Context& context)
        : members_(members),
          layout_(layout),
          parameters_(parameters),
          context_(context),
          frame_(context.workspace()) {
        int rows = 0;
        std::size_t scratch = 0;
        for (const Member& m : members_) {
            rows += m.queries.rows;
            const RowsRead* read = m.cache.rows_read();
            if (read == nullptr) continue;
            require(m.cache.most_runs() <= RunList::inside, ErrorCode::unsupported,
                    "attend: queries choose among rows in up to ", m.cache.most_runs(), " runs");
            const int pages = pages_of(*read, m.queries.position + m.queries.rows - 1);
            words_ = std::max(words_, PageSet::words(pages));
            scratch = std::max(scratch, read->scratch_floats(pages));
        }
        most_ = std::min(rows, most_rows);
        choose_floats_ = scratch;
        const auto group = static_cast<std::size_t>(layout.group());
        group_floats_ = round_up(group * static_cast<std::size_t>(layout.key_dim), 16);
        floats_ = TileScratch::floats(layout) + group_floats_ + round_up(choose_floats_, 16);
        const auto n = static_cast<std::size_t>(most_);
        rows_ = frame_.array<Member>(n);
        chosen_ = frame_.array<ChosenRows>(n);
        bits_ = frame_.array<std::uint64_t>(n * static_cast<std::size_t>(layout.kv_heads) * words_);
        space_ = frame_.floats(static_cast<std::size_t>(context.executor().workers()) * floats_);
    }

    /// Throws what Reducer::run throws.
    void run() {
        int count = 0;
        for (const Member& m : members_)
            for (int row = 0; row < m.queries.rows; ++row) {
                add(m, row, count++);
                if (count == most_) attend(std::exchange(count, 0));
            }
        if (count > 0) attend(count);
    }

  private:
    static constexpr int most_rows = 64;  // of a piece

    static int pages_of(const RowsRead& read, int position) noexcept {
        return position / read.page_rows() + 1;
    }
    // One row of a member as a member of its own.
    void add(const Member& m, int row, int at) {
        const Queries queries{m.queries.q + row * m.queries.stride, m.queries.stride, 1,
                              m.queries.position + row};
        Member& to =
            *new (rows_ + at) Member{m.cache, queries, m.out + row * m.out_stride, m.out_stride};
        const RowsRead* read = m.cache.rows_read();
        if (read == nullptr) return;
        const auto heads = static_cast<std::size_t>(layout_.kv_heads);
        to.chosen =
            new (chosen_ + at) ChosenRows{bits_ + static_cast<std::size_t>(at) * heads * words_,
                                          pages_of(*read, queries.position), read->page_rows(), 0};
    }
    void attend(int count) {
        auto choose = [&](int i, int worker) {
            const int at = i / layout_.kv_heads;
            if (rows_[at].chosen != nullptr)
                choose_pages(rows_[at], i % layout_.kv_heads,
                             space_ + static_cast<std::size_t>(worker) * floats_);
        };
        context_.executor().run(count * layout_.kv_heads, choose);
        for (int i = 0; i < count; ++i)
            if (rows_[i].chosen != nullptr)
                chosen_[i].count_runs(layout_.kv_heads, rows_[i].cache.most_runs());
        Reducer({rows_, static_cast<std::size_t>(count)}, layout_, parameters_, context_).run();
    }
    // All heads of a group choose together; `at`: the worker's scratch.
    void choose_pages(const Member& m, int kv_head, float* at) const {
        const RowsRead& read = *m.cache.rows_read();
        const int position = m.queries.position;
        PageSet pages = m.chosen->of(kv_head);
        pages.clear();
        float* group = at + TileScratch::floats(layout_);
        const TileScratch tile_scratch(at, layout_);
        RunList keys;
        RunList values;
        m.cache.runs(kv_head, keys, values);
        const Tiling tiling(layout_, 1);
        const int parts = tiling.strips() / layout_.kv_heads;
        const int first_head = kv_head * layout_.group();
        for (int part = 0; part < parts; ++part) {
            const QueryTile tile = tiling.tile(kv_head * parts + part, 0, position);
            load_queries(m.queries, tile, layout_, parameters_, keys, tile_scratch);
            std::copy_n(tile_scratch.q, tile.group * layout_.key_dim,
                        group + (tile.head - first_head) * layout_.key_dim);
        }
        GroupQuery query{kv_head, position, 0, group, layout_.group()};
        const int window = parameters_.mask.window();
        if (window <= position) query.first_row = position - window + 1;
        if (!parameters_.alibi.empty())
            query.alibi = parameters_.alibi.subspan(static_cast<std::size_t>(first_head),
                                                    static_cast<std::size_t>(layout_.group()));
        read.choose(query, pages, {group + group_floats_, choose_floats_});
        pages.add(position / read.page_rows());
    }

    std::span<const Member> members_;
    HeadLayout layout_;
    const AttentionParameters& parameters_;
    Context& context_;
    Workspace::Frame frame_;
    int most_ = 0;
    std::size_t words_ = 0;  // of a set of pages
    std::size_t choose_floats_ = 0;
    std::size_t group_floats_ = 0;
    std::size_t floats_ = 0;         // scratch of a worker
    Member* rows_ = nullptr;         // of a piece
    ChosenRows* chosen_ = nullptr;   // what they read
    std::uint64_t* bits_ = nullptr;  // [rows][kv_heads][words]
    float* space_ = nullptr;
};

}}}  // namespace cairn::internal
