#include <cairn/numeric/plain_format.hpp>

#include "support.hpp"
using namespace support;

TEST_CASE("block formats know their size and decode", "[block_format]") {
    for (const ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16}) {
        const PlainFormat& format = format_of(type);
        const std::vector<float> x{0.5F, -2.0F, 1.5F};
        std::vector<std::byte> stored(format.size_of(3) + 1);
        format.encode(x.data(), 3, stored.data() + 1);  // unaligned on purpose
        std::vector<float> back(3);
        format.decode(stored.data() + 1, 3, back.data());
        CHECK(back == x);
        CHECK(code_of([&] { (void)format.size_of(~std::size_t{0}); }) == ErrorCode::limit);
    }
}
