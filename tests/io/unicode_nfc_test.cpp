#include <cairn/io/unicode_nfc.hpp>

#include "support.hpp"
using namespace support;

namespace {

std::string repeated(std::string_view text, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) result += text;
    return result;
}

}  // namespace

TEST_CASE("form C: composed, ordered, and what is composed already stays", "[nfc]") {
    CHECK(unicode_nfc("").empty());
    CHECK(unicode_nfc("plain \xC3\xA9 text") == "plain \xC3\xA9 text");
    CHECK(unicode_nfc("e\xCC\x81") == "\xC3\xA9");                      // e, acute
    CHECK(unicode_nfc("e\xCC\x81\xCC\xA3") == "\xE1\xBA\xB9\xCC\x81");  // dot below first
    CHECK(unicode_nfc("\xE2\x84\xAB") == "\xC3\x85");                   // Angstrom sign
    CHECK(unicode_nfc("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8") == "\xEA\xB0\x81");  // Hangul
    CHECK(unicode_nfc(std::string("a\0e\xCC\x81", 5)) == std::string("a\0\xC3\xA9", 4));
}

TEST_CASE("bytes that are no UTF-8 stay, and nothing is composed across them", "[nfc]") {
    CHECK(unicode_nfc("e\xFF\xCC\x81") == "e\xFF\xCC\x81");
    CHECK(unicode_nfc("\xFE"
                      "e\xCC\x81\xC3") == "\xFE\xC3\xA9\xC3");
    Random random(91);
    for (int round = 0; round < 3000; ++round) {
        std::string text;
        for (int i = draw(random, 0, 24); i > 0; --i)
            text += random.below(3) == 0 ? static_cast<char>(random.below(256))
                                         : "e\xCC\x81\xCC\xA3 \xE1\x84\x80"[random.below(9)];
        const std::string once = unicode_nfc(text);
        REQUIRE(unicode_nfc(once) == once);
    }
}

TEST_CASE("texts of nothing but marks end in time, or in an error", "[nfc]") {
    const std::string marks = "\xCC\x81\xCC\xA3";  // in the wrong order
    CHECK(code_of([&] { unicode_nfc(repeated(marks, 500000)); }) == ErrorCode::limit);
    std::string most = "a";
    most += repeated(marks, 128);
    CHECK(unicode_nfc(repeated(most, 2000)).size() > 900000);
}
