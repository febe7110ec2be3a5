// A queue of numbers that come out in ascending order, in linear time where those that come in are
// rarely below the last one taken: the merges of a long piece of text.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

// A radix heap (Ahuja, Mehlhorn, Orlin and Tarjan 1990). A number lies
// in the bucket of the highest bit in which it differs from the last one taken, so taking the next
// one only moves numbers to lower buckets, in long streams: linear time, where an ordinary heap
// jumps through memory log n times. Numbers below the last one, which trained merges hardly ever
// bring, wait in a heap of their own.
class RadixHeap {
  public:
    void clear() noexcept {
        for (auto& bucket : buckets_) bucket.clear();
        early_.clear();
        last_ = 0;
        size_ = 0;
    }
    bool empty() const noexcept { return size_ == 0; }
    void push(std::uint64_t number) {
        if (number < last_) {
            early_.push_back(number);
            std::push_heap(early_.begin(), early_.end(), std::greater<>{});
        } else {
            bucket_of(number).push_back(number);
        }
        ++size_;
    }
    /// Takes the least number; there is one. Equal ones come one after another.
    std::uint64_t pop() {
        --size_;
        if (!early_.empty()) {
            std::pop_heap(early_.begin(), early_.end(), std::greater<>{});
            const std::uint64_t number = early_.back();
            early_.pop_back();
            return number;
        }
        if (buckets_[0].empty()) spread();
        buckets_[0].pop_back();
        return last_;
    }

  private:
    std::vector<std::uint64_t>& bucket_of(std::uint64_t number) noexcept {
        return buckets_[static_cast<std::size_t>(std::bit_width(number ^ last_))];
    }
    void spread() {
        std::size_t first = 1;
        while (buckets_[first].empty()) ++first;
        auto& from = buckets_[first];
        last_ = *std::min_element(from.begin(), from.end());
        for (const std::uint64_t number : from) bucket_of(number).push_back(number);
        from.clear();
    }
    std::array<std::vector<std::uint64_t>, 65> buckets_;
    std::vector<std::uint64_t> early_;
    std::uint64_t last_ = 0;
    std::size_t size_ = 0;
};

}}}  // namespace cairn::internal
