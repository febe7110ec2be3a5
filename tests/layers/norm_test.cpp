#include "support.hpp"
using namespace support;

TEST_CASE("norms refuse impossible settings", "[norm]") {
    const std::vector<float> w(4, 1.0F);
    for (const float epsilon : {0.0F, -1.0F, 2.0F, std::nanf("")}) {
        CHECK(code_of([&] { LayerNorm(w, w, epsilon); }) == ErrorCode::invalid_argument);
        CHECK(code_of([&] { RmsNorm(w, epsilon); }) == ErrorCode::invalid_argument);
    }
    CHECK(code_of([&] { LayerNorm(w, std::vector<float>(3), 1e-5F); }) ==
          ErrorCode::shape_mismatch);
}
