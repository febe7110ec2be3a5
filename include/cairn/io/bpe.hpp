// Byte-pair encoding of one piece (Sennrich et al. 2016): merge the pair of lowest rank, leftmost
// first, until none is left. Words are short, and looking at all of their pairs again is then the
// fastest way; for long pieces a queue by rank makes that linear.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "cairn/core/error.hpp"
#include "cairn/core/fingerprint.hpp"
#include "cairn/core/types.hpp"
#include "cairn/io/number_map.hpp"
#include "cairn/io/radix_heap.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What two neighbouring symbols become; merged < 0: they stay apart.
struct PairMerge {
    std::uint32_t rank = 0;  ///< the lowest goes first
    Token merged = -1;
};

/// Two neighbouring symbols as one number.
constexpr std::uint64_t pair_key(Token left, Token right) noexcept {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
           static_cast<std::uint32_t>(right);
}

/// Memory that merging long pieces needs, kept from piece to piece.
struct MergeScratch {
    struct Node {
        std::uint32_t before;
        std::uint32_t after;
        PairMerge pair;  ///< of this symbol and the next one
    };
    std::vector<Node> nodes;
    internal::RadixHeap queue;  ///< rank, then place: lowest and leftmost first
};

namespace internal {

/// Pieces of up to this many symbols are merged by looking at all pairs.
inline constexpr std::size_t short_piece = 32;

template <class Find>
void merge_short(std::vector<Token>& symbols, const Find& find) {
    std::array<PairMerge, short_piece> pairs;
    std::size_t count = symbols.size();
    for (std::size_t i = 0; i + 1 < count; ++i) pairs[i] = find(symbols[i], symbols[i + 1]);
    while (count > 1) {
        std::size_t best = count;
        for (std::size_t i = 0; i + 1 < count; ++i)
            if (pairs[i].merged >= 0 && (best == count || pairs[i].rank < pairs[best].rank))
                best = i;
        if (best == count) break;
        symbols[best] = pairs[best].merged;
        --count;
        for (std::size_t i = best + 1; i < count; ++i) {
            symbols[i] = symbols[i + 1];
            pairs[i - 1] = pairs[i];
        }
        if (best > 0) pairs[best - 1] = find(symbols[best - 1], symbols[best]);
        if (best + 1 < count) pairs[best] = find(symbols[best], symbols[best + 1]);
    }
    symbols.resize(count);
}

template <class Find>
void merge_long(std::vector<Token>& symbols, const Find& find, MergeScratch& scratch) {
    constexpr std::uint32_t nobody = std::numeric_limits<std::uint32_t>::max();
    constexpr Token gone = -1;
    require(symbols.size() < nobody, ErrorCode::limit, "tokenizer: a piece of ", symbols.size(),
            " symbols");
    const auto count = static_cast<std::uint32_t>(symbols.size());
    auto& nodes = scratch.nodes;
    auto& queue = scratch.queue;
    nodes.resize(count);
    queue.clear();
    const auto look = [&](std::uint32_t at) {
        PairMerge& pair = nodes[at].pair;
        pair =
            nodes[at].after == nobody ? PairMerge{} : find(symbols[at], symbols[nodes[at].after]);
        if (pair.merged >= 0) queue.push((std::uint64_t{pair.rank} << 32) | at);
    };
    for (std::uint32_t i = 0; i < count; ++i) {
        nodes[i].before = i > 0 ? i - 1 : nobody;
        nodes[i].after = i + 1 < count ? i + 1 : nobody;
        look(i);
    }
    while (!queue.empty()) {
        const std::uint64_t best = queue.pop();
        const auto at = static_cast<std::uint32_t>(best);
        auto& node = nodes[at];
        if (symbols[at] == gone || node.pair.merged < 0 || node.pair.rank != best >> 32)
            continue;  // one side was merged meanwhile
        symbols[at] = node.pair.merged;
        symbols[node.after] = gone;
        node.after = nodes[node.after].after;
        if (node.after != nobody) nodes[node.after].before = at;
        if (node.before != nobody) look(node.before);
        look(at);
    }
    std::erase(symbols, gone);
}

}  // namespace internal

/// Merges the symbols in place; find(left, right) says what a pair becomes.
template <class Find>
void merge_pairs(std::vector<Token>& symbols, const Find& find, MergeScratch& scratch) {
    if (symbols.size() <= internal::short_piece)
        internal::merge_short(symbols, find);
    else
        internal::merge_long(symbols, find, scratch);
}

/// The merges of a vocabulary.
class BytePairs {
  public:
    /// left + right -> merged, in order of preference.
    void add(Token left, Token right, Token merged, std::uint32_t rank) {
        merges_.set(pair_key(left, right), {rank, merged});
        print_.add(pair_key(left, right));
        print_.add(pair_key(merged, static_cast<Token>(rank)));
    }
    /// What two neighbours become.
    PairMerge find(Token left, Token right) const noexcept {
        const PairMerge* found = merges_.find(pair_key(left, right));
        return found == nullptr ? PairMerge{} : *found;
    }
    /// A number that tells these merges from others.
    std::uint64_t print() const noexcept { return print_.value(); }
    /// Merges the symbols in place.
    void encode(std::vector<Token>& symbols, MergeScratch& scratch) const {
        merge_pairs(
            symbols, [this](Token left, Token right) { return find(left, right); }, scratch);
    }

  private:
    NumberMap<PairMerge> merges_;
    Fingerprint print_;
};

}}  // namespace cairn
