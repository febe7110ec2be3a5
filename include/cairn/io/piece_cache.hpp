// The pieces of a text that were encoded already: most words of a text come again.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Where the ids of a piece lie among those written so far. Every piece has one place, which the
/// last comer takes: bounded, and a hostile text loses what the cache would have saved, no more.
class PieceCache {
  public:
    /// Longer pieces are not kept.
    static constexpr std::size_t longest = 16;

    /// For a text of this size.
    explicit PieceCache(std::size_t text_bytes)
        : entries_(std::bit_ceil(std::clamp<std::size_t>(text_bytes / 8, 8, 8192))) {}

    /// Appends the ids of the piece if it was seen before.
    bool append(std::string_view piece, std::vector<Token>& ids) const {
        if (piece.size() > longest) return false;
        const Entry key = key_of(piece);
        const Entry& found = entries_[place(key)];
        if (found.low != key.low || found.high != key.high || found.size != key.size) return false;
        for (std::size_t i = 0; i < found.count; ++i) {
            const Token id = ids[found.at + i];
            ids.push_back(id);
        }
        return true;
    }
    /// Remembers that the ids from `at` on are the piece's.
    void keep(std::string_view piece, std::size_t at, const std::vector<Token>& ids) {
        if (piece.size() > longest) return;
        Entry entry = key_of(piece);
        entry.at = at;
        entry.count = static_cast<std::uint32_t>(ids.size() - at);
        entries_[place(entry)] = entry;
    }

  private:
    struct Entry {
        std::uint64_t low = 0;
        std::uint64_t high = 0;
        std::size_t at = 0;
        std::uint32_t count = 0;
        std::uint32_t size = 0;  // no piece is empty
    };
    static Entry key_of(std::string_view piece) noexcept {
        char bytes[longest] = {};
        std::memcpy(bytes, piece.data(), piece.size());
        Entry entry;
        std::memcpy(&entry.low, bytes, 8);
        std::memcpy(&entry.high, bytes + 8, 8);
        entry.size = static_cast<std::uint32_t>(piece.size());
        return entry;
    }
    std::size_t place(const Entry& key) const noexcept {
        std::uint64_t h = (key.low ^ (key.high * 0xD6E8FEB86659FD93U)) * 0x9E3779B97F4A7C15U;
        h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93U;
        return static_cast<std::size_t>(h >> 32) & (entries_.size() - 1);
    }
    std::vector<Entry> entries_;
};

}  // namespace internal

}}  // namespace cairn
