// The sequences whose queries are attended together: which segments each of them sees, and which
// rows several of them hold in common.
#pragma once

#include <algorithm>
#include <span>

#include "cairn/attention/chosen.hpp"
#include "cairn/attention/segment.hpp"
#include "cairn/cache/seam/cache_ref.hpp"
#include "cairn/core/context.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// The queries of one sequence: any number of rows where it is alone, one row in a batch.
struct Member {
    CacheRef cache;
    Queries queries;
    float* out;  // [rows][out_stride]: heads side by side
    std::ptrdiff_t out_stride;
    const ChosenRows* chosen = nullptr;  // what its one row reads; null: all rows
    int* wanted = nullptr;               // segments that any query sees rows of, ascending
    int segments = 0;
    bool rotated = false;  // outputs are turned back

    /// The runs that its queries read.
    void runs(int kv_head, RunList& keys, RunList& values) const {
        if (chosen == nullptr) return cache.runs(kv_head, keys, values);
        RunList all_keys;
        RunList all_values;
        cache.runs(kv_head, all_keys, all_values);
        chosen->cut(kv_head, all_keys, keys);
        chosen->cut(kv_head, all_values, values);
    }
    int most_runs() const { return chosen == nullptr ? cache.most_runs() : chosen->most_runs; }
};

/// Fills in what a member sees, of any head, and adds to `room` what workers need to read it.
inline void find_wanted(Member& member, const HeadLayout& layout, int window, SegmentRoom& room,
                        Workspace::Frame& frame) {
    const int first = member.queries.position;
    const int last = first + member.queries.rows - 1;
    const int length = member.cache.length();
    const int all = (length + segment_rows - 1) / segment_rows;
    int* wanted = frame.array<int>(static_cast<std::size_t>(all));
    std::fill_n(wanted, all, 0);
    const int most = member.most_runs();
    RunList keys(list_room(member.cache, frame));
    RunList values(list_room(member.cache, frame));
    if (most > RunList::inside) room.runs = std::max(room.runs, most);
    const auto want = [&](int begin, int end) {
        for (int s = begin / segment_rows; s * segment_rows < end; ++s) wanted[s] = 1;
    };
    for (int h = 0; h < layout.kv_heads; ++h) {
        member.cache.runs(h, keys, values);
        room.add(keys, values, layout);
        for (const Run& run : keys) {
            require(run.positions == nullptr || last < window, ErrorCode::unsupported,
                    "attend: a window of ", window,
                    " keys over rows that were chosen by score; position ", last,
                    " does not see them all");
            const int begin = visible(run, window, first, 0, length).begin;
            const int end = visible(run, window, last, 0, length).end;
            if (member.chosen == nullptr)
                want(begin, end);
            else
                member.chosen->each_stretch(h, begin, end, want);
        }
    }
    // A codec turns the rows of all heads, or of none.
    member.rotated = values.size() > 0 && values[0].turned();
    member.segments = 0;
    for (int s = 0; s < all; ++s)
        if (wanted[s] != 0) wanted[member.segments++] = s;
    member.wanted = wanted;
}

/// Whether rows [low, low + 256) of two lists are the same bytes, seen whole by queries at `first`
/// and `second`.
inline bool same_rows(const RunList& a, const RunList& b, int low, int window, int first,
                      int second) noexcept {
    const int high = low + segment_rows;
    const auto covering = [&](const RunList& list, int position) -> const Run* {
        for (const Run& run : list) {
            if (run.begin > low || run.end < high) continue;
            const SeenRows seen = visible(run, window, position, low, high);
            const bool plain = !run.ages() && !run.displaced() && run.positions == nullptr &&
                               run.from == 0 && run.source == nullptr;
            return plain && seen.begin == low && seen.end == high ? &run : nullptr;
        }
        return nullptr;
    };
    const Run* x = covering(a, first);
    const Run* y = covering(b, second);
    if (x == nullptr || y == nullptr || x->data != y->data || x->codec != y->codec ||
        x->offset != y->offset || x->block_size != y->block_size ||
        (x->block_table == nullptr) != (y->block_table == nullptr))
        return false;
    if (x->block_table == nullptr) return true;
    for (int block = low / x->block_size; block * x->block_size < high; ++block)
        if (x->block_table[block] != y->block_table[block]) return false;
    return true;
}

/// For every segment and member the first member with the same rows there, as far from the front as
/// anything is shared: leaders[segment * members + member]. Returns how many segments that is.
inline int find_shared(std::span<const Member> members, const HeadLayout& layout, int window,
                       int segments, int* leaders) {
    const auto n = static_cast<int>(members.size());
    const auto same = [&](int a, int b, int segment) {
        const Member& x = members[static_cast<std::size_t>(a)];
        const Member& y = members[static_cast<std::size_t>(b)];
        if (x.chosen != nullptr || y.chosen != nullptr ||
            std::max(x.most_runs(), y.most_runs()) > RunList::inside)
            return false;
        for (int h = 0; h < layout.kv_heads; ++h) {
            RunList lists[4];
            x.cache.runs(h, lists[0], lists[1]);
            y.cache.runs(h, lists[2], lists[3]);
            for (int s = 0; s < 2; ++s)
                if (!same_rows(lists[s], lists[s + 2], segment * segment_rows, window,
                               x.queries.position, y.queries.position))
                    return false;
        }
        return true;
    };
    for (int segment = 0; segment < segments; ++segment) {
        int* leader = leaders + segment * n;
        const int* before = leader - n;
        bool any = false;
        for (int b = 0; b < n; ++b) {
            leader[b] = b;
            // Who parted earlier does not meet again.
            for (int a = 0; a < b && leader[b] == b; ++a)
                if (leader[a] == a && (segment == 0 || before[a] == before[b]) &&
                    same(a, b, segment)) {
                    leader[b] = a;
                    any = true;
                }
        }
        if (!any) return segment;
    }
    return segments;
}

}}}  // namespace cairn::internal
