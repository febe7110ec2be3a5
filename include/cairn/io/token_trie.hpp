// Tokens by their beginnings: which of them a text starts with, one byte after the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// A tree of all tokens; the children of a node lie together, sorted by their bytes.
class TokenTrie {
  public:
    using Entry = std::pair<std::string_view, Token>;
    static constexpr std::uint32_t root = 0;
    static constexpr std::uint32_t nothing = 0;  ///< no node: the root is nobody's child

    TokenTrie() = default;
    /// Of two tokens with the same text the later one counts. The texts may go afterwards.
    explicit TokenTrie(std::vector<Entry> entries) {
        std::stable_sort(entries.begin(), entries.end(),
                         [](const Entry& a, const Entry& b) { return a.first < b.first; });
        struct Part {
            std::size_t low, high, depth;
        };
        std::vector<Part> parts{{0, entries.size(), 0}};  // of the nodes made so far
        nodes_.push_back({});
        for (std::uint32_t node = 0; node < nodes_.size(); ++node) {
            auto [low, high, depth] = parts[node];
            for (; low < high && entries[low].first.size() == depth; ++low)
                nodes_[node].token = entries[low].second;
            nodes_[node].children = static_cast<std::uint32_t>(nodes_.size());
            while (low < high) {
                const char c = entries[low].first[depth];
                std::size_t end = low;
                while (end < high && entries[end].first[depth] == c) ++end;
                nodes_.push_back({0, -1, 0, static_cast<unsigned char>(c)});
                parts.push_back({low, end, depth + 1});
                low = end;
                ++nodes_[node].count;
            }
        }
    }
    /// Where a byte leads, or nothing.
    std::uint32_t next(std::uint32_t node, char byte) const noexcept {
        const Node& at = nodes_[node];
        const auto begin = nodes_.begin() + at.children;
        const auto c = static_cast<unsigned char>(byte);
        const auto found = std::lower_bound(begin, begin + at.count, c,
                                            [](const Node& n, unsigned b) { return n.byte < b; });
        return found != begin + at.count && found->byte == c
                   ? static_cast<std::uint32_t>(found - nodes_.begin())
                   : nothing;
    }
    /// Where a text leads from the root; nothing unless it is the beginning of a token.
    std::uint32_t walk(std::string_view text) const noexcept {
        std::uint32_t node = root;
        for (const char c : text) {
            node = next(node, c);
            if (node == nothing) break;
        }
        return node;
    }
    /// The token that ends here, or -1.
    Token token(std::uint32_t node) const noexcept { return nodes_[node].token; }

  private:
    struct Node {
        std::uint32_t children = 0;
        Token token = -1;
        std::uint16_t count = 0;
        unsigned char byte = 0;
    };
    std::vector<Node> nodes_;
};

}  // namespace internal

}}  // namespace cairn
