// Products of bf16 weights with activations rounded to bf16: the bits of their definition on every
// instruction set, with vdpbf16ps and without, down to numbers that a processor flushes to zero.
#include <cairn/kernels/rounded.hpp>

#include "../support.hpp"
using namespace support;

namespace {

// A number of bf16 whose exponent is drawn from [least, most], or a zero.
float bf16_between(Random& random, int least, int most) {
    if (draw(random, 0, 15) == 0) return draw(random, 0, 1) == 0 ? 0.0F : -0.0F;
    const float fraction = 1.0F + static_cast<float>(draw(random, 0, 127)) / 128.0F;
    const float x = std::ldexp(fraction, draw(random, least, most));
    return bf16_to_f32(f32_to_bf16(draw(random, 0, 1) == 0 ? x : -x));
}

// Magnitudes of a product; the last two kinds come to lie around the smallest normal number.
struct Magnitudes {
    int weight_least, weight_most, x_least, x_most;
};
constexpr Magnitudes kinds[] = {
    {-3, 1, -3, 1}, {-133, 127, -133, 60}, {-40, -20, -126, -90}, {-70, -60, -85, -60}};

struct RoundedCase {
    RowMatrix w, x;
    std::vector<float> bias;
};
RoundedCase rounded_case(Random& random, int out, int in, int rows, const Magnitudes& kind) {
    RoundedCase c{RowMatrix(out, in), RowMatrix(rows, in), {}};
    for (Eigen::Index i = 0; i < c.w.size(); ++i)
        c.w.data()[i] = bf16_between(random, kind.weight_least, kind.weight_most);
    for (Eigen::Index i = 0; i < c.x.size(); ++i) {  // not of bf16: they are rounded
        const float noise = 1.0F + static_cast<float>(random.uniform() - 0.5) * 0x1p-6F;
        c.x.data()[i] = bf16_between(random, kind.x_least, kind.x_most) * noise;
    }
    constexpr float edges[] = {0x1p-126F,         -0x1p-126F, 0x1.000002p-126F, 0x0.fffffep-126F,
                               -0x0.000002p-126F, -0.0F,      0x1.fffffep-126F, 1.0F};
    for (int n = 0; n < out; ++n) c.bias.push_back(edges[draw(random, 0, 7)]);
    return c;
}
// The definition, number by number.
RowMatrix by_definition(const RoundedCase& c) {
    RowMatrix y(c.x.rows(), c.w.rows());
    for (Eigen::Index r = 0; r < y.rows(); ++r)
        for (Eigen::Index n = 0; n < y.cols(); ++n) {
            float sum = c.bias[static_cast<std::size_t>(n)];
            for (Eigen::Index k = 0; k < c.w.cols(); ++k)
                sum = kernels::flushed_fma(kernels::rounded_activation(c.x(r, k)), c.w(n, k), sum);
            y(r, n) = sum;
        }
    return y;
}

}  // namespace

TEST_CASE("rounded products: one row and many, every set, any exponents", "[kernels]") {
    Random random(31);
    ThreadPool pool(2);
    int flushed = 0;
    for (int round = 0; round < 160; ++round) {
        const int in = draw(random, 1, 90), out = draw(random, 1, 130), rows = draw(random, 2, 19);
        const RoundedCase c = rounded_case(random, out, in, rows, kinds[round % 4]);
        const RowMatrix wanted = by_definition(c);
        flushed += static_cast<int>((wanted.array() == 0.0F).count());
        const WeightMatrix weights = WeightMatrix::from(c.w, ElementType::bf16);
        RowMatrix x = c.x;
        for (const kernels::Table* table : kernels::available()) {
            INFO(table->name << ", " << rows << " rows of " << in << " to " << out);
            const kernels::Override use(*table);
            for (Executor* executor :
                 {static_cast<Executor*>(&Serial::instance()), static_cast<Executor*>(&pool)}) {
                Context context(*executor);
                RowMatrix y(rows, out), one(1, out);
                multiply(weights, c.bias.data(), {x.data(), in, rows}, {y.data(), out, rows},
                         context);
                REQUIRE(same_bits(y, wanted));
                const int r = draw(random, 0, rows - 1);
                multiply(weights, c.bias.data(), {x.row(r).data(), in, 1}, {one.data(), out, 1},
                         context);
                REQUIRE(same_bits(one, wanted.row(r)));
            }
        }
    }
    CHECK(flushed > 1000);  // the cases are what they are meant to be
}

TEST_CASE("accurate products of bf16 weights are those of the same numbers as f32", "[kernels]") {
    Random random(32);
    const RoundedCase c = rounded_case(random, 40, 33, 7, kinds[0]);
    RowMatrix x = c.x, y(7, 40), wanted(7, 40);
    Context context;
    multiply(WeightMatrix::from(c.w), c.bias.data(), {x.data(), 33, 7}, {wanted.data(), 40, 7},
             context);
    const WeightMatrix weights = WeightMatrix::from(c.w, ElementType::bf16);
    multiply(weights, c.bias.data(), {x.data(), 33, 7}, {y.data(), 40, 7}, context);
    CHECK_FALSE(same_bits(y, wanted));
    CHECK((y - wanted).cwiseAbs().maxCoeff() < 0.01F * wanted.cwiseAbs().maxCoeff());
    context.compute = Compute::accurate;
    multiply(weights, c.bias.data(), {x.data(), 33, 7}, {y.data(), 40, 7}, context);
    CHECK(same_bits(y, wanted));
}

TEST_CASE("a flushed fma asks whether its result is denormal once it is rounded", "[kernels]") {
    using kernels::flushed_fma;
    const float least = 0x1p-126F;
    CHECK(flushed_fma(1.0F, 1.0F, 1.0F) == 2.0F);
    CHECK(flushed_fma(0x1p-80F, 0x1p-47F, least) == 0x1.8p-126F);
    // Just below the smallest normal number: 2^-151 away is a tie and goes up, more is flushed.
    CHECK(flushed_fma(-0x1p-80F, 0x1p-71F, least) == least);
    CHECK(flushed_fma(-0x1p-80F, 0x1.02p-71F, least) == 0.0F);
    CHECK(std::signbit(flushed_fma(0x1p-80F, 0x1.02p-71F, -least)));
    // Denormal operands are zeros, and keep their signs.
    CHECK(flushed_fma(0x1p-127F, 1.0F, least) == least);
    CHECK(flushed_fma(1.0F, 0.0F, 0x1p-127F) == 0.0F);
    CHECK(std::signbit(flushed_fma(-0x1p-130F, 1.0F, -0.0F)));
    CHECK(kernels::rounded_activation(0x1.01p0F) == 1.0F);  // a tie, to even
    CHECK(kernels::rounded_activation(0x1.03p0F) == 0x1.04p0F);
    CHECK(std::signbit(kernels::rounded_activation(-0x0.fffffep-126F)));
    CHECK(kernels::rounded_activation(0x0.fffffep-126F) == 0.0F);
}
