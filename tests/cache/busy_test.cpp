#include "support.hpp"
using namespace support;

TEST_CASE("two threads on one cache: one of them is told", "[busy]") {
    BusyFlag flag;
    const BusyFlag::Hold hold(flag, "x");
    CHECK(code_of([&] { BusyFlag::Hold second(flag, "x"); }) == ErrorCode::concurrent_use);
}
