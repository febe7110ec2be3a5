// Each layer against its definition in double.
#include <cmath>
#include <limits>

#include "quantised_support.hpp"
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

TEST_CASE("weights that are no numbers are refused wherever they come from", "[weight_matrix]") {
    Random random(2);
    const float infinity = std::numeric_limits<float>::infinity();
    const auto message = [](auto&& body) {
        try {
            body();
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::non_finite);
            return std::string(error.what());
        }
        return std::string();
    };
    for (const ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16})
        for (const float bad : {infinity, -infinity, std::nanf("")})
            for (const int row : {0, 15, 16, 20}) {
                RowMatrix w = random_matrix(random, 21, 7);
                CHECK_NOTHROW(WeightMatrix::from(w, type));
                w(row, 5) = bad;
                CHECK(message([&] {
                          WeightMatrix::from(w, type);
                      }).find("row " + std::to_string(row) + ", column 5") != std::string::npos);
                // As a file stores them.
                std::vector<std::byte> stored(21 * 7 * block_size(type).bytes);
                format_of(type).encode(w.data(), 21 * 7, stored.data());
                WeightMatrix matrix(21, 7, type);
                CHECK(message([&] { matrix.put_rows(0, 21, stored.data()); }) ==
                      "weights: NaN or infinity in row " + std::to_string(row));
            }
    RowMatrix big = random_matrix(random, 3, 3);
    big(1, 2) = -65520.0F;
    CHECK_NOTHROW(WeightMatrix::from(big, ElementType::bf16));
    CHECK(message([&] { WeightMatrix::from(big, ElementType::f16); }) ==
          "weights: -65520 in row 1, column 2 is too big for f16");
    big(1, 2) = 65504.0F;
    CHECK_NOTHROW(WeightMatrix::from(big, ElementType::f16));
}

TEST_CASE("the test for finite numbers is exact for every 16-bit pattern", "[weight_matrix]") {
    for (const ElementType type : {ElementType::f16, ElementType::bf16})
        for (unsigned bits = 0; bits < 65536; ++bits)
            for (const std::size_t count : {std::size_t{1}, std::size_t{4}, std::size_t{7}}) {
                std::vector<std::uint16_t> numbers(count);
                numbers[bits % count] = static_cast<std::uint16_t>(bits);
                const auto* bytes = reinterpret_cast<const std::byte*>(numbers.data());
                float x = 0.0F;
                format_of(type).decode(bytes + 2 * (bits % count), 1, &x);
                if (internal::finite_numbers(type, bytes, count) != std::isfinite(x))
                    FAIL(bits << " of " << count);
            }
    for (const float x : {0.0F, -0.0F, 3.4e38F, -3.4e38F, 1e-45F, 1.0F})
        CHECK(
            internal::finite_numbers(ElementType::f32, reinterpret_cast<const std::byte*>(&x), 1));
}

TEST_CASE("scales of blocks that are no numbers are refused", "[weight_matrix]") {
    Random random(3);
    for (int t = 0; t < 12; ++t) {
        const ElementType type = block_type(t);
        const std::vector<std::byte> good = random_blocks(random, 3, 512, type);
        CHECK_NOTHROW(packed(good, 3, 512, type));
        // Whatever byte makes a decoded number other than finite is found.
        std::vector<float> numbers(512);
        int found = 0;
        const std::size_t row = good.size() / 3;
        for (std::size_t at = 2 * row; at < 2 * row + block_size(type).bytes; ++at) {
            std::vector<std::byte> bad = good;
            bad[at] = std::byte{0x7C};
            quantised::decode(type, bad.data() + 2 * row, 512, numbers.data());
            const bool finite = std::all_of(numbers.begin(), numbers.end(),
                                            [](float x) { return std::isfinite(x); });
            if (finite) {
                CHECK_NOTHROW(packed(bad, 3, 512, type));
                continue;
            }
            ++found;
            CHECK(code_of([&] { packed(bad, 3, 512, type); }) == ErrorCode::non_finite);
        }
        INFO(block_size(type).name);
        CHECK(found >= 1);
    }
}

TEST_CASE("vectors of layers are finite", "[weight_matrix]") {
    const std::vector<float> good(4, 1.0F);
    std::vector<float> bad = good;
    bad[2] = std::numeric_limits<float>::infinity();
    CHECK(code_of([&] { LayerNorm(bad, good, 1e-5F); }) == ErrorCode::non_finite);
    CHECK(code_of([&] { LayerNorm(good, bad, 1e-5F); }) == ErrorCode::non_finite);
    CHECK(code_of([&] { RmsNorm(bad, 1e-5F); }) == ErrorCode::non_finite);
    CHECK(code_of([&] { cairn::Linear(WeightMatrix::from(RowMatrix::Ones(4, 4)), bad); }) ==
          ErrorCode::non_finite);
    AttentionSettings settings;
    settings.alibi = {1.0F, std::nanf("")};
    CHECK(code_of([&] {
              MultiHead<NoRotation>(
                  {2, 2, 2, 2}, cairn::Linear(WeightMatrix(12, 4, ElementType::f32)),
                  cairn::Linear(WeightMatrix(4, 4, ElementType::f32)), {}, settings);
          }) == ErrorCode::non_finite);
}
