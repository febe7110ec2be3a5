// The plain append buffer: every KV head's rows in one stretch of address space that reaches to the
// capacity. Pages cost memory when the first row touches them; rows never move. Where a keep
// forgets old rows the stretch is a pinned front and a ring.
//
//   head 0: [row 0][row 1]...            ...[capacity)  padded to a page
//   head 1: [row 0][row 1]...
//
// `Mapped` is the same with the pages under its own control: they are committed as tokens arrive
// and given back on truncate (the idea of vAttention, Prabhu et al. 2024, on a CPU).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>

#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/seam/store_policy.hpp"
#include "cairn/core/memory.hpp"
#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// When pages of a contiguous stretch become memory, and whether they are given back.
enum class Commit : std::uint8_t { on_touch, on_demand };

/// Rows in one stretch a head.
class ContiguousRows final : public RowStore {
  public:
    /// Reserves address space. Throws Error{out_of_memory, limit}.
    [[gnu::cold]] ContiguousRows(const Codec& codec, int heads, int dims, const Extent& extent,
                                 Commit commit)
        : codec_(&codec), heads_(heads), commit_(commit), ring_(extent.ring(codec.rows_per_unit)) {
        front_ = ring_ > 0 ? extent.front(codec.rows_per_unit) : 0;
        capacity_ = ring_ > 0 ? ring_ : extent.capacity;
        unit_bytes_ = codec.unit_bytes(dims);
        head_bytes_ = round_up(
            checked_mul(codec.units(front_) + codec.units(capacity_), unit_bytes_, "cache bytes"),
            page_size());
        memory_ = make_memory();
        memory_->owner = id_ = new_id();
    }

    void reserve(int begin, int end) override {
        // Rows below `begin` that were never written (loading leaves forgotten ones out) do not
        // come along.
        const int high = memory_->high;
        make_writable(begin, end, ring_ > 0 ? high : std::min(begin, high));
    }
    void rewrite(int begin, int end) override {
        // What the owner may be appending meanwhile is not this branch's.
        const int high = memory_->high;
        make_writable(begin, end,
                      memory_->owner == id_ ? high : std::min(high, memory_->shared.load()));
    }
    void release(int, int) noexcept override {}
    // Only on_demand gives memory back at once; pages stay where others may see them or where rows
    // that stay are a ring.
    void cut(int end) noexcept override {
        if (commit_ == Commit::on_demand) give_back(end);
    }
    void trim(int end) noexcept override { give_back(end); }
    int oldest() const noexcept override {
        const int high = memory_->high;
        return ring_ > 0 && high - ring_ > front_ ? high - ring_ : front_;
    }
    int front() const noexcept override { return front_; }
    bool holds(int, int end) const noexcept override { return end <= memory_->high; }
    void locate(int head, int row, Run& run) const noexcept override {
        run.codec = codec_;
        run.head = head;
        run.data = memory_->mapping.data() + offset(head);
        if (row >= front_) run.data += codec_->units(front_) * unit_bytes_;
        run.block_table = nullptr;
        run.block_size = row < front_
                             ? front_
                             : static_cast<int>(codec_->units(capacity_)) * codec_->rows_per_unit;
        run.block_bytes = 0;
        run.stride = static_cast<std::ptrdiff_t>(unit_bytes_);
    }
    std::unique_ptr<RowStore> share() const override {
        int seen = memory_->shared;
        while (seen < memory_->high &&
               !memory_->shared.compare_exchange_weak(seen, memory_->high)) {
        }
        auto other = std::unique_ptr<ContiguousRows>(new ContiguousRows(*this));
        other->id_ = new_id();
        return other;
    }
    std::unique_ptr<RowStore> copy(int end) const override {
        auto other = share();
        other->reserve(end, end);
        return other;
    }
    /// Bytes of pages that rows have touched, or that are committed.
    std::size_t bytes() const noexcept override {
        return static_cast<std::size_t>(heads_) *
               round_up(touched(memory_->high) * unit_bytes_, page_size());
    }
    /// The same for rows numbered below `end`, without any.
    static std::size_t bytes_for(const Codec& codec, int heads, int dims, const Extent& extent,
                                 int end) {
        const int ring = extent.ring(codec.rows_per_unit);
        const std::size_t units = ring > 0 ? codec.units(extent.front(codec.rows_per_unit)) +
                                                 codec.units(std::min(end, ring))
                                           : codec.units(end);
        return checked_mul(
            static_cast<std::size_t>(heads),
            round_up(checked_mul(end > 0 ? units : 0, codec.unit_bytes(dims), "cache bytes"),
                     page_size()),
            "cache bytes");
    }

  private:
    struct Memory {
        Memory(std::size_t bytes, Mapping::Pages pages) : mapping(bytes, pages) {}
        Mapping mapping;
        std::size_t committed = 0;            // bytes of each head, on_demand only
        std::atomic<int> high{0};             // rows ever written
        std::atomic<int> shared{0};           // rows that a fork may see: never written in place
        std::atomic<std::uint64_t> owner{0};  // the stream that may append in place
    };
    ContiguousRows(const ContiguousRows&) = default;
    static std::uint64_t new_id() noexcept {
        static std::atomic<std::uint64_t> next{1};
        return next.fetch_add(1, std::memory_order_relaxed);
    }
    std::shared_ptr<Memory> make_memory() const {
        return std::make_shared<Memory>(
            checked_mul(head_bytes_, static_cast<std::size_t>(heads_), "cache bytes"),
            commit_ == Commit::on_touch ? Mapping::Pages::small : Mapping::Pages::reserved);
    }
    // `used` rows come along if the memory is shared and must be copied.
    void make_writable(int begin, int end, int used) {
        if (memory_.use_count() == 1) {
            std::atomic_thread_fence(std::memory_order_acquire);
#if defined(__SANITIZE_THREAD__)
            // The sanitizer knows no fences: a reference that comes and goes says the same.
            const std::shared_ptr<Memory> seen = memory_;
#endif
            memory_->owner = id_;
            memory_->shared = 0;
        } else if (ring_ > 0 || memory_->owner != id_ || begin < memory_->shared) {
            auto own = make_memory();
            commit_pages(*own, std::max(used, end));
            const std::size_t bytes = touched(used) * unit_bytes_;
            for (int h = 0; h < heads_; ++h)
                std::memcpy(own->mapping.data() + offset(h), memory_->mapping.data() + offset(h),
                            bytes);
            own->high = used;
            own->owner = id_;
            memory_ = std::move(own);
        }
        commit_pages(*memory_, end);
        if (end > memory_->high) memory_->high = end;
    }
    void give_back(int end) noexcept {
        if (memory_.use_count() != 1 || end >= memory_->high) return;
        if (ring_ > 0 && end > 0) return;  // a ring's rows lie anywhere
        const bool on_demand = commit_ == Commit::on_demand;
        const std::size_t kept = round_up(touched(end) * unit_bytes_, page_size());
        const std::size_t used = on_demand
                                     ? memory_->committed
                                     : round_up(touched(memory_->high) * unit_bytes_, page_size());
        if (kept >= used) return;
        for (int h = 0; h < heads_; ++h)
            if (on_demand)
                memory_->mapping.decommit(offset(h) + kept, used - kept);
            else
                memory_->mapping.discard(offset(h) + kept, used - kept);
        if (on_demand) memory_->committed = kept;
        memory_->high = end;
        memory_->shared = 0;
    }
    // Units of a head that rows below `end` touch.
    std::size_t touched(int end) const noexcept {
        if (end <= 0) return 0;
        return ring_ > 0 ? codec_->units(front_) + codec_->units(std::min(end, ring_))
                         : codec_->units(end);
    }
    void commit_pages(Memory& memory, int end) const {
        if (commit_ == Commit::on_touch) return;
        const std::size_t wanted = round_up(touched(end) * unit_bytes_, page_size());
        if (wanted <= memory.committed) return;
        for (int h = 0; h < heads_; ++h)
            memory.mapping.commit(offset(h) + memory.committed, wanted - memory.committed);
        memory.committed = wanted;
    }
    std::size_t offset(int head) const noexcept {
        return static_cast<std::size_t>(head) * head_bytes_;
    }

    const Codec* codec_;
    int heads_;
    Commit commit_;
    int ring_;
    int front_ = 0;
    int capacity_ = 0;
    std::size_t unit_bytes_ = 0;
    std::size_t head_bytes_ = 0;
    std::uint64_t id_ = 0;
    std::shared_ptr<Memory> memory_;
};

/// The store of `KvCache<Contiguous<Keys, Values>>`: keys and values may have different codecs.
template <CodecPolicy Keys = F32, CodecPolicy Values = Keys>
struct Contiguous {
    Keys keys{};
    Values values{};

    static constexpr std::string_view word = "contiguous";
    static constexpr StoreFacts facts{.flat = true, .shares = true};
    std::unique_ptr<RowStore> make(const StreamRows& rows, const Extent& extent) const {
        return std::make_unique<ContiguousRows>(*rows.codec, rows.heads, rows.dims, extent,
                                                Commit::on_touch);
    }
    static std::size_t bytes(const Codec& codec, int heads, int dims, const Extent& extent, int end,
                             int, int) {
        return ContiguousRows::bytes_for(codec, heads, dims, extent, end);
    }
};

/// The same bytes with pages committed as tokens arrive and given back on truncate: too little
/// memory is a typed error and never a kill.
template <CodecPolicy Keys = F32, CodecPolicy Values = Keys>
struct Mapped {
    Keys keys{};
    Values values{};

    static constexpr std::string_view word = "mapped";
    static constexpr std::string_view help =
        "as contiguous; pages are committed as rows come and given back by truncate";
    static constexpr StoreFacts facts{.flat = true, .shares = true};
    std::unique_ptr<RowStore> make(const StreamRows& rows, const Extent& extent) const {
        return std::make_unique<ContiguousRows>(*rows.codec, rows.heads, rows.dims, extent,
                                                Commit::on_demand);
    }
    static std::size_t bytes(const Codec& codec, int heads, int dims, const Extent& extent, int end,
                             int, int) {
        return ContiguousRows::bytes_for(codec, heads, dims, extent, end);
    }
};

}}  // namespace cairn
