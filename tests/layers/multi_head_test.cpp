#include "layers/layers_support.hpp"
using namespace support;

TEST_CASE("multi-head attention is projections around the reference", "[multi_head]") {
    Random random(5);
    Context context;
    const HeadLayout layout{6, 2, 10, 14};
    Random one(9), two(9);
    const auto make = [&](Random& r) {
        auto qkv = random_linear(r, 60 + 20 + 28, 30, ElementType::f32, true);
        auto out = random_linear(r, 30, 84, ElementType::f32);
        return std::pair(std::move(qkv), std::move(out));
    };
    auto [qkv, out] = make(one);
    auto [qkv2, out2] = make(two);
    const MultiHead<NoRotation> layer(layout, std::move(qkv), std::move(out));
    RowMatrix x = random_matrix(random, 70, 30), y(70, 30), p(70, 108);
    qkv2.forward(view(x), view(p), context);
    KvCache<> cache(layout, 100);
    const BatchSlice slice{cache, 0, 70, 0};
    layer.forward(view(x), std::span(&slice, 1), view(y), context);
    CHECK(cache.length() == 70);
    CHECK(cache.committed() == 0);
    const Wide wide = p.cast<double>();
    const auto mixed =
        reference_attention<double>(wide.leftCols(60), wide.middleCols(60, 20), wide.rightCols(28),
                                    layout, {.scale = 1.0F / std::sqrt(10.0F)});
    CHECK((y.cast<double>() - mixed * weights_of(out2).transpose()).cwiseAbs().maxCoeff() < 1e-5);
    KvCache<> uneven({6, 2, 14, 10}, 100);
    const BatchSlice other{uneven, 0, 70, 0};
    CHECK(code_of([&] { layer.forward(view(x), std::span(&other, 1), view(y), context); }) ==
          ErrorCode::shape_mismatch);
    CHECK(uneven.length() == 0);
    CHECK(code_of([&] {
              MultiHead<NoRotation>(layout, random_linear(random, 100, 30, ElementType::f32),
                                    random_linear(random, 30, 84, ElementType::f32));
          }) == ErrorCode::shape_mismatch);
}
