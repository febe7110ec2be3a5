// What a scorer reads beyond probabilities: the rows of a KV head as numbers, and queries before
// they are rotated. Sums of products of floats in double stand here too: such products are exact,
// so no compiler's fma changes a bit.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The queries of one KV head's group at one position, before rotation.
struct NotedQueries {
    int group;       ///< heads
    int dims;        ///< numbers of a query
    const float* q;  ///< [group][dims]
    int position;
    int prompt_end;  ///< of the announced prompt
    float scale;     ///< of q.k
    /// Turns a row as a position below `positions` demands; null: nothing is rotated.
    void (*turn)(const void* rotation, float* row, int position);
    const void* rotation;
    int positions;
};

/// Keys or values of one KV head, decoded and turned back, some rows at a time.
class RowNumbers {
  public:
    static constexpr int piece = 32;  ///< rows that are decoded at once
    /// `read(object, begin, count, to)` writes rows [begin, begin + count) of [count][stride].
    using Read = void (*)(const void* object, int begin, int count, float* to);
    RowNumbers(const void* object, Read read, float* room, int stride, int rows) noexcept
        : object_(object), read_(read), room_(room), stride_(stride), rows_(rows) {}
    /// Floats of room for rows of `stride` numbers.
    static constexpr std::size_t floats(int stride) noexcept {
        return std::size_t{piece} * static_cast<std::size_t>(stride);
    }
    /// The numbers of a row; valid until the next one is asked for.
    const float* operator[](int row) {
        if (row < begin_ || row >= end_) {
            begin_ = row / piece * piece;
            end_ = std::min(begin_ + piece, rows_);
            read_(object_, begin_, end_ - begin_, room_);
        }
        return room_ + std::ptrdiff_t{row - begin_} * stride_;
    }

  private:
    const void* object_;
    Read read_;
    float* room_;
    int stride_;
    int rows_;
    int begin_ = 0;
    int end_ = 0;
};

/// What `Scorer::score` is given of a KV head.
struct HeadRows {
    const HeadLayout& layout;
    std::span<const int> positions;  ///< of each row; -1: no row here
    RowNumbers keys;                 ///< [key_dim], as queries meet them
    RowNumbers values;               ///< [value_dim]
    std::span<const double> notes;   ///< of queries, or empty (Scorer::notes)
    std::span<double> room;          ///< scratch (Scorer::room)
};

namespace internal {

/// a . b in eight chains that are added in a fixed order; b may be doubles that hold floats.
template <class Number>
double exact_dot(const float* a, const Number* b, int n) noexcept {
    double chain[8] = {};
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int c = 0; c < 8; ++c)
            chain[c] += static_cast<double>(a[i + c]) * static_cast<double>(b[i + c]);
    for (int c = 0; i < n; ++i, ++c)
        chain[c] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return ((chain[0] + chain[4]) + (chain[2] + chain[6])) +
           ((chain[1] + chain[5]) + (chain[3] + chain[7]));
}
/// to += a * x.
inline void exact_add(float a, const float* x, int n, double* to) noexcept {
    for (int i = 0; i < n; ++i) to[i] += static_cast<double>(a) * static_cast<double>(x[i]);
}

}  // namespace internal

}}  // namespace cairn
