#include "layers/layers_support.hpp"
using namespace support;

TEST_CASE("linear layers compute W x + b in every type", "[linear]") {
    Random random(2);
    ThreadPool pool(2);
    Context context(pool);
    for (int round = 0; round < 30; ++round) {
        const int in = draw(random, 1, 120), out = draw(random, 1, 120), rows = draw(random, 1, 40);
        const auto type = static_cast<ElementType>(round % 3);
        const auto linear = random_linear(random, out, in, type, round % 2 == 0);
        context.compute = round % 4 < 2 ? Compute::fast : Compute::accurate;
        const bool rounded = type == ElementType::bf16 && context.compute == Compute::fast;
        RowMatrix x = random_matrix(random, rows, in), y(rows, out), single(1, out),
                  zero = RowMatrix::Zero(1, in), bias(1, out);
        linear.forward(view(x), view(y), context);
        linear.forward(view(zero), view(bias), context);
        const Wide wanted = (x.cast<double>() * weights_of(linear).transpose()).rowwise() +
                            bias.row(0).cast<double>();
        REQUIRE((y.cast<double>() - wanted).cwiseAbs().maxCoeff() < (rounded ? 0.05 : 1e-4));
        for (int r = 0; r < rows; ++r) {
            RowMatrix row = x.row(r);
            linear.forward(view(row), view(single), context);
            REQUIRE(same_bits(single, y.row(r)));
        }
    }
    CHECK(code_of([&] {
              cairn::Linear(WeightMatrix(3, 4, ElementType::f32), std::vector<float>(4));
          }) == ErrorCode::shape_mismatch);
}
