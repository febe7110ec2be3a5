#include <thread>

#include "support.hpp"
using namespace support;

TEST_CASE("two threads on one cache: one of them is told", "[busy]") {
    BusyFlag flag;
    {
        const BusyFlag::Hold hold(flag, "x");
        CHECK(code_of([&] { BusyFlag::Hold second(flag, "x"); }) == ErrorCode::concurrent_use);
        CHECK(flag.mine());
    }
    CHECK_FALSE(flag.mine());
    CHECK(flag.raise());
    flag.lower();
}

TEST_CASE("many may read at once, but not while another thread writes", "[busy]") {
    BusyFlag flag;
    {
        const BusyFlag::Share one(flag, "x");
        const BusyFlag::Share two(flag, "x");
        CHECK((one && two));
        CHECK_FALSE(flag.raise());
    }
    const BusyFlag::Hold hold(flag, "x");
    const BusyFlag::Share own(flag, "x");  // a hook of the writer
    CHECK(own);
    std::thread([&] {
        CHECK_FALSE(BusyFlag::Share(flag));
        CHECK(code_of([&] { BusyFlag::Share(flag, "x"); }) == ErrorCode::concurrent_use);
    }).join();
}
