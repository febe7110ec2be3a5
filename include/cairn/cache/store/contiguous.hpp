// The plain append buffer: every KV head's rows in one stretch of address space that reaches to the
// capacity. Pages cost memory when the first row touches them; rows never move.
//
//   head 0: [row 0][row 1]...            ...[capacity)  padded to a page
//   head 1: [row 0][row 1]...
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>

#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/run.hpp"
#include "cairn/core/memory.hpp"
#include "cairn/core/types.hpp"

namespace cairn::inline CAIRN_ABI {

/// The bytes of one stream (keys or values) of one layer.
class ContiguousStream {
  public:
    /// Reserves address space for `capacity` rows of each head. Throws Error{out_of_memory, limit}.
    ContiguousStream(const Codec& codec, int heads, int dims, int capacity)
        : codec_(&codec), heads_(heads), dims_(dims), capacity_(capacity) {
        unit_bytes_ = codec.unit_bytes(dims);
        head_bytes_ =
            round_up(checked_mul(codec.units(capacity), unit_bytes_, "cache bytes"), page_size());
        memory_ = std::make_shared<Memory>(
            checked_mul(head_bytes_, static_cast<std::size_t>(heads), "cache bytes"));
        memory_->owner = id_ = new_id();
    }

    /// Makes rows [begin, end) writable; copies the rows before them first if a fork shares the
    /// memory and has the right to append to it. Strong guarantee.
    void reserve(int begin, int end) {
        if (memory_.use_count() == 1) {
            std::atomic_thread_fence(std::memory_order_acquire);
            memory_->owner = id_;
            memory_->shared = 0;
        } else if (memory_->owner != id_ || begin < memory_->shared) {
            auto own = std::make_shared<Memory>(memory_->mapping.size());
            const std::size_t used = codec_->units(begin) * unit_bytes_;
            for (int h = 0; h < heads_; ++h)
                std::memcpy(own->mapping.data() + offset(h), memory_->mapping.data() + offset(h),
                            used);
            own->high = begin;
            own->owner = id_;
            memory_ = std::move(own);
        }
        if (end > memory_->high) memory_->high = end;
    }

    /// Encodes rows from `begin` on; x is [count][stride], head after head inside a row.
    void write(int begin, int count, const float* x, std::ptrdiff_t stride) const {
        Run run;
        for (int h = 0; h < heads_; ++h) {
            locate(h, run);
            codec_->encode(x + h * dims_, stride, dims_, run.rows(begin, begin + count));
        }
    }

    /// Fills the store's and the codec's fields of a run.
    void locate(int head, Run& run) const noexcept {
        run.codec = codec_;
        run.head = head;
        run.data = memory_->mapping.data() + offset(head);
        run.block_table = nullptr;
        run.block_size = static_cast<int>(codec_->units(capacity_)) * codec_->rows_per_unit;
        run.block_bytes = 0;
        run.stride = static_cast<std::ptrdiff_t>(unit_bytes_);
    }

    /// A second stream over the same rows; who appends first without owning the end copies.
    ContiguousStream share() const {
        int seen = memory_->shared;
        while (seen < memory_->high &&
               !memory_->shared.compare_exchange_weak(seen, memory_->high)) {
        }
        ContiguousStream other(*this);
        other.id_ = new_id();
        return other;
    }
    /// A stream with memory of its own that holds the first `rows` rows.
    ContiguousStream copy(int rows) const {
        ContiguousStream other = share();
        other.reserve(rows, rows);
        return other;
    }

    /// Bytes of pages that rows have touched.
    std::size_t bytes() const noexcept {
        return static_cast<std::size_t>(heads_) *
               round_up(codec_->units(memory_->high) * unit_bytes_, page_size());
    }
    /// The same for a stream that holds `rows` rows, without making one.
    static std::size_t bytes_for(const Codec& codec, int heads, int dims, int rows) {
        return checked_mul(
            static_cast<std::size_t>(heads),
            round_up(checked_mul(codec.units(rows), codec.unit_bytes(dims), "cache bytes"),
                     page_size()),
            "cache bytes");
    }
    /// The textbook formula: rows x heads x bytes of a row.
    std::size_t payload_bytes(int rows) const {
        return static_cast<std::size_t>(rows) * static_cast<std::size_t>(heads_) *
               codec_->row_bytes(dims_);
    }
    const Codec& codec() const noexcept { return *codec_; }
    int dims() const noexcept { return dims_; }
    bool valid() const noexcept { return memory_ != nullptr; }

  private:
    struct Memory {
        explicit Memory(std::size_t bytes) : mapping(bytes, Mapping::Pages::small) {}
        Mapping mapping;
        std::atomic<int> high{0};             // rows ever written
        std::atomic<int> shared{0};           // rows that a fork may see: never written in place
        std::atomic<std::uint64_t> owner{0};  // the stream that may append in place
    };
    ContiguousStream(const ContiguousStream&) = default;
    static std::uint64_t new_id() noexcept {
        static std::atomic<std::uint64_t> next{1};
        return next.fetch_add(1, std::memory_order_relaxed);
    }
    std::size_t offset(int head) const noexcept {
        return static_cast<std::size_t>(head) * head_bytes_;
    }

  public:
    ContiguousStream(ContiguousStream&&) noexcept = default;
    ContiguousStream& operator=(ContiguousStream&&) noexcept = default;
    ~ContiguousStream() = default;

  private:
    const Codec* codec_;
    int heads_;
    int dims_;
    int capacity_;
    std::size_t unit_bytes_ = 0;
    std::size_t head_bytes_ = 0;
    std::uint64_t id_ = 0;
    std::shared_ptr<Memory> memory_;
};

/// Two streams with codecs chosen at run time.
class ContiguousStore {
  public:
    ContiguousStore(const Codec& keys, const Codec& values, const HeadLayout& layout, int capacity)
        : keys_(keys, layout.kv_heads, layout.key_dim, capacity),
          values_(values, layout.kv_heads, layout.value_dim, capacity) {}

    /// Strong guarantee: the two reservations only add room.
    void reserve(int begin, int end) {
        keys_.reserve(begin, end);
        values_.reserve(begin, end);
    }
    ContiguousStream& keys() noexcept { return keys_; }
    ContiguousStream& values() noexcept { return values_; }
    const ContiguousStream& keys() const noexcept { return keys_; }
    const ContiguousStream& values() const noexcept { return values_; }

    /// The same rows, shared until somebody writes.
    ContiguousStore share() const { return {keys_.share(), values_.share()}; }
    /// The first `rows` rows in memory of their own.
    ContiguousStore copy(int rows) const { return {keys_.copy(rows), values_.copy(rows)}; }

  private:
    ContiguousStore(ContiguousStream keys, ContiguousStream values)
        : keys_(std::move(keys)), values_(std::move(values)) {}
    ContiguousStream keys_;
    ContiguousStream values_;
};

/// The store of `KvCache<Contiguous<Keys, Values>>`: keys and values may have different codecs.
template <CodecTag Keys = F32, CodecTag Values = Keys>
class Contiguous : public ContiguousStore {
  public:
    Contiguous(const HeadLayout& layout, int capacity)
        : ContiguousStore(Keys::keys(), Values::values(), layout, capacity) {}
    explicit Contiguous(ContiguousStore store) : ContiguousStore(std::move(store)) {}
};

}  // namespace cairn::inline CAIRN_ABI
