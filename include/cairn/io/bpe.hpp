// Byte-pair encoding of one piece (Sennrich et al. 2016): merge the pair of lowest rank, leftmost
// first, until none is left. A heap makes that n log n.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/core/fingerprint.hpp"
#include "cairn/core/types.hpp"

namespace cairn::inline CAIRN_ABI {

/// What two neighbouring symbols become; merged < 0: they stay apart.
struct PairMerge {
    double rank;  ///< the lowest goes first
    Token merged;
};

/// Merges the symbols in place; find(left, right) says what a pair becomes.
template <class Find>
void merge_pairs(std::vector<Token>& symbols, const Find& find) {
    const auto count = static_cast<int>(symbols.size());
    if (count < 2) return;
    struct Node {
        int before;
        int after;
    };
    struct Pair {
        double rank;
        int at;
        Token left;
        Token right;
        Token merged;
        bool operator<(
            const Pair& o) const noexcept {  // top of the heap: lowest rank, then leftmost
            return rank > o.rank || (rank == o.rank && at > o.at);
        }
    };
    std::vector<Node> nodes(symbols.size());
    for (int i = 0; i < count; ++i)
        nodes[static_cast<std::size_t>(i)] = {i - 1, i + 1 < count ? i + 1 : -1};
    std::vector<Pair> storage;
    storage.reserve(symbols.size());
    std::priority_queue<Pair> heap(std::less<Pair>(), std::move(storage));
    const auto offer = [&](int at) {
        if (at < 0) return;
        const int next = nodes[static_cast<std::size_t>(at)].after;
        if (next < 0) return;
        const Token left = symbols[static_cast<std::size_t>(at)];
        const Token right = symbols[static_cast<std::size_t>(next)];
        const PairMerge found = find(left, right);
        if (found.merged >= 0) heap.push({found.rank, at, left, right, found.merged});
    };
    for (int i = 0; i + 1 < count; ++i) offer(i);
    constexpr Token gone = -1;
    while (!heap.empty()) {
        const Pair best = heap.top();
        heap.pop();
        Node& node = nodes[static_cast<std::size_t>(best.at)];
        if (symbols[static_cast<std::size_t>(best.at)] != best.left || node.after < 0 ||
            symbols[static_cast<std::size_t>(node.after)] != best.right)
            continue;  // one side was merged meanwhile
        symbols[static_cast<std::size_t>(best.at)] = best.merged;
        symbols[static_cast<std::size_t>(node.after)] = gone;
        node.after = nodes[static_cast<std::size_t>(node.after)].after;
        if (node.after >= 0) nodes[static_cast<std::size_t>(node.after)].before = best.at;
        offer(node.before);
        offer(best.at);
    }
    std::erase(symbols, gone);
}

/// The merges of a vocabulary.
class BytePairs {
  public:
    /// left + right -> merged, in order of preference.
    void add(Token left, Token right, Token merged, int rank) {
        merges_[key(left, right)] = {static_cast<double>(rank), merged};
        print_.add(key(left, right));
        print_.add(key(merged, static_cast<Token>(rank)));
    }
    /// A number that tells these merges from others.
    std::uint64_t print() const noexcept { return print_.value(); }
    /// Merges the symbols in place.
    void encode(std::vector<Token>& symbols) const {
        merge_pairs(symbols, [&](Token left, Token right) {
            const auto at = merges_.find(key(left, right));
            return at == merges_.end() ? PairMerge{0.0, -1} : at->second;
        });
    }

  private:
    static std::uint64_t key(Token left, Token right) noexcept {
        return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
               static_cast<std::uint32_t>(right);
    }
    std::unordered_map<std::uint64_t, PairMerge> merges_;
    Fingerprint print_;
};

}  // namespace cairn::inline CAIRN_ABI
