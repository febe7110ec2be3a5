#include <map>

#include <cairn/io/piece_cache.hpp>

#include "support.hpp"
using namespace support;

TEST_CASE("a piece that is found again has the ids it had", "[piece_cache]") {
    Random random(51);
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1000}, std::size_t{1} << 30}) {
        internal::PieceCache cache(bytes);
        std::vector<Token> ids;
        std::map<std::string, std::vector<Token>> expected;
        int found = 0;
        for (int i = 0; i < 5000; ++i) {
            std::string piece;
            for (int n = draw(random, 1, 20); n > 0; --n)
                piece += static_cast<char>(random.below(256));
            if (i % 2 == 0 && !expected.empty())
                piece = std::next(expected.begin(),
                                  static_cast<std::ptrdiff_t>(random.below(expected.size())))
                            ->first;
            const std::size_t at = ids.size();
            if (cache.append(piece, ids)) {
                ++found;
                REQUIRE(piece.size() <= internal::PieceCache::longest);
                REQUIRE(std::vector<Token>(ids.begin() + static_cast<std::ptrdiff_t>(at),
                                           ids.end()) == expected.at(piece));
                continue;
            }
            std::vector<Token>& own = expected[piece];
            if (own.empty())
                for (int n = draw(random, 1, 5); n > 0; --n) own.push_back(draw(random, 0, 99999));
            ids.insert(ids.end(), own.begin(), own.end());
            cache.keep(piece, at, ids);
        }
        CHECK(found > (bytes > 1000 ? 1000 : 0));
    }
}
