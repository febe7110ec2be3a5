// Quantised weights: packing keeps every number, and both kinds of product have the bits of their
// definition on every instruction set, for any number of rows and threads.
#include "quantised_support.hpp"
using namespace support;

TEST_CASE("packing keeps every number of every block type", "[quantised]") {
    Random random(11);
    for (int f = 0; f < block_types; ++f) {
        const ElementType type = block_type(f);
        INFO(block_size(type).name);
        const int in = 256 * draw(random, 1, 3), out = draw(random, 1, 40);
        const auto blocks = random_blocks(random, out, in, type);
        const WeightMatrix weights = packed(blocks, out, in, type);
        std::vector<float> wanted(static_cast<std::size_t>(in)), row(wanted.size());
        const std::size_t row_bytes = block_size(type).size_of(wanted.size());
        for (int n = 0; n < out; ++n) {
            quantised::decode(type, blocks.data() + static_cast<std::size_t>(n) * row_bytes,
                              wanted.size(), wanted.data());
            weights.row(n, row.data());
            REQUIRE(same_bits(row, wanted));
        }
        // One copy, hardly larger than the file's.
        const auto& layout = quantised::block_format(type).layout;
        CHECK(static_cast<double>(kernels::quantised::panel_bytes(layout, in)) <=
              1.06 * 16.0 * static_cast<double>(row_bytes) + 64.0);
    }
    CHECK(code_of([] { quantised_matrix(3, 40, ElementType::q4_0); }) == ErrorCode::shape_mismatch);
    CHECK(code_of([] { quantised_matrix(3, 32, ElementType::f16); }) ==
          ErrorCode::invalid_argument);
    CHECK(code_of([] { WeightMatrix(3, 32, ElementType::q4_0); }) == ErrorCode::invalid_argument);
}

TEST_CASE("products have the bits of their definition", "[quantised]") {
    Random random(12);
    ThreadPool pool(2);
    for (int round = 0; round < 3 * block_types; ++round) {
        const ElementType type = block_type(round % block_types);
        INFO(block_size(type).name);
        const bool small = block_size(type).values == 32;
        const int in = small ? 32 * draw(random, 1, 9) : 256 * draw(random, 1, 2);
        const int out = draw(random, 1, 130), rows = draw(random, 1, 15);
        const auto blocks = random_blocks(random, out, in, type);
        const WeightMatrix weights = packed(blocks, out, in, type);
        const auto bias = random_vector(random, static_cast<std::size_t>(out));
        RowMatrix x = random_matrix(random, rows, in);
        x.row(0).head(32).setZero();
        RowMatrix fast(rows, out), exact(rows, out);

        // Accurate: the product with the decoded weights as f32.
        RowMatrix decoded(out, in);
        for (int n = 0; n < out; ++n) weights.row(n, decoded.row(n).data());
        Context plain;
        multiply(WeightMatrix::from(decoded), bias.data(), {x.data(), in, rows},
                 {exact.data(), out, rows}, plain);
        const std::size_t row_bytes = block_size(type).size_of(static_cast<std::size_t>(in));
        for (int r = 0; r < rows; ++r) {
            const QuantisedRow q =
                quantise_row(std::span(x.row(r).data(), static_cast<std::size_t>(in)));
            for (int n = 0; n < out; ++n)
                fast(r, n) =
                    product_by_definition(quantised::block_format(type),
                                          blocks.data() + static_cast<std::size_t>(n) * row_bytes,
                                          q, bias[static_cast<std::size_t>(n)]);
        }
        CHECK((fast - exact).cwiseAbs().maxCoeff() < 0.05F * exact.cwiseAbs().maxCoeff() + 0.05F);
        for (const kernels::Table* table : kernels::available()) {
            INFO(table->name);
            const kernels::Override use(*table);
            for (Executor* executor :
                 {static_cast<Executor*>(&Serial::instance()), static_cast<Executor*>(&pool)}) {
                Context context(*executor);
                RowMatrix y(rows, out);
                multiply(weights, bias.data(), {x.data(), in, rows}, {y.data(), out, rows},
                         context);
                REQUIRE(same_bits(y, fast));
                RowMatrix one(1, out);
                multiply(weights, bias.data(), {x.row(rows - 1).data(), in, 1},
                         {one.data(), out, 1}, context);
                REQUIRE(same_bits(one, fast.row(rows - 1)));
                context.compute = Compute::accurate;
                multiply(weights, bias.data(), {x.data(), in, rows}, {y.data(), out, rows},
                         context);
                REQUIRE(same_bits(y, exact));
                multiply(weights, bias.data(), {x.row(0).data(), in, 1}, {one.data(), out, 1},
                         context);
                REQUIRE(same_bits(one, exact.row(0)));
            }
        }
    }
}

TEST_CASE("codes and activations at their ends overflow no sum", "[quantised]") {
    Random random(15);
    constexpr int in = 256, out = 16, rows = 4;
    for (int f = 0; f < block_types; ++f)
        for (const int fill : {0x00, 0x80, 0xFF}) {
            const ElementType type = block_type(f);
            INFO(block_size(type).name << ", bytes of " << fill);
            const auto blocks = random_blocks(random, out, in, type, static_cast<std::byte>(fill));
            const WeightMatrix weights = packed(blocks, out, in, type);
            const std::size_t row_bytes = block_size(type).size_of(in);
            RowMatrix x = RowMatrix::Ones(rows, in);  // 127 each
            x.row(1) *= -1.0F;
            for (int i = 0; i < in; i += 2) x(2, i) = -1.0F;
            for (int i = 0; i < in; i += 8) x.row(3).segment(i, 4) *= -1.0F;
            RowMatrix wanted(rows, out), y(rows, out), one(1, out);
            for (int r = 0; r < rows; ++r)
                for (int n = 0; n < out; ++n)
                    wanted(r, n) = product_by_definition(
                        quantised::block_format(type),
                        blocks.data() + static_cast<std::size_t>(n) * row_bytes,
                        quantise_row(std::span(x.row(r).data(), std::size_t{in})), 0.0F);
            for (const kernels::Table* table : kernels::available()) {
                INFO(table->name);
                const kernels::Override use(*table);
                Context context;
                multiply(weights, nullptr, {x.data(), in, rows}, {y.data(), out, rows}, context);
                REQUIRE(same_bits(y, wanted));
                for (int r = 0; r < rows; ++r) {
                    multiply(weights, nullptr, {x.row(r).data(), in, 1}, {one.data(), out, 1},
                             context);
                    REQUIRE(same_bits(one, wanted.row(r)));
                }
            }
        }
}

TEST_CASE("activations that are no numbers stay visible", "[quantised]") {
    Random random(13);
    const WeightMatrix weights =
        packed(random_blocks(random, 16, 64, ElementType::q8_0), 16, 64, ElementType::q8_0);
    for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()})
        for (const kernels::Table* table : kernels::available()) {
            const kernels::Override use(*table);
            RowMatrix x = random_matrix(random, 1, 64), y(1, 16);
            x(0, 40) = bad;
            Context context;
            multiply(weights, nullptr, {x.data(), 64, 1}, {y.data(), 16, 1}, context);
            for (int n = 0; n < 16; ++n) CHECK_FALSE(std::isfinite(y(0, n)));
        }
}

TEST_CASE("joined products are the single ones side by side", "[quantised]") {
    Random random(14);
    ThreadPool pool(3);
    Context context(pool);
    std::vector<cairn::Linear> parts;
    std::vector<RowMatrix> single;
    const int in = 256;
    RowMatrix x = random_matrix(random, 9, in);
    for (const ElementType type : {ElementType::q4_k, ElementType::q6_k, ElementType::f16}) {
        const int out = draw(random, 1, 100);
        WeightMatrix w = is_plain(type)
                             ? WeightMatrix::from(random_matrix(random, out, in), type)
                             : packed(random_blocks(random, out, in, type), out, in, type);
        single.emplace_back(9, out);
        parts.emplace_back(std::move(w), random_vector(random, static_cast<std::size_t>(out)));
        parts.back().forward({x.data(), in, 9}, {single.back().data(), out, 9}, context);
    }
    const JoinedLinear joined(std::move(parts));
    RowMatrix y(9, joined.out());
    joined.forward({x.data(), in, 9}, {y.data(), joined.out(), 9}, context);
    Eigen::Index at = 0;
    for (const RowMatrix& part : single) {
        CHECK(same_bits(RowMatrix(y.middleCols(at, part.cols())), part));
        at += part.cols();
    }
}

TEST_CASE("scales of mxfp4 are powers of two, or an error where numbers would be infinite",
          "[quantised]") {
    std::vector<std::byte> block(17, std::byte{0xF7});  // 6 in the low nibbles, -6 in the high
    for (int e = 0; e < 256; ++e) {
        INFO(e);
        block[0] = static_cast<std::byte>(e);
        if (e > 252) {
            CHECK(code_of([&] { packed(block, 1, 32, ElementType::mxfp4); }) ==
                  ErrorCode::non_finite);
            continue;
        }
        const WeightMatrix one = packed(block, 1, 32, ElementType::mxfp4);
        float row[32];
        one.row(0, row);
        CHECK(row[3] == std::ldexp(6.0F, e - 127));
        CHECK(row[20] == std::ldexp(-6.0F, e - 127));
    }
}
