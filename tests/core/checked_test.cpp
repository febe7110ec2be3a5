#include "support.hpp"
using namespace support;

TEST_CASE("checked arithmetic refuses to wrap", "[checked]") {
    const std::size_t most = ~std::size_t{0};
    CHECK(checked_mul(most / 2, 2, "x") == most - 1);
    CHECK(code_of([&] { checked_mul(most / 2 + 1, 2, "x"); }) == ErrorCode::limit);
    CHECK(checked_add(most, 0, "x") == most);
    CHECK(code_of([&] { checked_add(most, 1, "x"); }) == ErrorCode::limit);
    CHECK(checked_cast<int>(std::size_t{7}, "x") == 7);
    CHECK(code_of([&] { checked_cast<int>(std::size_t{1} << 31, "x"); }) == ErrorCode::limit);
    CHECK(code_of([&] { checked_cast<std::size_t>(-1, "x"); }) == ErrorCode::limit);
    CHECK(round_up(0, 16) == 0);
    CHECK(round_up(17, 16) == 32);
}
