// A budget of rows in memory; whole blocks behind them lie in a temporary file and are read while
// attention needs them, one segment a worker, the next one announced to the system meanwhile.
//
//   row numbers   0 ....... spilled ....... committed ... length
//   file          [block 0][block 1]
//   memory                          [ring: budget + a chunk + a block]
//
// A block is written once and never changed: branches share it, and a truncation into it reads it
// back before the next row is written.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "cairn/cache/seam/row_source.hpp"
#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/seam/store_policy.hpp"
#include "cairn/core/memory.hpp"
#include "cairn/core/scratch_file.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Rows of which the newest are in memory and the others on disk.
class SpilledRows final : public RowStore, public RowSource {
  public:
    /// Reserves address space. Throws Error{invalid_argument, out_of_memory, limit}.
    SpilledRows(const StreamRows& rows, const Extent& extent, int memory_rows,
                std::shared_ptr<ScratchFile> file)
        : codec_(rows.codec.get()),
          heads_(rows.heads),
          block_(block_rows(memory_rows)),
          ring_(ring_rows(extent, memory_rows)),
          unit_bytes_(rows.codec->unit_bytes(rows.dims)),
          head_bytes_(head_bytes(*rows.codec, rows.dims, ring_)),
          file_(std::move(file)) {
        require(memory_rows > 0 && file_ != nullptr, ErrorCode::invalid_argument,
                "a store on disk needs rows in memory and a file, not ", memory_rows);
        make_ring();
    }
    ~SpilledRows() override { cut(0); }
    SpilledRows& operator=(const SpilledRows&) = delete;

    /// Rows of a block on disk.
    static int block_rows(int memory_rows) noexcept {
        const auto rows = std::bit_floor(static_cast<unsigned>(std::max(memory_rows, 1)));
        return std::clamp(static_cast<int>(rows), 32, fetch_rows);
    }
    /// Rows of the ring in memory: the whole capacity where that is less.
    static int ring_rows(const Extent& extent, int memory_rows) noexcept {
        const int block = block_rows(memory_rows);
        const auto up = [&](int rows) { return (rows + block - 1) / block * block; };
        if (memory_rows >= extent.capacity) return up(extent.capacity);
        return std::min(up(extent.capacity), up(memory_rows + extent.chunk) + block);
    }

    void reserve(int begin, int end) override {
        if (begin < front()) reload(begin);
        while (end - front() > ring_) spill();
        high_ = std::max(high_, end);
    }
    void release(int, int) noexcept override {}
    void cut(int end) noexcept override {
        while (front() - block_ >= end && !blocks_.empty()) {
            file_->let_go(blocks_.back());
            blocks_.pop_back();
        }
    }
    void trim(int end) noexcept override {
        cut(end);
        if (end > 0 || high_ == 0) return;
        memory_.discard(0, head_bytes_ * static_cast<std::size_t>(heads_));
        high_ = 0;
    }
    int oldest() const noexcept override { return 0; }
    int front() const noexcept override { return static_cast<int>(blocks_.size()) * block_; }
    bool chunked() const noexcept override { return true; }
    void locate(int head, int row, Run& run) const noexcept override {
        run.codec = codec_;
        run.head = head;
        run.block_table = nullptr;
        run.block_size = ring_;
        run.block_bytes = 0;
        run.stride = static_cast<std::ptrdiff_t>(unit_bytes_);
        run.source = row < front() ? this : nullptr;
        run.data = row < front() ? nullptr : at(head, 0);
    }
    std::unique_ptr<RowStore> share() const override {
        auto other = std::unique_ptr<SpilledRows>(new SpilledRows(*this));
        other->make_ring();
        other->blocks_.reserve(blocks_.size());
        const std::size_t used = codec_->units(std::min(high_, ring_)) * unit_bytes_;
        for (int h = 0; h < heads_; ++h) std::memcpy(other->at(h, 0), at(h, 0), used);
        for (const ScratchFile::Slot slot : blocks_) {
            file_->share(slot);
            other->blocks_.push_back(slot);
        }
        return other;
    }
    /// Blocks on disk never change: they are shared by copies too.
    std::unique_ptr<RowStore> copy(int) const override { return share(); }
    /// Bytes of pages in memory that rows have touched.
    std::size_t bytes() const noexcept override {
        return static_cast<std::size_t>(heads_) *
               round_up(codec_->units(std::min(high_, ring_)) * unit_bytes_, page_size());
    }
    /// The same for rows numbered below `end`, without any.
    static std::size_t bytes_for(const Codec& codec, int heads, int dims, const Extent& extent,
                                 int end, int memory_rows) {
        const int rows = std::min(end, ring_rows(extent, memory_rows));
        return checked_mul(static_cast<std::size_t>(heads), head_bytes(codec, dims, rows),
                           "cache bytes");
    }

    int fetch(int head, int begin, int end, std::byte* to) const noexcept override {
        for (int row = begin; row < end;) {
            const int stop = std::min(end, (row / block_ + 1) * block_);
            const std::size_t size = codec_->units(stop - row) * unit_bytes_;
            const int failed = file_->read(slot(row), offset(head, row), to, size);
            if (failed != 0) return failed;
            to += size;
            row = stop;
        }
        return 0;
    }
    void prefetch(int head, int begin, int end) const noexcept override {
        end = std::min(end, front());
        for (int row = begin / codec_->rows_per_unit * codec_->rows_per_unit; row < end;) {
            const int stop = std::min(end, (row / block_ + 1) * block_);
            file_->prefetch(slot(row), offset(head, row), codec_->units(stop - row) * unit_bytes_);
            row = stop;
        }
    }

  private:
    // Without the blocks: share() counts them.
    SpilledRows(const SpilledRows& other)
        : codec_(other.codec_),
          heads_(other.heads_),
          block_(other.block_),
          ring_(other.ring_),
          high_(other.high_),
          unit_bytes_(other.unit_bytes_),
          head_bytes_(other.head_bytes_),
          file_(other.file_) {}
    static std::size_t head_bytes(const Codec& codec, int dims, int rows) {
        return round_up(checked_mul(codec.units(rows), codec.unit_bytes(dims), "cache bytes"),
                        page_size());
    }
    void make_ring() {
        memory_ = Mapping(checked_mul(head_bytes_, static_cast<std::size_t>(heads_), "cache bytes"),
                          Mapping::Pages::small);
    }
    std::byte* at(int head, int row) const noexcept {
        return memory_.data() + static_cast<std::size_t>(head) * head_bytes_ +
               static_cast<std::size_t>(row % ring_ / codec_->rows_per_unit) * unit_bytes_;
    }
    std::size_t block_head_bytes() const noexcept { return codec_->units(block_) * unit_bytes_; }
    ScratchFile::Slot slot(int row) const noexcept {
        return blocks_[static_cast<std::size_t>(row / block_)];
    }
    std::size_t offset(int head, int row) const noexcept {
        return static_cast<std::size_t>(head) * block_head_bytes() +
               static_cast<std::size_t>(row % block_ / codec_->rows_per_unit) * unit_bytes_;
    }
    // Writes the oldest block in memory to the file. The ring is whole blocks: none wraps.
    void spill() {
        const int row = front();
        blocks_.reserve(blocks_.size() + 1);
        const ScratchFile::Slot slot =
            file_->take(block_head_bytes() * static_cast<std::size_t>(heads_));
        try {
            for (int h = 0; h < heads_; ++h)
                file_->write(slot, offset(h, row), at(h, row), block_head_bytes());
        } catch (...) {
            file_->let_go(slot);
            throw;
        }
        blocks_.push_back(slot);
    }
    // Brings the block that row `begin` will be written into back, where rows before it stay. The
    // ring then holds nothing else: all that was in it came behind.
    void reload(int begin) {
        cut((begin + block_ - 1) / block_ * block_);
        if (begin >= front()) return;
        const int first = front() - block_;
        for (int h = 0; h < heads_; ++h) {
            const int failed = fetch(h, first, front(), at(h, first));
            require(failed == 0, ErrorCode::io, "rows ", first, " to ", front(),
                    " of the cache on disk: ", std::strerror(failed));
        }
        file_->let_go(blocks_.back());
        blocks_.pop_back();
        high_ = std::max(high_, first + block_);
    }

    const Codec* codec_;
    int heads_;
    int block_;
    int ring_;
    int high_ = 0;  // rows ever written
    std::size_t unit_bytes_;
    std::size_t head_bytes_;
    std::shared_ptr<ScratchFile> file_;
    Mapping memory_;
    std::vector<ScratchFile::Slot> blocks_;  // on disk, ascending from row 0
};

/// The store of `KvCache<Spilled<F16, F16, 4096>>`: the last `memory_rows` rows (and up to a chunk
/// and a block more) in memory, whole blocks before them in a temporary file without a name, opened
/// when it is first needed. Copies of the policy share its file.
template <CodecPolicy Keys = F16, CodecPolicy Values = Keys, int rows_in_memory = 4096>
struct Spilled {
    static_assert(rows_in_memory > 0,
                  "Spilled<Keys, Values, memory_rows>: some rows must be in memory.");
    Keys keys{};
    Values values{};
    int memory_rows = rows_in_memory;
    std::shared_ptr<ScratchFile> file = std::make_shared<ScratchFile>();

    static constexpr StoreFacts facts{.flat = true, .shares = true, .on_disk = true};
    std::unique_ptr<RowStore> make(const StreamRows& rows, const Extent& extent) const {
        return std::make_unique<SpilledRows>(rows, extent, memory_rows, file);
    }
    std::size_t bytes(const Codec& codec, int heads, int dims, const Extent& extent, int end, int,
                      int) const {
        return SpilledRows::bytes_for(codec, heads, dims, extent, end, memory_rows);
    }
    std::string spec() const { return "contiguous,disk=" + std::to_string(memory_rows); }
};

}}  // namespace cairn
