// Blocks of rows that sequences and threads share: counted by reference, in one arena, the lowest
// free block first.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "cairn/cache/seam/store_policy.hpp"
#include "cairn/core/forks.hpp"
#include "cairn/core/memory.hpp"
#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Blocks of one form of one stream, shared by sequences and threads. A forked child has them as
/// they were between two calls of any threads, and goes on from there.
class BlockPool {
  public:
    /// `blocks` blocks of `rows` rows of every head. Reserves address space only. Throws
    /// Error{invalid_argument, out_of_memory, limit}.
    BlockPool(const StreamRows& of, int rows, int blocks)
        : codec_(of.codec), rows_(rows), blocks_(blocks) {
        internal::watch_forks();
        const Codec& codec = *of.codec;
        const int heads = of.heads;
        require(rows > 0 && rows % codec.rows_per_unit == 0, ErrorCode::invalid_argument,
                "blocks of ", rows, " rows: rows of ", codec.name, " come in units of ",
                codec.rows_per_unit);
        unit_bytes_ = codec.unit_bytes(of.dims);
        head_bytes_ = checked_mul(codec.units(rows), unit_bytes_, "block bytes");
        block_bytes_ = checked_mul(head_bytes_, static_cast<std::size_t>(heads), "block bytes");
        // Each head's blocks lie side by side, so that neighbours in a table read as one stretch.
        head_stride_ = round_up(
            checked_mul(head_bytes_, static_cast<std::size_t>(blocks), "pool bytes"), page_size());
        arena_ = Mapping(checked_mul(head_stride_, static_cast<std::size_t>(heads), "pool bytes"),
                         Mapping::Pages::huge);
        heads_ = heads;
    }

    /// The lowest free block, with one reference. Error{capacity} if there is none.
    int take() {
        const internal::WholeStep step;
        if (!free_.empty()) {
            std::pop_heap(free_.begin(), free_.end(), std::greater<>());
            const int block = free_.back();
            free_.pop_back();
            references_[static_cast<std::size_t>(block)] = 1;
            return block;
        }
        const auto fresh = static_cast<int>(references_.size());
        require(fresh < blocks_, ErrorCode::capacity, "the pool is full: all ", blocks_,
                " blocks of ", rows_, " rows are in use");
        free_.reserve(references_.size() + 1);  // so that let_go() never allocates
        references_.push_back(1);
        return fresh;
    }
    void share(int block) noexcept {
        const internal::WholeStep step;
        ++references_[static_cast<std::size_t>(block)];
    }
    void let_go(int block) noexcept {
        const internal::WholeStep step;
        if (--references_[static_cast<std::size_t>(block)] > 0) return;
        free_.push_back(block);
        std::push_heap(free_.begin(), free_.end(), std::greater<>());
    }
    int references(int block) const noexcept {
        const internal::WholeStep step;
        return references_[static_cast<std::size_t>(block)];
    }
    /// Blocks in use; used() + free == blocks ever taken.
    int used() const noexcept {
        const internal::WholeStep step;
        return static_cast<int>(references_.size() - free_.size());
    }
    int blocks() const noexcept { return blocks_; }
    int rows() const noexcept { return rows_; }
    std::size_t block_bytes() const noexcept { return block_bytes_; }
    std::size_t head_bytes() const noexcept { return head_bytes_; }
    std::size_t unit_bytes() const noexcept { return unit_bytes_; }
    /// A head's part of block 0; its other blocks follow.
    std::byte* data(int head) const noexcept {
        return arena_.data() + static_cast<std::size_t>(head) * head_stride_;
    }
    /// Copies the rows of one block over another one's.
    void copy(int from, int to) const noexcept {
        for (int h = 0; h < heads_; ++h)
            std::memcpy(data(h) + static_cast<std::size_t>(to) * head_bytes_,
                        data(h) + static_cast<std::size_t>(from) * head_bytes_, head_bytes_);
    }
    const Codec& codec() const noexcept { return *codec_; }

  private:
    std::shared_ptr<const Codec> codec_;
    int rows_;
    int blocks_;
    std::size_t unit_bytes_ = 0;
    std::size_t head_bytes_ = 0;
    std::size_t block_bytes_ = 0;
    std::size_t head_stride_ = 0;
    int heads_ = 0;
    Mapping arena_;
    std::vector<int> references_;  // by block; 0: free
    std::vector<int> free_;        // a heap, the lowest on top
};

/// Pools by what they hold: caches that draw from one set share blocks of the same codec (by name,
/// units and fingerprint) and shape.
/// Thread-safe.
class BlockPools {
  public:
    /// Every pool has `blocks` blocks.
    explicit BlockPools(int blocks) : blocks_(blocks) {
        require(blocks > 0, ErrorCode::invalid_argument, "pools of ", blocks, " blocks");
        internal::watch_forks();
    }
    /// The pool for blocks of `block_rows` rows of this kind, made when it is first asked for.
    /// Throws what BlockPool throws.
    std::shared_ptr<BlockPool> of(const StreamRows& rows, int block_rows) {
        const internal::WholeStep step;
        for (const Entry& entry : entries_)
            if (same(entry.rows, rows) && entry.pool->rows() == block_rows) return entry.pool;
        entries_.push_back({rows, std::make_shared<BlockPool>(rows, block_rows, blocks_)});
        return entries_.back().pool;
    }

  private:
    struct Entry {
        StreamRows rows;
        std::shared_ptr<BlockPool> pool;
    };
    // Codecs may be made anew for every cache: what they are counts.
    static bool same(const StreamRows& a, const StreamRows& b) {
        const Codec& x = *a.codec;
        const Codec& y = *b.codec;
        return a.heads == b.heads && a.dims == b.dims &&
               (&x == &y || (x.name == y.name && x.rows_per_unit == y.rows_per_unit &&
                             x.unit_bytes(a.dims) == y.unit_bytes(a.dims) &&
                             x.fingerprint() == y.fingerprint()));
    }
    int blocks_;
    std::vector<Entry> entries_;
};

}}  // namespace cairn
