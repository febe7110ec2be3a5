#include <map>

#include <cairn/io/bpe.hpp>

#include "support.hpp"
using namespace support;

namespace {

using Merges = std::map<std::pair<Token, Token>, PairMerge>;

// The definition: again and again the pair of lowest rank, the leftmost of equals.
std::vector<Token> merged_plainly(std::vector<Token> symbols, const Merges& merges) {
    for (;;) {
        std::size_t best = symbols.size();
        PairMerge of_best;
        for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
            const auto at = merges.find({symbols[i], symbols[i + 1]});
            if (at == merges.end() || (best < symbols.size() && at->second.rank >= of_best.rank))
                continue;
            best = i;
            of_best = at->second;
        }
        if (best == symbols.size()) return symbols;
        symbols[best] = of_best.merged;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
}

}  // namespace

TEST_CASE("short and long pieces are merged as the definition says", "[bpe]") {
    Random random(21);
    MergeScratch scratch;
    for (int round = 0; round < 400; ++round) {
        const int letters = draw(random, 1, 4);
        const bool ties = round % 2 == 1;  // as scores have them
        Merges merges;
        BytePairs pairs;
        for (int i = draw(random, 0, 40), next = letters; i > 0; --i) {
            const Token left = draw(random, 0, next - 1);
            const Token right = draw(random, 0, next - 1);
            const PairMerge merge{static_cast<std::uint32_t>(ties ? draw(random, 0, 5) : 40 - i),
                                  draw(random, 0, 3) == 0 ? draw(random, letters, next) : next};
            merges[{left, right}] = merge;
            pairs.add(left, right, merge.merged, merge.rank);
            next = std::max(next, merge.merged + 1);
        }
        for (const int most : {0, 1, 2, 8, 31, 32, 33, 34, 200}) {
            std::vector<Token> symbols(static_cast<std::size_t>(most));
            for (Token& symbol : symbols) symbol = draw(random, 0, letters - 1);
            const std::vector<Token> expected = merged_plainly(symbols, merges);
            pairs.encode(symbols, scratch);
            REQUIRE(symbols == expected);
        }
    }
}
