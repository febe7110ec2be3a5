#include "support.hpp"
using namespace support;

TEST_CASE("mapped memory is zero, page aligned and movable", "[memory]") {
    Mapping a(10000, Mapping::Pages::small);
    CHECK(a.size() % page_size() == 0);
    CHECK(a.data()[9999] == std::byte{0});
    a.data()[1] = std::byte{7};
    Mapping b(std::move(a));
    CHECK(b.data()[1] == std::byte{7});
    CHECK(code_of([] { Mapping(std::size_t{1} << 60, Mapping::Pages::small); }) ==
          ErrorCode::out_of_memory);
}
