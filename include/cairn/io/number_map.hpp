// A hash map from 64-bit numbers, flat in memory: the merges of a vocabulary are looked up for
// every pair of symbols of a text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Values by number, in one array with open addressing, at most half full. Numbers may come from a
/// hostile file: where many fall on one place, another hash is taken, so that a search stays short.
template <class Value>
class NumberMap {
  public:
    /// A number that no entry may have.
    static constexpr std::uint64_t none = ~std::uint64_t{0};

    /// The value of a number, or null. Valid until the next `set`.
    const Value* find(std::uint64_t key) const noexcept {
        if (slots_.empty()) return nullptr;
        for (std::size_t at = place(key);; at = (at + 1) & (slots_.size() - 1)) {
            if (slots_[at].key == key) return &slots_[at].value;
            if (slots_[at].key == none) return nullptr;
        }
    }
    /// Gives a number its value, the last one if given twice. Throws std::bad_alloc; then nothing
    /// has changed.
    void set(std::uint64_t key, const Value& value) {
        if (2 * (size_ + 1) > slots_.size()) rebuild(slots_.empty() ? 16 : 2 * slots_.size());
        for (int tries = 1; !put(key, value); ++tries)
            rebuild(tries % 8 == 0 ? 2 * slots_.size() : slots_.size());
    }
    std::size_t size() const noexcept { return size_; }

  private:
    struct Slot {
        std::uint64_t key = none;
        Value value{};
    };
    static constexpr std::size_t longest_search = 256;

    std::size_t place(std::uint64_t key) const noexcept {
        std::uint64_t h = (key ^ seed_) * 0x9E3779B97F4A7C15U;
        h = (h ^ (h >> 32)) * (0xD6E8FEB86659FD93U + 2 * seed_);
        return static_cast<std::size_t>(h >> 32) & (slots_.size() - 1);
    }
    bool put(std::uint64_t key, const Value& value) noexcept {
        std::size_t at = place(key);
        for (std::size_t n = 0; n < longest_search; ++n, at = (at + 1) & (slots_.size() - 1)) {
            if (slots_[at].key != none && slots_[at].key != key) continue;
            size_ += slots_[at].key == none ? 1 : 0;
            slots_[at] = {key, value};
            return true;
        }
        return false;
    }
    void rebuild(std::size_t count) {
        std::vector<Slot> old(count);
        old.swap(slots_);
        for (bool good = false; !good;) {
            good = true;
            ++seed_;
            size_ = 0;
            for (Slot& slot : slots_) slot.key = none;
            for (const Slot& slot : old)
                if (slot.key != none && !put(slot.key, slot.value)) {
                    good = false;
                    break;
                }
        }
    }
    std::vector<Slot> slots_;  // a power of two of them
    std::size_t size_ = 0;
    std::uint64_t seed_ = 0;
};

}}  // namespace cairn
