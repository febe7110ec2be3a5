#include "support.hpp"
using namespace support;

TEST_CASE("head layouts that cannot exist are refused", "[types]") {
    validate(HeadLayout{6, 3, 8, 4});
    CHECK(HeadLayout{6, 3, 8, 4}.group() == 2);
    CHECK(code_of([] { validate(HeadLayout{6, 4, 8, 8}); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { validate(HeadLayout{6, 0, 8, 8}); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { validate(HeadLayout{6, 3, -8, 8}); }) == ErrorCode::invalid_argument);
}

TEST_CASE("text becomes byte tokens", "[types]") {
    CHECK(bytes("a\xFF") == std::vector<Token>{97, 255});
}
