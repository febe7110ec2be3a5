// Every kernel against its definition in double, and every instruction set against every other by
// bits.
#include <cairn/kernels/exact_fma.hpp>
#include <cairn/kernels/quantised/kernels.hpp>

#include "support.hpp"
using namespace support;
using kernels::Table;

namespace {

using Kernel = std::function<void(const Table&, std::vector<float>& out)>;

// Runs a kernel on all tables of this machine and compares the bits; returns the result.
std::vector<float> everywhere(const Kernel& kernel, std::size_t size) {
    std::vector<float> first(size, 0.0F);
    kernel(*kernels::available().front(), first);
    for (const Table* table : kernels::available()) {
        std::vector<float> out(size, 0.0F);
        kernel(*table, out);
        INFO(table->name);
        REQUIRE(same_bits(first, out));
    }
    return first;
}

}  // namespace

TEST_CASE("the software fma is the hardware's", "[kernels]") {
    Random random(1);
    for (int i = 0; i < 200000; ++i) {
        const auto pick = [&] {
            return static_cast<float>((random.uniform() - 0.5) *
                                      elementary::exp2(draw(random, -60, 60)));
        };
        const float a = pick();
        const float b = pick();
        float c = pick();
        if (i % 3 == 0)
            c = -a * b * (1.0F + static_cast<float>(draw(random, -3, 3)) * 6e-8F);  // cancellation
        const float wanted = std::fma(a, b, c);
        const float got = kernels::exact_fma(a, b, c);
        REQUIRE(std::bit_cast<std::uint32_t>(wanted) == std::bit_cast<std::uint32_t>(got));
    }
}

TEST_CASE("f32 functions are accurate and equal everywhere", "[kernels]") {
    std::vector<float> x;
    for (float v = -110.0F; v < 92.0F; v += 0.013F) x.push_back(v);
    for (const float v : {0.0F, -0.0F, 1e-30F, -1e-30F, 1e-42F}) x.push_back(v);
    const auto check = [&](auto member, auto function, double tolerance, double least) {
        const std::vector<float> y = everywhere(
            [&](const Table& t, std::vector<float>& out) {
                out = x;
                (t.*member)(out.data(), static_cast<std::ptrdiff_t>(out.size()));
            },
            x.size());
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double wanted = function(static_cast<double>(x[i]));
            INFO("x = " << x[i]);
            REQUIRE(std::abs(y[i] - wanted) <= tolerance * std::abs(wanted) + least);
        }
    };
    check(&Table::exp, [](double v) { return std::exp(std::min(v, 88.0)); }, 3e-7, 1.3e-38);
    check(&Table::silu, [](double v) { return v / (1 + std::exp(-v)); }, 1e-6, 1e-36);
    check(
        &Table::gelu_erf, [](double v) { return 0.5 * v * std::erfc(-v * std::sqrt(0.5)); }, 1e-5,
        1e-30);
    check(
        &Table::gelu_tanh,
        [](double v) {
            return 0.5 * v *
                   (1 + std::tanh(std::sqrt(2 / 3.14159265358979) * (v + 0.044715 * v * v * v)));
        },
        3e-6, 2e-6);
}

TEST_CASE("NaN and infinity pass through functions and are found", "[kernels]") {
    for (const Table* t : kernels::available()) {
        std::vector<float> x{1.0F, std::nanf(""), 2.0F, std::numeric_limits<float>::infinity()};
        x.resize(40, 0.5F);
        CHECK_FALSE(t->all_finite(x.data(), 40));
        CHECK_FALSE(t->all_finite(x.data(), 2));
        CHECK(t->all_finite(x.data(), 1));
        CHECK(t->all_finite(x.data() + 4, 36));
        for (const auto member : {&Table::exp, &Table::silu, &Table::gelu_erf, &Table::gelu_tanh}) {
            std::vector<float> y = x;
            (t->*member)(y.data(), 40);
            CHECK(std::isnan(y[1]));
        }
    }
}

TEST_CASE("products: any number of rows, any panels, every type", "[kernels]") {
    Random random(3);
    for (int round = 0; round < 25; ++round) {
        const int in = draw(random, 1, 90);
        const int out = draw(random, 1, 150);
        const int rows = draw(random, 1, 20);
        const auto type = static_cast<ElementType>(round % 3);
        const RowMatrix w = random_matrix(random, out, in);
        const WeightMatrix packed = WeightMatrix::from(w, type);
        const RowMatrix x = random_matrix(random, rows, in);
        const std::vector<float> bias = random_vector(random, static_cast<std::size_t>(out));
        kernels::FloatProduct call{packed.data(), bias.data(), in,   out, x.data(),
                                   nullptr,       out,         rows, 0,   (out + 15) / 16};
        const auto size = static_cast<std::size_t>(rows * out);
        const std::vector<float> many = everywhere(
            [&](const Table& t, std::vector<float>& y) {
                std::vector<float> tiles(static_cast<std::size_t>((rows + t.tile_rows) * in));
                t.pack_rows(x.data(), in, rows, in, tiles.data());
                kernels::FloatProduct c = call;
                c.x = tiles.data();
                c.y = y.data();
                packed.plain()->gemm(t, c);
            },
            size);
        const std::vector<float> single = everywhere(
            [&](const Table& t, std::vector<float>& y) {
                for (int r = 0; r < rows;
                     ++r) {  // one row at a time, in two calls that split the panels
                    kernels::FloatProduct c = call;
                    c.x = x.data() + r * in;
                    c.y = y.data() + r * out;
                    c.rows = 1;
                    c.panel_end = c.panel_end / 2;
                    packed.plain()->gemv(t, c);
                    c.panel_begin = c.panel_end;
                    c.panel_end = call.panel_end;
                    packed.plain()->gemv(t, c);
                }
            },
            size);
        CHECK(same_bits(many, single));
        std::vector<float> row(static_cast<std::size_t>(in));
        for (int r = 0; r < rows; ++r)
            for (int n = 0; n < out; ++n) {
                packed.row(n, row.data());
                double wanted = bias[static_cast<std::size_t>(n)];
                for (int k = 0; k < in; ++k)
                    wanted += static_cast<double>(row[static_cast<std::size_t>(k)]) * x(r, k);
                REQUIRE(many[static_cast<std::size_t>(r * out + n)] ==
                        Approx(wanted).margin(1e-5 * in));
            }
    }
}

TEST_CASE("scores and weighted sums of every layout", "[kernels]") {
    Random random(4);
    for (int round = 0; round < 40; ++round) {
        const int dims = draw(random, 1, 140);
        const int count = draw(random, 1, 70);
        const int queries = draw(random, 1, 17);
        const RowMatrix rows = random_matrix(random, count, dims);
        const RowMatrix q = random_matrix(random, queries, dims);
        const RowMatrix p = random_matrix(random, queries, count);
        for (const auto& codecs : {std::pair{&F32::keys(), &F32::values()},
                                   {&F16::keys(), &F16::values()},
                                   {&BF16::keys(), &BF16::values()}}) {
            const Codec* keys = codecs.first;
            const Codec* values = codecs.second;
            const int lane =
                keys->rows_per_unit > 1 ? draw(random, 0, 15) : 0;  // a run may begin inside a tile
            std::vector<std::byte> memory(keys->units(lane + count) * keys->unit_bytes(dims),
                                          std::byte{0xFF});
            const Rows where{memory.data(),
                             static_cast<std::ptrdiff_t>(keys->unit_bytes(dims)),
                             lane,
                             count,
                             0,
                             0};
            keys->encode(rows.data(), dims, dims, where);
            RowMatrix stored(count, dims);
            keys->decode(where, dims, stored.data(), dims);
            CHECK((stored - rows).cwiseAbs().maxCoeff() <= (keys->name == "f32" ? 0.0F : 0.02F));
            const auto scores = everywhere(
                [&](const Table& t, std::vector<float>& s) {
                    const kernels::Override use(t);
                    keys->scores(where, dims, q.data(), dims, queries, s.data(), count + 3);
                },
                static_cast<std::size_t>(queries * (count + 3)));
            for (int i = 0; i < queries; ++i)
                for (int j = 0; j < count; ++j)
                    REQUIRE(scores[static_cast<std::size_t>(i * (count + 3) + j)] ==
                            Approx(q.row(i).cast<double>().dot(stored.row(j).cast<double>()))
                                .margin(1e-4));

            std::vector<std::byte> value_memory(static_cast<std::size_t>(count) *
                                                values->unit_bytes(dims));
            const Rows from{value_memory.data(),
                            static_cast<std::ptrdiff_t>(values->unit_bytes(dims)),
                            0,
                            count,
                            0,
                            0};
            values->encode(rows.data(), dims, dims, from);
            values->decode(from, dims, stored.data(), dims);
            const auto sums = everywhere(
                [&](const Table& t, std::vector<float>& o) {
                    const kernels::Override use(t);
                    values->weigh(from, dims, dims, p.data(), count, queries, o.data(), dims);
                },
                static_cast<std::size_t>(queries * dims));
            for (int i = 0; i < queries; ++i)
                for (int d = 0; d < dims; ++d)
                    REQUIRE(sums[static_cast<std::size_t>(i * dims + d)] ==
                            Approx((p.row(i).cast<double>() * stored.col(d).cast<double>())(0))
                                .margin(1e-4));
        }
    }
}

TEST_CASE("softmax of an interval, with huge scores and none", "[kernels]") {
    Random random(5);
    for (int round = 0; round < 50; ++round) {
        const int begin = draw(random, 0, 40);
        const int end = draw(random, begin + 1, 64);
        const std::vector<float> s = random_vector(random, 64, round % 2 == 0 ? 3.0 : 1e4);
        const auto out = everywhere(
            [&](const Table& t, std::vector<float>& o) {
                o.assign(s.begin(), s.end());
                o.resize(66);
                t.softmax(o.data(), begin, end, &o[64], &o[65]);
            },
            66);
        double most = -1e300;
        double sum = 0.0;
        for (int j = begin; j < end; ++j)
            most = std::max(most, static_cast<double>(s[static_cast<std::size_t>(j)]));
        for (int j = begin; j < end; ++j) {
            const double p = std::exp(s[static_cast<std::size_t>(j)] - most);
            REQUIRE(out[static_cast<std::size_t>(j)] == Approx(p).margin(1e-6));
            sum += p;
        }
        CHECK(out[64] == static_cast<float>(most));
        CHECK(out[65] == Approx(sum).epsilon(1e-5));
    }
    for (const Table* t : kernels::available()) {
        std::vector<float> s(16, -std::numeric_limits<float>::infinity());
        float max = 0;
        float sum = 1;
        t->softmax(s.data(), 2, 9, &max, &sum);
        CHECK(max == -std::numeric_limits<float>::infinity());
        CHECK(sum == 0.0F);
        s.assign(16, -std::numeric_limits<float>::infinity());
        s[5] = std::nanf("");
        t->softmax(s.data(), 2, 9, &max, &sum);
        CHECK(std::isnan(max));
    }
}

TEST_CASE("norms, rotations and the soft cap", "[kernels]") {
    Random random(6);
    for (int round = 0; round < 30; ++round) {
        const int n = 2 * draw(random, 1, 70);
        const auto size = static_cast<std::size_t>(n);
        const auto x = random_vector(random, size, 3.0, 1.0);
        const auto w = random_vector(random, size);
        const auto b = random_vector(random, size);
        double mean = 0.0;
        double squares = 0.0;
        for (const float v : x) mean += v / static_cast<double>(n);
        for (const float v : x) squares += static_cast<double>(v) * v / n;
        const double variance = squares - mean * mean;
        const auto ln = everywhere(
            [&](const Table& t, std::vector<float>& y) {
                t.layer_norm(x.data(), w.data(), b.data(), 1e-5F, n, y.data());
            },
            size);
        const auto rms = everywhere(
            [&](const Table& t, std::vector<float>& y) {
                t.rms_norm(x.data(), w.data(), 1e-5F, n, y.data());
            },
            size);
        for (std::size_t i = 0; i < size; ++i) {
            REQUIRE(ln[i] ==
                    Approx((x[i] - mean) / std::sqrt(variance + 1e-5) * w[i] + b[i]).margin(2e-4));
            REQUIRE(rms[i] == Approx(x[i] / std::sqrt(squares + 1e-5) * w[i]).margin(2e-5));
        }
        const auto half = everywhere(
            [&](const Table& t, std::vector<float>& y) {
                y = x;
                t.rotate_half(y.data(), w.data(), b.data(), n / 2);
            },
            size);
        const auto pairs = everywhere(
            [&](const Table& t, std::vector<float>& y) {
                y = x;
                t.rotate_interleaved(y.data(), w.data(), b.data(), n / 2);
            },
            size);
        for (std::size_t i = 0; i < size / 2; ++i) {
            REQUIRE(half[i] == Approx(x[i] * w[i] - x[i + size / 2] * b[i]).margin(1e-4));
            REQUIRE(half[i + size / 2] ==
                    Approx(x[i + size / 2] * w[i] + x[i] * b[i]).margin(1e-4));
            REQUIRE(pairs[2 * i] == Approx(x[2 * i] * w[i] - x[2 * i + 1] * b[i]).margin(1e-4));
            REQUIRE(pairs[2 * i + 1] == Approx(x[2 * i + 1] * w[i] + x[2 * i] * b[i]).margin(1e-4));
        }
        const auto capped = everywhere(
            [&](const Table& t, std::vector<float>& y) {
                y = x;
                t.soft_cap(y.data(), 0, n, 2.5F);
            },
            size);
        const auto gated = everywhere(
            [&](const Table& t, std::vector<float>& y) {
                y = x;
                t.silu_multiply(y.data(), w.data(), n);
            },
            size);
        for (std::size_t i = 0; i < size; ++i) {
            REQUIRE(capped[i] == Approx(2.5 * std::tanh(x[i] / 2.5)).margin(2e-6));
            REQUIRE(gated[i] == Approx(x[i] / (1 + std::exp(-x[i])) * w[i]).margin(1e-5));
        }
    }
    const std::vector<float> zeros(32, 0.0F);
    const std::vector<float> ones(32, 1.0F);
    everywhere(
        [&](const Table& t, std::vector<float>& y) {
            t.rms_norm(zeros.data(), ones.data(), 1e-5F, 32, y.data());
            CHECK(t.all_finite(y.data(), 32));
        },
        32);
}

TEST_CASE("conversions match the reference for every instruction set", "[kernels]") {
    Random random(7);
    auto x = random_vector(random, 1000, 1000.0);
    for (const float v :
         {65504.0F, 65519.0F, 65520.0F, 1e9F, -1e9F, 3e38F, 3.4e38F, 1e-7F, 6e-8F, 2.9e-8F, 0.0F,
          -0.0F, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()})
        x.push_back(v);
    for (const Table* t : kernels::available()) {
        INFO(t->name);
        std::vector<std::uint16_t> h(x.size());
        t->encode<ElementType::f16>(x.data(), static_cast<std::ptrdiff_t>(x.size()),
                                    reinterpret_cast<std::byte*>(h.data()));
        for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(h[i] == f32_to_f16_saturated(x[i]));
        t->encode<ElementType::bf16>(x.data(), static_cast<std::ptrdiff_t>(x.size()),
                                     reinterpret_cast<std::byte*>(h.data()));
        for (std::size_t i = 0; i < x.size(); ++i)
            REQUIRE(h[i] == (std::isfinite(x[i]) && std::isinf(bf16_to_f32(f32_to_bf16(x[i])))
                                 ? std::uint16_t{0x7F7F}
                                 : f32_to_bf16(x[i])));
    }
}

TEST_CASE("a table is found by name, or the names are listed", "[dispatch]") {
    CHECK(&kernels::named("portable") == kernels::available().front());
    CHECK(code_of([] { kernels::named("mmx"); }) == ErrorCode::unsupported);
    const Table* before = &kernels::active();
    {
        const kernels::Override use(kernels::named("portable"));
        CHECK(std::string(kernels::active().name) == "portable");
    }
    CHECK(&kernels::active() == before);
}

TEST_CASE("instruction sets stand in one order, each with its own products of weights",
          "[dispatch]") {
    std::vector<const kernels::quantised::BlockKernels*> products;
    std::optional<kernels::Isa> before;
    for (const Table* t : kernels::available()) {
        INFO(t->name);
        CHECK(&kernels::named(t->name) == t);
        CHECK((!before || *before < t->isa));
        before = t->isa;
        const kernels::Override use(*t);
        products.push_back(&kernels::quantised::active());
        CHECK(products.back() == &kernels::quantised::kernels_for(*t));
        // What avx512bf16 adds are products of floats.
        const int those = std::string_view(t->name) == "avx512bf16" ? 2 : 1;
        CHECK(std::count(products.begin(), products.end(), products.back()) == those);
        CHECK(products.back()->tile_rows > 0);
    }
}
