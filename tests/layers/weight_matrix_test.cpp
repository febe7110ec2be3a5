// Each layer against its definition in double.
#include "support.hpp"
using namespace support;

TEST_CASE("packing keeps every element, from rows, columns and blocks", "[weight_matrix]") {
    Random random(1);
    const RowMatrix w = random_matrix(random, 37, 23);
    const WeightMatrix a = WeightMatrix::from(w);
    WeightMatrix b(37, 23, ElementType::f32);
    const RowMatrix t = w.transpose();  // stored [in][out], put in pieces
    b.put(0, 0, 37, 10, t.data(), 1, 37);
    b.put(0, 10, 37, 13, t.data() + 370, 1, 37);
    std::vector<float> x(23), y(23);
    for (int n = 0; n < 37; ++n) {
        a.row(n, x.data());
        b.row(n, y.data());
        CHECK(x == y);
        CHECK(same_bits(x, std::span(w.row(n).data(), 23)));
    }
    CHECK(code_of([&] { b.put(30, 0, 8, 1, t.data(), 1, 1); }) == ErrorCode::shape_mismatch);
    CHECK(code_of([] { WeightMatrix(0, 4, ElementType::f32); }) == ErrorCode::invalid_argument);
}
