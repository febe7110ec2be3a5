#include "layers/layers_support.hpp"
using namespace support;

TEST_CASE("feed-forward layers are their definitions", "[mlp]") {
    Random random(4);
    Context context;
    const auto up = random_linear(random, 50, 20, ElementType::f32),
               gate = random_linear(random, 50, 20, ElementType::f32),
               down = random_linear(random, 20, 50, ElementType::f32);
    const Wide wu = weights_of(up), wg = weights_of(gate), wd = weights_of(down);
    RowMatrix x = random_matrix(random, 9, 20), y(9, 20);
    const SwiGlu swiglu(random_linear(random, 50, 20, ElementType::f32),
                        random_linear(random, 50, 20, ElementType::f32),
                        random_linear(random, 20, 50, ElementType::f32));
    CHECK(swiglu.parameters() == 3000);
    Random again(4);  // the same weights once more, by value
    const auto u2 = random_linear(again, 50, 20, ElementType::f32),
               g2 = random_linear(again, 50, 20, ElementType::f32),
               d2 = random_linear(again, 20, 50, ElementType::f32);
    (void)u2, (void)g2, (void)d2;
    Random third(4);
    cairn::Linear mu = random_linear(third, 50, 20, ElementType::f32),
                  mg = random_linear(third, 50, 20, ElementType::f32),
                  md = random_linear(third, 20, 50, ElementType::f32);
    const SwiGlu layer(std::move(mg), std::move(mu), std::move(md));
    layer.forward(view(x), view(y), context);
    Wide g = x.cast<double>() * wg.transpose();
    g = g.unaryExpr([](double v) { return v / (1 + std::exp(-v)); });
    const Wide h = g.cwiseProduct(x.cast<double>() * wu.transpose());
    CHECK((y.cast<double>() - h * wd.transpose()).cwiseAbs().maxCoeff() < 1e-5);
    Random fourth(4);
    cairn::Linear pu = random_linear(fourth, 50, 20, ElementType::f32);
    random_linear(fourth, 50, 20, ElementType::f32);
    cairn::Linear pd = random_linear(fourth, 20, 50, ElementType::f32);
    Mlp<Silu>(std::move(pu), std::move(pd)).forward(view(x), view(y), context);
    Wide s = x.cast<double>() * wu.transpose();
    s = s.unaryExpr([](double v) { return v / (1 + std::exp(-v)); });
    CHECK((y.cast<double>() - s * wd.transpose()).cwiseAbs().maxCoeff() < 1e-5);
    CHECK(code_of([&] {
              Mlp<Gelu>(random_linear(random, 5, 4, ElementType::f32),
                        random_linear(random, 4, 6, ElementType::f32));
          }) == ErrorCode::shape_mismatch);
}
