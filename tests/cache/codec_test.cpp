// Every codec: what it loses, that its products are those of its decoded rows by bits on every
// instruction set, and that a row's bytes depend on nothing but the row.
#include <cairn/cache/cache_spec.hpp>
#include <cairn/kernels/hadamard.hpp>

#include "support.hpp"
using namespace support;

namespace {

struct Named {
    const char* name;
    const Codec* keys;
    const Codec* values;
    double error;  // relative to the largest magnitude of a row
};
template <class T>
Named named(const char* name, double error) {
    return {name, &T::keys(), &T::values(), error};
}
std::vector<Named> codecs() {
    return {named<F32>("f32", 0.0),
            named<F16>("f16", 1e-3),
            named<BF16>("bf16", 4e-3),
            named<Fp8E4M3>("fp8_e4m3", 0.0625),
            named<Fp8E5M2>("fp8_e5m2", 0.125),
            named<Q8_0>("q8_0", 5e-3),
            named<Q5_1>("q5_1", 0.035),
            named<Q5_0>("q5_0", 0.065),
            named<Q4_1>("q4_1", 0.07),
            named<Q4_0>("q4_0", 0.13),
            named<Iq4Nl>("iq4_nl", 0.14),
            named<Int8>("int8", 5e-3),
            named<Int4>("int4", 0.07)};
}

// Rows in memory of their own; `lane` is the place of the first one in its unit.
struct Encoded {
    const Codec* codec;
    int dims, lane, count;
    std::vector<std::byte> bytes;
    Encoded(const Codec& c, int d, int first, int n)
        : codec(&c),
          dims(d),
          lane(first),
          count(n),
          bytes((c.units(first + n) + 1) * c.unit_bytes(d) + 64) {}
    Rows rows(int from = 0, int n = -1) {
        const int at = lane + from;
        const auto unit = static_cast<std::ptrdiff_t>(codec->unit_bytes(dims));
        return {bytes.data() + at / codec->rows_per_unit * unit,
                unit,
                at % codec->rows_per_unit,
                n < 0 ? count - from : n,
                0,
                from};
    }
};

}  // namespace

TEST_CASE("8-bit floats: every code, and the nearest of all", "[codec]") {
    for (int code = 0; code < 256; ++code) {
        const auto c = static_cast<std::uint8_t>(code);
        const float a = e4m3_to_f32(c);
        if (a == a) CHECK(f32_to_e4m3(a) == c);
        const float b = e5m2_to_f32(c);
        if (b == b && std::abs(b) <= 57344.0F) CHECK(f32_to_e5m2(b) == c);
    }
    CHECK(e4m3_to_f32(0x7E) == 448.0F);
    CHECK(e4m3_to_f32(0x01) == std::ldexp(1.0F, -9));
    CHECK(e5m2_to_f32(0x7B) == 57344.0F);
    CHECK(std::isnan(e4m3_to_f32(f32_to_e4m3(std::nanf("")))));
    CHECK(f32_to_e4m3(1e9F) == 0x7E);
    Random random(5);
    for (int i = 0; i < 100000; ++i) {
        const auto x = static_cast<float>(random.normal() * elementary::exp2(draw(random, -14, 9)));
        const auto check = [&](auto encode, auto decode, int last) {
            const float got = decode(encode(x));
            for (int code = 0; code <= last; ++code) {
                const float other = decode(static_cast<std::uint8_t>(code));
                if (std::abs(other - std::abs(x)) < std::abs(std::abs(got) - std::abs(x)))
                    FAIL(x << " became " << got << ", " << other << " is nearer");
            }
        };
        if (i % 100 == 0) {
            check(f32_to_e4m3, e4m3_to_f32, 0x7E);
            check(f32_to_e5m2, e5m2_to_f32, 0x7B);
        }
    }
}

TEST_CASE("what a codec loses is bounded", "[codec]") {
    Random random(6);
    for (const Named& n : codecs())
        for (const Codec* codec : {n.keys, n.values})
            for (const int dims : {1, 20, 32, 64, 80}) {
                const int rows = 19;
                const RowMatrix x = random_matrix(random, rows, dims);
                Encoded e(*codec, dims, 3 % codec->rows_per_unit, rows);
                codec->encode(x.data(), dims, dims, e.rows());
                RowMatrix y(rows, dims);
                codec->decode(e.rows(), dims, y.data(), dims);
                INFO(n.name << ", " << dims << " dims");
                for (int r = 0; r < rows; ++r)
                    CHECK((x.row(r) - y.row(r)).cwiseAbs().maxCoeff() <=
                          n.error * x.row(r).cwiseAbs().maxCoeff() + 1e-3);
                // Zeros stay zeros, and huge numbers finite.
                const RowMatrix zero = RowMatrix::Zero(rows, dims);
                codec->encode(zero.data(), dims, dims, e.rows());
                codec->decode(e.rows(), dims, y.data(), dims);
                CHECK(y == zero);
                const RowMatrix huge = RowMatrix::Constant(rows, dims, 3e38F);
                codec->encode(huge.data(), dims, dims, e.rows());
                codec->decode(e.rows(), dims, y.data(), dims);
                CHECK(y.allFinite());
                const RowMatrix tiny = RowMatrix::Constant(rows, dims, 1e-40F);
                codec->encode(tiny.data(), dims, dims, e.rows());
                codec->decode(e.rows(), dims, y.data(), dims);
                CHECK(y.cwiseAbs().maxCoeff() <= 1e-7F);
            }
}

TEST_CASE("products with encoded rows are those of the decoded rows, by bits, everywhere",
          "[codec]") {
    Random random(7);
    for (const Named& n : codecs())
        for (int round = 0; round < 12; ++round) {
            const int dims = draw(random, 1, 5) * (round % 3 == 0 ? 7 : 16);
            const int rows = draw(random, 1, round < 10 ? 70 : 300);
            const int queries = draw(random, 1, 16);
            const RowMatrix x = random_matrix(random, rows, dims);
            const RowMatrix q = random_matrix(random, queries, dims);
            const RowMatrix p = random_matrix(random, queries, rows);
            const RowMatrix start = random_matrix(random, queries, dims);
            Encoded keys(*n.keys, dims, draw(random, 0, n.keys->rows_per_unit - 1), rows);
            Encoded values(*n.values, dims, 0, rows);
            n.keys->encode(x.data(), dims, dims, keys.rows());
            n.values->encode(x.data(), dims, dims, values.rows());
            RowMatrix k(rows, dims);
            RowMatrix v(rows, dims);
            n.keys->decode(keys.rows(), dims, k.data(), dims);
            n.values->decode(values.rows(), dims, v.data(), dims);
            RowMatrix weighed = start;
            for (int i = 0; i < queries; ++i)
                for (int j = 0; j < rows; ++j)
                    for (int d = 0; d < dims; ++d)
                        weighed(i, d) = std::fma(v(j, d), p(i, j), weighed(i, d));
            RowMatrix scored(queries, rows);
            for (int i = 0; i < queries; ++i)
                for (int j = 0; j < rows; ++j) {
                    float s = 0.0F;
                    for (int d = 0; d < dims; ++d) s = std::fma(k(j, d), q(i, d), s);
                    scored(i, j) = s;
                }
            for (const kernels::Table* table : kernels::available()) {
                const kernels::Override use(*table);
                INFO(n.name << ", " << table->name << ", " << dims << " dims, " << rows << " rows, "
                            << queries << " queries");
                // In two cuts: pages end anywhere.
                const int cut = draw(random, 0, rows);
                RowMatrix s(queries, rows);
                RowMatrix o = start;
                for (auto [from, to] : {std::pair{0, cut}, std::pair{cut, rows}}) {
                    if (from == to) continue;
                    n.keys->scores(keys.rows(from, to - from), dims, q.data(), dims, queries,
                                   s.data() + from, rows);
                    n.values->weigh(values.rows(from, to - from), dims, dims, p.data() + from, rows,
                                    queries, o.data(), dims);
                }
                REQUIRE(same_bits(o, weighed));
                if (n.keys->unpacked != nullptr) {
                    Encoded floats(*n.keys->unpacked, dims, keys.lane, rows);
                    n.keys->unpack(keys.rows(), dims,
                                   reinterpret_cast<float*>(floats.bytes.data()));
                    RowMatrix once(queries, rows);
                    floats.codec->scores(floats.rows(), dims, q.data(), dims, queries, once.data(),
                                         rows);
                    REQUIRE(same_bits(once, scored));
                    Encoded more(*n.values->unpacked, dims, 0, rows);
                    n.values->unpack(values.rows(), dims,
                                     reinterpret_cast<float*>(more.bytes.data()));
                    once = start;
                    more.codec->weigh(more.rows(), dims, dims, p.data(), rows, queries, once.data(),
                                      dims);
                    REQUIRE(same_bits(once, weighed));
                }
                if (n.keys->rows_per_unit > 1)
                    REQUIRE(same_bits(s, scored));
                else
                    REQUIRE((s - scored).cwiseAbs().maxCoeff() < 1e-3F);
            }
        }
}

TEST_CASE("every code of 8 bits is read as it is defined, NaN included, everywhere", "[codec]") {
    // 256 codes as 16 rows of 16 numbers, against what multiplying by one and adding to zero gives.
    const RowMatrix ones = RowMatrix::Identity(16, 16);
    for (const bool narrow : {true, false}) {
        const Codec& keys = narrow ? Fp8E4M3::keys() : Fp8E5M2::keys();
        const Codec& values = narrow ? Fp8E4M3::values() : Fp8E5M2::values();
        Encoded k(keys, 16, 0, 16);
        Encoded v(values, 16, 0, 16);
        for (int code = 0; code < 256; ++code) {
            k.bytes[static_cast<std::size_t>(code)] = static_cast<std::byte>(code);
            v.bytes[static_cast<std::size_t>(code)] = static_cast<std::byte>(code);
        }
        for (const kernels::Table* table : kernels::available()) {
            const kernels::Override use(*table);
            INFO(table->name << ", " << keys.name);
            for (int j = 0; j < 16; ++j) {
                // A NaN or an infinity spoils its whole row or column: one at a time.
                RowMatrix s(16, 16);
                RowMatrix o = RowMatrix::Zero(16, 16);
                keys.scores(k.rows(), 16, ones.data(), 16, 16, s.data(), 16);
                values.weigh(v.rows(j, 1), 16, 16, ones.data(), 16, 1, o.data(), 16);
                for (int i = 0; i < 16; ++i) {
                    const auto code = static_cast<std::uint8_t>(16 * j + i);
                    const float value = narrow ? e4m3_to_f32(code) : e5m2_to_f32(code);
                    const float got = o(0, i);
                    if (value == value)
                        CHECK(got == value);
                    else
                        CHECK(std::isnan(got));
                    // Keys [dim][position]: code 16 d + j is dim d of position j.
                    bool finite = true;
                    for (int d = 0; d < 16; ++d) {
                        const auto c = static_cast<std::uint8_t>(16 * d + i);
                        finite = finite && std::isfinite(narrow ? e4m3_to_f32(c) : e5m2_to_f32(c));
                    }
                    if (finite)
                        CHECK(s(j, i) == value);
                    else
                        CHECK((std::isnan(s(j, i)) || s(j, i) == value));
                }
            }
        }
    }
}

TEST_CASE("a row's bytes depend on nothing but the row, and move as they are", "[codec]") {
    Random random(8);
    for (const Named& n : codecs())
        for (const Codec* codec : {n.keys, n.values}) {
            const int dims = 48;
            const int rows = 40;
            const RowMatrix x = random_matrix(random, rows, dims);
            Encoded whole(*codec, dims, 0, rows);
            codec->encode(x.data(), dims, dims, whole.rows());
            for (const kernels::Table* table : kernels::available()) {
                const kernels::Override use(*table);
                Encoded single(*codec, dims, 0, rows);
                for (int r = rows - 1; r >= 0; --r)
                    codec->encode(x.data() + r * dims, dims, dims, single.rows(r, 1));
                INFO(n.name << ", " << table->name);
                REQUIRE(single.bytes == whole.bytes);
            }
            Encoded moved(*codec, dims, 0, rows);
            for (int r = 0; r < rows; ++r)
                codec->copy_row(whole.rows(rows - 1 - r, 1), moved.rows(r, 1), dims);
            RowMatrix a(rows, dims);
            RowMatrix b(rows, dims);
            codec->decode(whole.rows(), dims, a.data(), dims);
            codec->decode(moved.rows(), dims, b.data(), dims);
            CHECK(same_bits(RowMatrix(a.colwise().reverse()), b));
        }
}

TEST_CASE("keys by channel: products, and an outlier channel", "[codec][kivi]") {
    Random random(9);
    const auto check = [&](const Codec& codec, int levels) {
        for (const int dims : {1, 20, 64}) {
            const int rows = 96;
            RowMatrix x = random_matrix(random, rows, dims);
            x.col(dims / 2) *= 100.0F;
            Encoded keys(codec, dims, 0, rows);
            codec.encode(x.data(), dims, dims, keys.rows());
            RowMatrix k(rows, dims);
            codec.decode(keys.rows(), dims, k.data(), dims);
            for (int g = 0; g < rows; g += 32)
                for (int d = 0; d < dims; ++d) {
                    const auto column = x.col(d).segment(g, 32);
                    const float step =
                        (column.maxCoeff() - column.minCoeff()) / static_cast<float>(levels);
                    CHECK((column - k.col(d).segment(g, 32)).cwiseAbs().maxCoeff() <=
                          0.5F * step + 2e-3F * column.cwiseAbs().maxCoeff());
                }
            const RowMatrix q = random_matrix(random, 7, dims);
            for (const kernels::Table* table : kernels::available()) {
                const kernels::Override use(*table);
                for (auto [from, to] : {std::pair{0, rows}, std::pair{5, 70}, std::pair{40, 41}}) {
                    RowMatrix s(7, rows);
                    codec.scores(keys.rows(from, to - from), dims, q.data(), dims, 7,
                                 s.data() + from, rows);
                    for (int i = 0; i < 7; ++i)
                        for (int j = from; j < to; ++j) {
                            float wanted = 0.0F;
                            for (int d = 0; d < dims; ++d)
                                wanted = std::fma(k(j, d), q(i, d), wanted);
                            REQUIRE(std::bit_cast<std::uint32_t>(wanted) ==
                                    std::bit_cast<std::uint32_t>(s(i, j)));
                        }
                }
            }
            if (dims != 20) continue;
            // A token's own scale is ruined by the outlier, a channel's is not.
            const auto aged = Kivi<2>::values();
            const Codec& by_token = levels == 15 ? Q4_1::values() : aged.coldest();
            Encoded tokens(by_token, dims, 0, rows);
            by_token.encode(x.data(), dims, dims, tokens.rows());
            RowMatrix t(rows, dims);
            by_token.decode(tokens.rows(), dims, t.data(), dims);
            x.col(dims / 2).setZero();
            k.col(dims / 2).setZero();
            t.col(dims / 2).setZero();
            CHECK((x - t).norm() > 5.0F * (x - k).norm());
        }
    };
    check(Kivi<4>::keys().coldest(), 15);
    check(Kivi<2>::keys().coldest(), 3);
}

TEST_CASE("the Hadamard turn keeps products and undoes itself", "[codec]") {
    Random random(10);
    for (const int n : {1, 2, 12, 64, 80, 128}) {
        const auto x = random_vector(random, static_cast<std::size_t>(n));
        const auto y = random_vector(random, static_cast<std::size_t>(n));
        auto a = x;
        auto b = y;
        kernels::hadamard(a.data(), n);
        kernels::hadamard(b.data(), n);
        double before = 0.0;
        double after = 0.0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            before += static_cast<double>(x[i]) * static_cast<double>(y[i]);
            after += static_cast<double>(a[i]) * static_cast<double>(b[i]);
        }
        CHECK(std::abs(before - after) < 1e-4);
        kernels::hadamard(a.data(), n);
        for (std::size_t i = 0; i < x.size(); ++i) CHECK(std::abs(a[i] - x[i]) < 1e-5F);
    }
}

TEST_CASE("a codec that cannot hold NaN refuses it", "[codec]") {
    const HeadLayout layout{2, 2, 16, 16};
    KvCache<Contiguous<Q8_0>> cache(layout, 10);
    std::vector<float> good(32, 1.0F);
    std::vector<float> bad(good);
    bad[17] = std::numeric_limits<float>::quiet_NaN();
    CHECK(code_of([&] { cache.stage({bad.data(), 32, 1}, {good.data(), 32, 1}); }) ==
          ErrorCode::non_finite);
    bad[17] = std::numeric_limits<float>::infinity();
    CHECK(code_of([&] { cache.stage({good.data(), 32, 1}, {bad.data(), 32, 1}); }) ==
          ErrorCode::non_finite);
    CHECK(cache.length() == 0);
    cache.append({good.data(), 32, 1}, {good.data(), 32, 1});
    CHECK(cache.committed() == 1);
}

TEST_CASE("a head too wide for a codec is refused before anything is written", "[codec]") {
    for (const Codec* codec :
         {&Int8::keys(), &Int8::values(), &Fp8E4M3::keys(), &Fp8E5M2::values()}) {
        CHECK(codec->unit_bytes(4096) > 0);
        CHECK(code_of([&] { codec->unit_bytes(4097); }) == ErrorCode::limit);
        CHECK(code_of([&] { codec->row_bytes(4097); }) == ErrorCode::limit);
    }
    CHECK(Q8_0::keys().unit_bytes(4097) > 0);
    CHECK(code_of([] { Q4_0::keys().unit_bytes(1 << 27); }) == ErrorCode::limit);
    CHECK(code_of([] { Kivi<2>::keys().codec(1).unit_bytes(1 << 27); }) == ErrorCode::limit);
    CHECK(code_of([] { KvCache<Contiguous<F16, Int8>>({1, 1, 64, 5000}, 16); }) ==
          ErrorCode::limit);
    KvCache<Contiguous<Int8>> widest({1, 1, 4096, 4096}, 2);
    const std::vector<float> row(4096, 1.0F);
    widest.append({row.data(), 4096, 1}, {row.data(), 4096, 1});
    CHECK(widest.committed() == 1);
}
