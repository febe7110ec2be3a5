#include "support.hpp"
using namespace support;

TEST_CASE("a workspace gives memory back in order and keeps it", "[context]") {
    Workspace space;
    float* first = nullptr;
    {
        Workspace::Frame frame(space);
        first = frame.floats(10);
        float* second = frame.floats(1000000);  // a block of its own
        second[999999] = 1.0F;
        CHECK(reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
        CHECK(reinterpret_cast<std::uintptr_t>(second) % 64 == 0);
    }
    const std::size_t held = space.bytes();
    {
        Workspace::Frame frame(space);
        CHECK(frame.floats(10) == first);
        frame.floats(1000000);
    }
    CHECK(space.bytes() == held);
}
