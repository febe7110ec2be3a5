// Rows in blocks of a pool, found through a table (PagedAttention, Kwon et al. 2023): a fork copies
// its table only, and a shared block is copied by the first branch that writes into it.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/seam/options.hpp"
#include "cairn/cache/store/block_pool.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Rows of one sequence in blocks of a pool.
class PagedRows final : public RowStore {
  public:
    /// Rows as the pool's codec writes them, or as another one of the same name and units does.
    explicit PagedRows(std::shared_ptr<BlockPool> pool, std::shared_ptr<const Codec> codec = {})
        : pool_(std::move(pool)), codec_(std::move(codec)) {}
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
                if (block != none) pool_->let_go(block);
            throw;
        }
        for (int b = first; b <= last; ++b) {
            const int block = fresh_[static_cast<std::size_t>(b - first)];
            if (block == none) continue;
            int& entry = table_[static_cast<std::size_t>(b)];
            if (entry != none) {
                pool_->copy(entry, block);
                pool_->let_go(entry);
            }
            entry = block;
        }
        released_ = std::min(released_, first);
    }
    void release(int front, int oldest) noexcept override {
        const int first = (front + pool_->rows() - 1) / pool_->rows();
        const int last = std::min(oldest / pool_->rows(), static_cast<int>(table_.size()));
        for (int b = std::max(first, released_); b < last; ++b) let_go(b);
        released_ = std::max(released_, last);
        gone_ = std::max(gone_, last);
    }
    void cut(int end) noexcept override {
        const int first = (end + pool_->rows() - 1) / pool_->rows();
        for (int b = first; b < static_cast<int>(table_.size()); ++b) let_go(b);
        if (static_cast<std::size_t>(first) < table_.size())
            table_.resize(static_cast<std::size_t>(first));
        if (end == 0) released_ = gone_ = 0;
    }
    int oldest() const noexcept override { return gone_ * pool_->rows(); }
    int front() const noexcept override { return 0; }
    bool unbounded() const noexcept override { return true; }
    bool holds(int begin, int end) const noexcept override {
        for (int b = begin / pool_->rows(); b * pool_->rows() < end; ++b)
            if (static_cast<std::size_t>(b) >= table_.size() ||
                table_[static_cast<std::size_t>(b)] == none)
                return false;
        return true;
    }
    void locate(int head, int, Run& run) const noexcept override {
        run.codec = codec_ != nullptr ? codec_.get() : &pool_->codec();
        run.head = head;
        run.data = pool_->data(head);
        run.block_table = table_.data();
        run.block_size = pool_->rows();
        run.block_bytes = static_cast<std::ptrdiff_t>(pool_->head_bytes());
        run.stride = static_cast<std::ptrdiff_t>(pool_->unit_bytes());
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
    PoolUse pool_use() const noexcept override { return {pool_->used(), pool_->blocks()}; }

  private:
    static constexpr int none = -1;
    std::unique_ptr<PagedRows> empty() const { return std::make_unique<PagedRows>(pool_, codec_); }
    void let_go(int index) noexcept {
        int& entry = table_[static_cast<std::size_t>(index)];
        if (entry != none) pool_->let_go(entry);
        entry = none;
    }

    std::shared_ptr<BlockPool> pool_;
    std::shared_ptr<const Codec> codec_;
    std::vector<int> table_;
    std::vector<int> fresh_;
    int released_ = 0;  // blocks below (behind the front) are not in the table
    int gone_ = 0;      // ... or were not at some time: their rows are lost
};

/// The store of `KvCache<Paged<Int8>>`: blocks of `block_rows` rows in a pool that all branches of
/// a cache share.
template <CodecPolicy Keys = F32, CodecPolicy Values = Keys, int block = 16>
struct Paged {
    static_assert(block > 0, "Paged<Keys, Values, block_rows>: a block has rows.");
    Keys keys{};
    Values values{};
    int block_rows = block;
    int blocks = 0;  ///< of a stream's pool; 0: as address space allows, for many branches
    /// Pools that several caches draw from; null: a pool of its own for every cache and its
    /// branches.
    std::shared_ptr<BlockPools> pool{};

    static constexpr std::string_view word = "paged";
    static constexpr std::string_view help =
        "blocks of N rows from a pool, copy on write, context shift";
    static constexpr StoreFacts facts{.flat = false, .shares = true, .block_rows = block};
    StoreFacts facts_now() const noexcept {
        return {.flat = false, .shares = true, .block_rows = block_rows};
    }
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "rows a block", 1}, self.block_rows);
        visit(
            Option{"blocks", "blocks of a pool; 0: as address space allows", 0, Given::unless_zero},
            self.blocks);
    }

    std::unique_ptr<RowStore> make(const StreamRows& rows, const Extent& extent) const {
        require(block_rows > 0 && blocks >= 0, ErrorCode::invalid_argument, "blocks of ",
                block_rows, " rows, ", blocks, " of them");
        if (pool != nullptr)
            return std::make_unique<PagedRows>(pool->of(rows, block_rows), rows.codec);
        return std::make_unique<PagedRows>(
            std::make_shared<BlockPool>(rows, block_rows, blocks_for(extent)));
    }
    std::size_t bytes(const Codec& codec, int heads, int dims, const Extent&, int end, int front,
                      int oldest) const {
        const int used = ceiling(end);
        const int gone = std::max(0, std::min(oldest / block_rows, used) - ceiling(front));
        return checked_mul(
            checked_mul(static_cast<std::size_t>(used - gone) * codec.units(block_rows),
                        codec.unit_bytes(dims), "cache bytes"),
            static_cast<std::size_t>(heads), "cache bytes");
    }

  private:
    int ceiling(int rows) const noexcept { return rows / block_rows + (rows % block_rows != 0); }
    int blocks_for(const Extent& extent) const noexcept {
        if (blocks > 0) return blocks;
        constexpr int branches = 64;
        const int one = extent.capacity / block_rows + 2;
        return one > row_limit / branches ? one : one * branches;
    }
};

}}  // namespace cairn
