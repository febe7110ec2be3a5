// Scores that a scorer makes of the rows themselves, and the room for it: taken when rows are
// staged, so that a commit allocates nothing.
#pragma once

#include <algorithm>
#include <vector>

#include "cairn/cache/internal/slots.hpp"
#include "cairn/cache/internal/streams.hpp"
#include "cairn/cache/seam/scorer.hpp"
#include "cairn/kernels/hadamard.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

class RowScores {
  public:
    RowScores() = default;
    /// Scratch stays behind: whoever stages rows makes room for it.
    RowScores(const RowScores&) {}
    RowScores(RowScores&&) noexcept = default;
    RowScores& operator=(const RowScores&) = delete;
    RowScores& operator=(RowScores&&) noexcept = default;
    ~RowScores() = default;

    /// Room for heads of `slots` slots.
    [[gnu::cold]] void reserve(const Scorer& scorer, const HeadLayout& layout,
                               const Streams& streams, std::size_t slots) {
        const auto grow = [](auto& vector, std::size_t n) {
            if (vector.size() < n) vector.resize(n);
        };
        grow(room_, scorer.room(layout, 2 * slots));  // as Slots::reserve grows
        grow(keys_, RowNumbers::floats(streams.keys().dims()));
        grow(values_, RowNumbers::floats(streams.values().dims()));
        for (const AgedRows& stream : streams)
            decode_floats_ =
                std::max(decode_floats_, stream.plan().coldest().scratch_floats(stream.dims()));
        scratch_.with(decode_floats_);
    }
    /// Fills the head's scores. A codec or scorer from outside that throws leaves zeros: the last
    /// rows stay then.
    [[gnu::cold]] void fill(const Scorer& scorer, const HeadLayout& layout, const Streams& streams,
                            int kv_head, Slots& head) noexcept {
        const Reading keys{&streams.keys(), kv_head, scratch_.with(decode_floats_)};
        const Reading values{&streams.values(), kv_head, scratch_.with(decode_floats_)};
        const std::span<float> scores = std::span(head.scores).first(head.size());
        try {
            HeadRows rows{layout,
                          std::span<const int>(head.positions).first(head.size()),
                          {&keys, read, keys_.data(), streams.keys().dims(), head.used},
                          {&values, read, values_.data(), streams.values().dims(), head.used},
                          head.notes,
                          room_};
            scorer.score(rows, scores);
        } catch (...) {
            std::fill(scores.begin(), scores.end(), 0.0F);
        }
    }

  private:
    struct Reading {
        const AgedRows* rows;
        int head;
        Scratch scratch;
    };
    static void read(const void* object, int begin, int count, float* to) {
        const auto& from = *static_cast<const Reading*>(object);
        const int dims = from.rows->dims();
        from.rows->rows().each(from.head, begin, begin + count,
                               [&](const Codec& codec, const Rows& rows, int row) {
                                   codec.decode(rows, dims, to + std::ptrdiff_t{row - begin} * dims,
                                                dims, from.scratch);
                               });
        if (from.rows->plan().rotated)
            for (int r = 0; r < count; ++r) kernels::hadamard(to + std::ptrdiff_t{r} * dims, dims);
    }

    std::vector<double> room_;
    std::vector<float> keys_;
    std::vector<float> values_;
    std::size_t decode_floats_ = 0;
    OwnScratch scratch_;
};

}}}  // namespace cairn::internal
