// Finds the tokens that are looked for in a text before anything else.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "cairn/io/vocabulary.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Whether the text of special tokens in a prompt stands for them.
enum class SpecialTokens : std::uint8_t { as_text, recognised };

namespace internal {

/// The added tokens that one meaning of special tokens lets through, sorted by their text. Holds
/// places in a list that the caller keeps and passes again.
class AddedTokens {
  public:
    using List = std::vector<Vocabulary::Added>;

    AddedTokens() = default;
    AddedTokens(const List& list, SpecialTokens special) {
        for (std::uint32_t i = 0; i < list.size(); ++i)
            if (!list[i].special || special == SpecialTokens::recognised) order_.push_back(i);
        // Of two with the same text the earlier one counts.
        std::stable_sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) {
            return list[a].content < list[b].content;
        });
        for (const std::uint32_t i : order_) begins_[first(list[i].content)] = true;
    }

    /// The first place from `at` on where one may begin; the text's size if there is none.
    std::size_t candidate(std::string_view text, std::size_t at) const noexcept {
        if (order_.empty()) return text.size();
        while (at < text.size() && !begins_[static_cast<unsigned char>(text[at])]) ++at;
        return at;
    }
    /// The longest one that the text begins with, or null.
    const Vocabulary::Added* match(const List& list, std::string_view text) const noexcept {
        const Vocabulary::Added* best = nullptr;
        auto low = order_.begin();
        auto high = order_.end();
        for (std::size_t k = 0; k < text.size() && low != high; ++k) {
            // Of those that share k bytes with the text, those that share one more.
            const auto c = static_cast<unsigned char>(text[k]);
            low = std::partition_point(low, high, [&](std::uint32_t i) {
                return list[i].content.size() <= k || byte(list[i].content, k) < c;
            });
            high = std::partition_point(
                low, high, [&](std::uint32_t i) { return byte(list[i].content, k) == c; });
            if (low != high && list[*low].content.size() == k + 1) best = &list[*low];
        }
        return best;
    }

  private:
    static unsigned char byte(std::string_view text, std::size_t at) noexcept {
        return static_cast<unsigned char>(text[at]);
    }
    static unsigned char first(std::string_view text) noexcept { return byte(text, 0); }

    std::vector<std::uint32_t> order_;
    std::array<bool, 256> begins_{};
};

}  // namespace internal

}}  // namespace cairn
