// A run: a stretch of rows in one form, as the attention engine sees a cache. Each axis fills one
// group of fields, so a new store, codec or keep adds nothing to the engine.
//
// Words: a row's *number* is its token position, unless the keep chooses rows by score; `length`
// counts committed and staged tokens; a *unit* is what a codec writes, a *block* is what a store
// allocates, and the engine's *segments* of 256 row numbers are independent of both. A query has a
// position q (causality, ages, windows) and a place e where it stands for rotation and ALiBi.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "cairn/cache/seam/codec.hpp"
#include "cairn/cache/seam/row_kind.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Row numbers and positions are below this, in memory and in files.
inline constexpr int row_limit = 1 << 30;

/// The first row that query q still reads in a form that lasts while q / unit - j / unit < to.
inline int age_boundary(int q, int unit, int to) noexcept {
    if (to == std::numeric_limits<int>::max()) return 0;
    const long long first = (static_cast<long long>(q / unit) - to + 1) * unit;
    return first > 0 ? static_cast<int>(first) : 0;
}

class RowSource;

/// Rows [begin, end) of one KV head. Address of a row's unit:
/// data + table[row / block_size] * block_bytes + (row % block_size) / rows_per_unit * stride.
/// Blocks whose table entries ascend by one lie side by side.
struct Run {
    static constexpr int forever = std::numeric_limits<int>::max();

    // Keep: which rows, and who sees them.
    int begin = 0;
    int end = 0;
    int offset = 0;                  ///< a row's position is its number + offset ...
    const int* positions = nullptr;  ///< ... or, for ALiBi, positions[row] where given
    int from = 0;                    ///< query q sees position j iff from <= q - j < window
    int window = forever;
    int shift = 0;  ///< the query stands at e = min(q - shift, max_query)
    int max_query = forever;
    // Codec: which form, and at what age it is read: while q / age_unit - j / age_unit < age_to and
    // not q / hot_unit - j / hot_unit < hot_to.
    const Codec* codec = nullptr;
    int age_unit = 1;
    int age_to = forever;
    int hot_unit = 1;
    int hot_to = 0;
    bool rotated = false;  ///< rows are turned by the Hadamard matrix; so must the query be
    RowKind kind = RowKind::ready;  ///< what a row is, once turned back
    const Codec* made = nullptr;    ///< of rows that are not ready: how they lie once they are
    int dims = 0;  ///< numbers in a row: of inputs, and of values whose first ones are read; else 0
    // Store: where.
    int head = 0;
    std::byte* data = nullptr;         ///< this KV head's units in block 0
    const int* block_table = nullptr;  ///< null: one block, used as a ring of block_size rows
    int block_size = 0;                ///< rows; a multiple of the codec's rows_per_unit
    std::ptrdiff_t block_bytes = 0;
    std::ptrdiff_t stride = 0;          ///< bytes from unit to unit
    const RowSource* source = nullptr;  ///< not null: not in memory yet (cache/row_source.hpp)
    const std::byte* next = nullptr;    ///< the unit of rows that are read soon after this run's
    const RowStore* base = nullptr;  ///< the rows of the layer before, where the codec reads them

    /// The rows from `row` to `last`, as far as they lie in one stretch of memory.
    Rows rows(int row, int last) const noexcept {
        const int place = row % block_size;
        const int wanted = last - row;
        int left = block_size - place;
        std::ptrdiff_t block = 0;
        if (block_table != nullptr) {
            // Blocks that are neighbours in memory too read as one stretch.
            const int* entry = block_table + row / block_size;
            block = *entry;
            while (left < wanted && entry[1] == *entry + 1) {
                left += block_size;
                ++entry;
            }
        }
        Rows result{data + block * block_bytes + place / codec->rows_per_unit * stride,
                    stride,
                    place % codec->rows_per_unit,
                    wanted < left ? wanted : left,
                    head,
                    row};
        result.base = base;
        return result;
    }
    /// Whether queries of different positions may read a row in different forms.
    bool ages() const noexcept { return age_to != forever || hot_to != 0; }
    /// Whether products with these rows want queries turned by the Hadamard matrix.
    bool turned() const noexcept { return rotated && kind == RowKind::ready; }
    /// The position of a row.
    int position_of(int row) const noexcept {
        return positions != nullptr ? positions[row] : row + offset;
    }
    /// Where query q stands for these rows.
    int place_of(int q) const noexcept { return std::min(q - shift, max_query); }
    /// Whether queries stand elsewhere than at their positions.
    bool displaced() const noexcept { return shift != 0 || max_query != forever; }
};

/// The runs of one stream, rows ascending: a few inside, or as many as the room it was given holds.
/// It never allocates.
class RunList {
  public:
    static constexpr int inside = 8;
    RunList() = default;
    /// Room for `room.size()` runs, which outlives the list. Who reads a cache gives as many as its
    /// most_runs() says.
    explicit RunList(std::span<Run> room) noexcept
        : outside_(room.size() > inside ? room.data() : nullptr),
          most_(std::max(inside, static_cast<int>(room.size()))) {}
    /// Copies share no room: the copy of a long list is `assign`ed into room of its own.
    RunList(const RunList&) = delete;
    RunList& operator=(const RunList&) = delete;

    void clear() noexcept { count_ = 0; }
    /// Runs beyond the room are left out; caches say beforehand how many there are at most.
    void push(const Run& run) noexcept {
        if (count_ < most_) std::construct_at(data() + count_++, run);
    }
    /// The runs of another list that have rows in [low, high).
    void assign(const RunList& from, int low, int high) noexcept {
        clear();
        for (const Run& run : from) {
            if (run.begin < high && run.end > low) push(run);
        }
    }
    int size() const noexcept { return count_; }
    const Run* begin() const noexcept { return data(); }
    const Run* end() const noexcept { return data() + count_; }
    const Run& operator[](int i) const noexcept { return data()[i]; }
    Run& operator[](int i) noexcept { return data()[i]; }

  private:
    // Runs are made as they come: a list costs nothing to begin with.
    union Room {
        Room() noexcept {}  // NOLINT(modernize-use-equals-default)
        Run runs[inside];
    };
    const Run* data() const noexcept { return outside_ != nullptr ? outside_ : inside_.runs; }
    Run* data() noexcept { return outside_ != nullptr ? outside_ : inside_.runs; }
    Room inside_;
    Run* outside_ = nullptr;
    int most_ = inside;
    int count_ = 0;
};

namespace internal {

/// The runs of both streams, `most` of each, with room of their own.
class OwnRuns {
  public:
    explicit OwnRuns(int most) : room_(2 * static_cast<std::size_t>(most)) {}

  private:
    std::vector<Run> room_;

  public:
    RunList keys{std::span(room_).first(room_.size() / 2)};
    RunList values{std::span(room_).last(room_.size() / 2)};
};

}  // namespace internal

}}  // namespace cairn
