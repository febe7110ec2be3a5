// Rows in blocks of a pool, found through a table (PagedAttention, Kwon et al. 2023): blocks are
// counted by reference, a fork copies its table only, and a shared block is copied by the first
// branch that writes into it. One arena a pool, the lowest free block first.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "cairn/cache/store/contiguous.hpp"
#include "cairn/core/memory.hpp"
#include "cairn/core/types.hpp"

namespace cairn::inline CAIRN_ABI {

/// Blocks of one form of one stream, shared by sequences and threads.
class BlockPool {
  public:
    /// `blocks` blocks of `rows` rows of every head. Reserves address space only. Throws
    /// Error{invalid_argument, out_of_memory, limit}.
    BlockPool(const Codec& codec, int heads, int dims, int rows, int blocks)
        : codec_(&codec), rows_(rows), blocks_(blocks) {
        require(rows > 0 && rows % codec.rows_per_unit == 0, ErrorCode::invalid_argument,
                "blocks of ", rows, " rows: rows of ", codec.name, " come in units of ",
                codec.rows_per_unit);
        head_bytes_ = checked_mul(codec.units(rows), codec.unit_bytes(dims), "block bytes");
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
        const std::scoped_lock lock(mutex_);
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
        free_.reserve(references_.size() + 1);  // so that drop() never allocates
        references_.push_back(1);
        return fresh;
    }
    void share(int block) noexcept {
        const std::scoped_lock lock(mutex_);
        ++references_[static_cast<std::size_t>(block)];
    }
    void drop(int block) noexcept {
        const std::scoped_lock lock(mutex_);
        if (--references_[static_cast<std::size_t>(block)] > 0) return;
        free_.push_back(block);
        std::push_heap(free_.begin(), free_.end(), std::greater<>());
    }
    int references(int block) const noexcept {
        const std::scoped_lock lock(mutex_);
        return references_[static_cast<std::size_t>(block)];
    }
    /// Blocks in use; used() + free == blocks ever taken.
    int used() const noexcept {
        const std::scoped_lock lock(mutex_);
        return static_cast<int>(references_.size() - free_.size());
    }
    int blocks() const noexcept { return blocks_; }
    int rows() const noexcept { return rows_; }
    std::size_t block_bytes() const noexcept { return block_bytes_; }
    std::size_t head_bytes() const noexcept { return head_bytes_; }
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
    const Codec* codec_;
    int rows_;
    int blocks_;
    std::size_t head_bytes_ = 0;
    std::size_t block_bytes_ = 0;
    std::size_t head_stride_ = 0;
    int heads_ = 0;
    Mapping arena_;
    mutable std::mutex mutex_;
    std::vector<int> references_;  // by block; 0: free
    std::vector<int> free_;        // a heap, the lowest on top
};

/// Rows of one sequence in blocks of a pool.
class PagedRows final : public RowStore {
  public:
    PagedRows(std::shared_ptr<BlockPool> pool, const Codec& codec, int dims)
        : pool_(std::move(pool)), stride_(static_cast<std::ptrdiff_t>(codec.unit_bytes(dims))) {}
    ~PagedRows() override { cut(0); }
    PagedRows(const PagedRows&) = delete;
    PagedRows& operator=(const PagedRows&) = delete;

    void reserve(int begin, int end) override {
        if (begin >= end) return;
        const int first = begin / pool_->rows();
        const int last = (end - 1) / pool_->rows();
        if (static_cast<std::size_t>(last) >= table_.size()) {
            // By doubling; set aside before anything is taken.
            if (static_cast<std::size_t>(last) >= table_.capacity())
                table_.reserve(std::max<std::size_t>(static_cast<std::size_t>(last) + 1,
                                                     2 * table_.capacity()));
            table_.resize(static_cast<std::size_t>(last) + 1, none);
        }
        fresh_.clear();
        fresh_.reserve(static_cast<std::size_t>(last - first) + 1);
        try {
            for (int b = first; b <= last; ++b) {
                const int block = table_[static_cast<std::size_t>(b)];
                const bool needed = block == none || pool_->references(block) > 1;
                fresh_.push_back(needed ? pool_->take() : none);
            }
        } catch (...) {
            for (const int block : fresh_)
                if (block != none) pool_->drop(block);
            throw;
        }
        for (int b = first; b <= last; ++b) {
            const int block = fresh_[static_cast<std::size_t>(b - first)];
            if (block == none) continue;
            int& entry = table_[static_cast<std::size_t>(b)];
            if (entry != none) {
                pool_->copy(entry, block);
                pool_->drop(entry);
            }
            entry = block;
        }
        released_ = std::min(released_, first);
    }
    void release(int front, int oldest) noexcept override {
        const int first = (front + pool_->rows() - 1) / pool_->rows();
        const int last = std::min(oldest / pool_->rows(), static_cast<int>(table_.size()));
        for (int b = std::max(first, released_); b < last; ++b) drop(b);
        released_ = std::max(released_, last);
        gone_ = std::max(gone_, last);
    }
    void cut(int end) noexcept override {
        const int first = (end + pool_->rows() - 1) / pool_->rows();
        for (int b = first; b < static_cast<int>(table_.size()); ++b) drop(b);
        if (static_cast<std::size_t>(first) < table_.size())
            table_.resize(static_cast<std::size_t>(first));
        if (end == 0) released_ = gone_ = 0;
    }
    int oldest() const noexcept override { return gone_ * pool_->rows(); }
    int front() const noexcept override { return 0; }
    bool unbounded() const noexcept override { return true; }
    void locate(int head, int, Run& run) const noexcept override {
        run.codec = &pool_->codec();
        run.head = head;
        run.data = pool_->data(head);
        run.block_table = table_.data();
        run.block_size = pool_->rows();
        run.block_bytes = static_cast<std::ptrdiff_t>(pool_->head_bytes());
        run.stride = stride_;
    }
    std::unique_ptr<RowStore> share() const override {
        auto other = empty();
        other->table_ = table_;
        other->released_ = released_;
        other->gone_ = gone_;
        for (const int block : table_)
            if (block != none) pool_->share(block);
        return other;
    }
    std::unique_ptr<RowStore> copy(int end) const override {
        auto other = empty();
        other->released_ = released_;
        other->gone_ = gone_;
        other->table_.assign(table_.size(), none);
        for (std::size_t b = 0; b < table_.size(); ++b)
            if (table_[b] != none && static_cast<int>(b) * pool_->rows() < end) {
                other->table_[b] = pool_->take();
                pool_->copy(table_[b], other->table_[b]);
            }
        return other;
    }
    /// Bytes of the blocks in the table, shared or not.
    std::size_t bytes() const noexcept override {
        return static_cast<std::size_t>(
                   std::count_if(table_.begin(), table_.end(), [](int b) { return b != none; })) *
               pool_->block_bytes();
    }
    const BlockPool& pool() const noexcept { return *pool_; }
    const std::vector<int>& table() const noexcept { return table_; }

  private:
    static constexpr int none = -1;
    std::unique_ptr<PagedRows> empty() const {
        return std::unique_ptr<PagedRows>(new PagedRows(pool_, stride_));
    }
    PagedRows(std::shared_ptr<BlockPool> pool, std::ptrdiff_t stride)
        : pool_(std::move(pool)), stride_(stride) {}
    void drop(int index) noexcept {
        int& entry = table_[static_cast<std::size_t>(index)];
        if (entry != none) pool_->drop(entry);
        entry = none;
    }

    std::shared_ptr<BlockPool> pool_;
    std::vector<int> table_;
    std::vector<int> fresh_;
    int released_ = 0;  // blocks below (behind the front) are not in the table
    int gone_ = 0;      // ... or were not at some time: their rows are lost
    std::ptrdiff_t stride_;
};

namespace detail {

// Rows of a codec's unit, as far as the type says it: Kivi's keys come in groups of 32.
template <class Tag>
constexpr int unit_rows() {
    if constexpr (requires { Tag::unit_rows; })
        return Tag::unit_rows;
    else
        return 1;
}

// A pool of its own, with address space for many branches; they share it.
inline std::unique_ptr<RowStore> make_paged(const Codec& codec, int heads, int dims,
                                            const Extent& extent, const StoreOptions& options) {
    const int rows = options.block_rows;
    require(rows > 0, ErrorCode::invalid_argument, "blocks of ", rows, " rows");
    int blocks = options.max_blocks;
    if (blocks == 0) {
        constexpr int branches = 64;
        const int one = extent.capacity / rows + 2;
        blocks = one > row_limit / branches ? one : one * branches;
    }
    return std::make_unique<PagedRows>(
        std::make_shared<BlockPool>(codec, heads, dims, rows, blocks), codec, dims);
}

}  // namespace detail

/// The store of `KvCache<Paged<Int8>>`: blocks of `block_rows` rows in a pool that all branches of
/// a cache share.
template <CodecTag Keys = F32, CodecTag Values = Keys, int block_rows = 16>
class Paged : public StreamPair {
  public:
    using KeyTag = Keys;
    using ValueTag = Values;
    static_assert(block_rows > 0 && block_rows % detail::unit_rows<Keys>() == 0 &&
                      block_rows % detail::unit_rows<Values>() == 0,
                  "Paged<Keys, Values, block_rows>: rows of this codec come in units that do not "
                  "divide the block.");
    Paged(const HeadLayout& layout, const Extent& extent)
        : StreamPair(detail::make_paged, detail::make_hot, {block_rows, 0, 0, {}}, Keys::keys(),
                     Values::values(), layout, extent) {}
    explicit Paged(StreamPair pair) : StreamPair(std::move(pair)) {}
};

}  // namespace cairn::inline CAIRN_ABI
