// Each layer against its definition in double.
#include "support.hpp"
using namespace support;

namespace {

using Wide = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Activations view(RowMatrix& m) { return {m.data(), m.cols(), m.rows()}; }
Wide weights_of(const cairn::Linear& linear) {
    RowMatrix w(linear.out(), linear.in());
    for (Eigen::Index n = 0; n < w.rows(); ++n) linear.weights().row(n, w.row(n).data());
    return w.cast<double>();
}

}  // namespace

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

TEST_CASE("linear layers compute W x + b in every type", "[linear]") {
    Random random(2);
    ThreadPool pool(2);
    Context context(pool);
    for (int round = 0; round < 30; ++round) {
        const int in = draw(random, 1, 120), out = draw(random, 1, 120), rows = draw(random, 1, 40);
        const auto linear =
            random_linear(random, out, in, static_cast<ElementType>(round % 3), round % 2 == 0);
        RowMatrix x = random_matrix(random, rows, in), y(rows, out), single(1, out),
                  zero = RowMatrix::Zero(1, in), bias(1, out);
        linear.forward(view(x), view(y), context);
        linear.forward(view(zero), view(bias), context);
        const Wide wanted = (x.cast<double>() * weights_of(linear).transpose()).rowwise() +
                            bias.row(0).cast<double>();
        REQUIRE((y.cast<double>() - wanted).cwiseAbs().maxCoeff() < 1e-4);
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

TEST_CASE("norms refuse impossible settings", "[norm]") {
    const std::vector<float> w(4, 1.0F);
    for (const float epsilon : {0.0F, -1.0F, 2.0F, std::nanf("")}) {
        CHECK(code_of([&] { LayerNorm(w, w, epsilon); }) == ErrorCode::invalid_argument);
        CHECK(code_of([&] { RmsNorm(w, epsilon); }) == ErrorCode::invalid_argument);
    }
    CHECK(code_of([&] { LayerNorm(w, std::vector<float>(3), 1e-5F); }) ==
          ErrorCode::shape_mismatch);
}

TEST_CASE("rotation keeps q.k a function of the distance", "[rotary]") {
    Random random(3);
    const RotaryHalf rotary(RotarySettings{32, 10000.0, 2000, {}, {}});
    const auto q = random_vector(random, 40),
               k = random_vector(random, 40);  // 8 of 40 are not rotated
    const auto score = [&](int m, int n) {
        auto a = q, b = k;
        rotary.rotate(a.data(), m);
        rotary.rotate(b.data(), n);
        double sum = 0.0;
        for (std::size_t i = 0; i < 40; ++i) sum += static_cast<double>(a[i]) * b[i];
        return sum;
    };
    CHECK(score(100, 90) == Approx(score(1700, 1690)).margin(1e-4));
    CHECK(score(0, 0) == Approx(score(1999, 1999)).margin(1e-4));
    CHECK(std::abs(score(100, 90) - score(100, 80)) > 1e-3);
}

TEST_CASE("rotation of one pair is the definition, half or interleaved", "[rotary]") {
    const RotarySettings settings{4, 100.0, 50, {}, {}};
    std::vector<float> a{1, 2, 3, 4}, b{1, 3, 2, 4};
    RotaryHalf(settings).rotate(a.data(), 7);
    RotaryInterleaved(settings).rotate(b.data(), 7);
    CHECK(a[0] == b[0]);
    CHECK(a[1] == b[2]);
    CHECK(a[2] == b[1]);
    CHECK(a[3] == b[3]);
    CHECK(a[0] == Approx(std::cos(7.0) - 3 * std::sin(7.0)));
    CHECK(a[3] == Approx(4 * std::cos(0.7) + 2 * std::sin(0.7)));
    CHECK(code_of([] {
              RotaryHalf(RotarySettings{3, 1e4, 5, {}, {}});
          }) == ErrorCode::invalid_argument);
    CHECK(code_of([] {
              RotaryHalf(RotarySettings{4, 0.0, 5, {}, {}});
          }) == ErrorCode::invalid_argument);
    CHECK(code_of([] {
              RotaryHalf(RotarySettings{4, std::nan(""), 5, {}, {}});
          }) == ErrorCode::invalid_argument);
}

TEST_CASE("scaled frequencies follow their formulas", "[rotary]") {
    RotarySettings s{64, 500000.0, 10, {}, {}};
    const auto plain = rotary_frequencies(s);
    CHECK(plain[0] == 1.0);
    CHECK(plain[31] == Approx(std::pow(500000.0, -62.0 / 64)).epsilon(1e-13));
    s.scaling = {.kind = RotaryScaling::Kind::linear, .factor = 4.0};
    CHECK(rotary_frequencies(s)[5] == plain[5] / 4.0);
    s.scaling = {.kind = RotaryScaling::Kind::llama3, .factor = 8.0, .original_context = 8192};
    const auto llama3 = rotary_frequencies(s);
    CHECK(llama3[0] == plain[0]);
    CHECK(llama3[31] == plain[31] / 8.0);
    for (std::size_t i = 0; i < 32; ++i) {
        const double wavelength = 2 * 3.14159265358979 / plain[i];
        if (wavelength > 2048 && wavelength < 8192) {
            const double smooth = (8192 / wavelength - 1) / 3;
            CHECK(llama3[i] ==
                  Approx((1 - smooth) * plain[i] / 8 + smooth * plain[i]).epsilon(1e-12));
        }
    }
    s.scaling = {.kind = RotaryScaling::Kind::yarn, .factor = 40.0, .original_context = 4096};
    const auto yarn = rotary_frequencies(s);
    CHECK(yarn[0] == plain[0]);
    CHECK(yarn[31] == Approx(plain[31] / 40.0).epsilon(1e-12));
    float row[64] = {};
    row[0] = 1.0F;
    RotaryHalf(s).rotate(row, 0);
    CHECK(row[0] == Approx(0.1 * std::log(40.0) + 1.0));  // YaRN's magnitude
}

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
    CHECK(code_of([&] {
              MultiHead<NoRotation>(layout, random_linear(random, 100, 30, ElementType::f32),
                                    random_linear(random, 30, 84, ElementType::f32));
          }) == ErrorCode::shape_mismatch);
}
