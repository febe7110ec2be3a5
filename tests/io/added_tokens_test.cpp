#include <cairn/io/added_tokens.hpp>

#include "support.hpp"
using namespace support;

TEST_CASE("the longest added token is found, the first of equals", "[added_tokens]") {
    Random random(31);
    const auto word = [&](int most) {
        std::string text;
        for (int i = draw(random, 1, most); i > 0; --i) text += "ab\xFF\xC3"[random.below(4)];
        return text;
    };
    for (int round = 0; round < 300; ++round) {
        internal::AddedTokens::List list;
        for (int i = draw(random, 0, 12); i > 0; --i)
            list.push_back({word(5), i, random.below(2) == 0});
        for (const SpecialTokens special : {SpecialTokens::as_text, SpecialTokens::recognised}) {
            const internal::AddedTokens added(list, special);
            const std::string text = word(30);
            for (std::size_t at = 0; at < text.size(); ++at) {
                const Vocabulary::Added* expected = nullptr;
                for (const auto& token : list)
                    if ((special == SpecialTokens::recognised || !token.special) &&
                        text.compare(at, token.content.size(), token.content) == 0 &&
                        (expected == nullptr || token.content.size() > expected->content.size()))
                        expected = &token;
                REQUIRE(added.match(list, std::string_view(text).substr(at)) == expected);
                if (expected != nullptr) REQUIRE(added.candidate(text, at) == at);
            }
        }
    }
}
