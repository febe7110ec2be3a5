#include "support.hpp"
using namespace support;

TEST_CASE("stop strings cut exactly, across pieces and overlaps", "[stop_strings]") {
    Random random(1);
    for (int round = 0; round < 3000; ++round) {
        const auto word = [&](int least, int most) {
            std::string s;
            for (int n = draw(random, least, most); n > 0; --n)
                s += static_cast<char>('a' + draw(random, 0, 1));
            return s;
        };
        const std::vector<std::string> stops{word(1, 4), word(1, 4)};
        const std::string text = word(0, 12);
        // The reference: the first point of the text where some stop string is complete; of those
        // that end there, the one that begins first. Pieces are single bytes, so that is when it
        // shows.
        std::string wanted = text;
        bool stopped = false;
        for (std::size_t end = 1; end <= text.size() && !stopped; ++end) {
            std::size_t begin = std::string::npos;
            for (const auto& s : stops)
                if (end >= s.size() && text.compare(end - s.size(), s.size(), s) == 0)
                    begin = std::min(begin, end - s.size());
            if (begin != std::string::npos) {
                wanted = text.substr(0, begin);
                stopped = true;
            }
        }
        StopStrings stream(stops);
        std::string got;
        for (const char c : text) got += stream.feed({&c, 1});
        got += stream.finish();
        INFO(text << " | " << stops[0] << " | " << stops[1]);
        REQUIRE(got == wanted);
        REQUIRE(stream.stopped() == stopped);
    }
    CHECK(code_of([] { StopStrings({""}); }) == ErrorCode::invalid_argument);
}
