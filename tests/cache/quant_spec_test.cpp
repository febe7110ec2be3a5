// Rows in two planes of 4 bits: what each view reads, that its products are those of its decoded
// rows by bits on every instruction set, bytes, and the buffer of recent tokens.
#include <cairn/cache/codec/quant_spec.hpp>

#include "support.hpp"
using namespace support;

namespace {

// Whole units of a codec in memory of their own.
struct PlaneRoom {
    const Codec& codec;
    int dims;
    std::vector<std::byte> bytes;
    PlaneRoom(const Codec& c, int d, int rows)
        : codec(c), dims(d), bytes((c.units(rows) + 1) * c.unit_bytes(d) + 64) {}
    Rows rows(int from, int n) {
        const auto unit = static_cast<std::ptrdiff_t>(codec.unit_bytes(dims));
        return {bytes.data() + from / 32 * unit, unit, from % 32, n, 0, from};
    }
};

}  // namespace

TEST_CASE("planes reconstruct by their formula, within their bounds", "[quant_spec]") {
    Random random(1);
    for (const bool keys : {true, false}) {
        const StreamPlan plan = keys ? QuantSpec<>::keys() : QuantSpec<>::values();
        const Codec& both = plan.coldest();
        REQUIRE(both.coarse != nullptr);
        const Codec& upper = *both.coarse;
        CHECK(upper.coarse == nullptr);
        int beyond = 0, all = 0;
        double squares8 = 0.0, squares4 = 0.0;
        for (const int dims : {1, 20, 32, 48, 64, 80, 128}) {
            const RowMatrix x = random_matrix(random, 96, dims);
            PlaneRoom room(both, dims, 96);
            both.encode(x.data(), dims, dims, room.rows(0, 96));
            CHECK(upper.unit_bytes(dims) == both.unit_bytes(dims));
            RowMatrix fine(96, dims), rough(96, dims);
            both.decode(room.rows(0, 96), dims, fine.data(), dims);
            upper.decode(room.rows(0, 96), dims, rough.data(), dims);
            for (int row = 0; row < 96; ++row)
                for (int d = 0; d < dims; ++d) {
                    // The group of 32: a channel's tokens, or a token's channels.
                    float low = 1e9F, high = -1e9F;
                    const int first = keys ? row / 32 * 32 : d / 32 * 32;
                    const int last = keys ? first + 32 : std::min(first + 32, dims);
                    for (int i = first; i < last; ++i) {
                        const float v = keys ? x(i, d) : x(row, i);
                        low = std::min(low, v), high = std::max(high, v);
                    }
                    const float s = (high - low) / 15.0F;
                    const float slack = 2e-3F * std::max(std::abs(low), std::abs(high)) + 1e-6F;
                    CHECK(std::abs(x(row, d) - rough(row, d)) <= s / 2 + slack);
                    CHECK(std::abs(x(row, d) - fine(row, d)) <= s / 16 + slack);
                    beyond += std::abs(x(row, d) - fine(row, d)) > s / 32 + slack / 8;
                    ++all;
                    squares8 += std::pow(x(row, d) - fine(row, d), 2);
                    squares4 += std::pow(x(row, d) - rough(row, d), 2);
                }
        }
        // Where the rest is above 7.5 sixteenths: 3 % of the numbers.
        CHECK(beyond < all / 20);
        CHECK(std::sqrt(squares4 / squares8) > 12.0);
        CHECK(std::sqrt(squares4 / squares8) < 17.0);
    }
}

TEST_CASE("products with planes are those of the decoded rows, by bits, everywhere",
          "[quant_spec]") {
    Random random(2);
    const auto key_plan = QuantSpec<>::keys();
    const auto value_plan = QuantSpec<>::values();
    const Codec& keys_both = key_plan.coldest();
    const Codec& values_both = value_plan.coldest();
    for (int round = 0; round < 24; ++round) {
        const int dims = draw(random, 1, 5) * (round % 3 == 0 ? 7 : 16);
        const int rows = draw(random, 1, 9) * 32;
        const int queries = draw(random, 1, 16);
        const RowMatrix x = random_matrix(random, rows, dims);
        const RowMatrix q = random_matrix(random, queries, dims);
        const RowMatrix p = random_matrix(random, queries, rows);
        const RowMatrix start = random_matrix(random, queries, dims);
        PlaneRoom keys(keys_both, dims, rows), values(values_both, dims, rows);
        keys_both.encode(x.data(), dims, dims, keys.rows(0, rows));
        values_both.encode(x.data(), dims, dims, values.rows(0, rows));
        const auto keys_before = keys.bytes, values_before = values.bytes;
        for (const bool coarse : {false, true}) {
            const Codec& k_codec = coarse ? *keys_both.coarse : keys_both;
            const Codec& v_codec = coarse ? *values_both.coarse : values_both;
            RowMatrix k(rows, dims), v(rows, dims);
            k_codec.decode(keys.rows(0, rows), dims, k.data(), dims);
            v_codec.decode(values.rows(0, rows), dims, v.data(), dims);
            RowMatrix weighed = start, scored(queries, rows);
            for (int i = 0; i < queries; ++i)
                for (int j = 0; j < rows; ++j) {
                    float s = 0.0F;
                    for (int d = 0; d < dims; ++d) {
                        s = std::fma(k(j, d), q(i, d), s);
                        weighed(i, d) = std::fma(v(j, d), p(i, j), weighed(i, d));
                    }
                    scored(i, j) = s;
                }
            for (const kernels::Table* table : kernels::available()) {
                const kernels::Override use(*table);
                INFO(table->name << ", coarse " << coarse << ", " << dims << " dims, " << rows
                                 << " rows, " << queries << " queries");
                const int cut = draw(random, 0, rows);
                RowMatrix s(queries, rows);
                RowMatrix o = start;
                for (auto [from, to] : {std::pair{0, cut}, std::pair{cut, rows}}) {
                    if (from == to) continue;
                    k_codec.scores(keys.rows(from, to - from), dims, q.data(), dims, queries,
                                   s.data() + from, rows);
                    v_codec.weigh(values.rows(from, to - from), dims, dims, p.data() + from, rows,
                                  queries, o.data(), dims);
                }
                REQUIRE(same_bits(o, weighed));
                REQUIRE(same_bits(s, scored));
                // And bytes are the same by every set.
                PlaneRoom again(keys_both, dims, rows), anew(values_both, dims, rows);
                keys_both.encode(x.data(), dims, dims, again.rows(0, rows));
                values_both.encode(x.data(), dims, dims, anew.rows(0, rows));
                REQUIRE(again.bytes == keys_before);
                REQUIRE(anew.bytes == values_before);
            }
        }
    }
    // Numbers without a spread, too small and too large.
    for (const float number : {0.0F, 1e-40F, -2.5F, 3e38F})
        for (const Codec* codec : {&keys_both, &values_both}) {
            const RowMatrix x = RowMatrix::Constant(32, 20, number);
            PlaneRoom room(*codec, 20, 32);
            codec->encode(x.data(), 20, 20, room.rows(0, 32));
            RowMatrix y(32, 20);
            codec->decode(room.rows(0, 32), 20, y.data(), 20);
            CHECK(y.allFinite());
            if (std::abs(number) < 100.0F) CHECK((x - y).cwiseAbs().maxCoeff() < 1e-3F);
        }
    CHECK(code_of([&] { keys_both.unit_bytes(1 << 27); }) == ErrorCode::limit);
}

TEST_CASE("between a buffer and two of recent tokens stay in f16; bytes are the formula",
          "[quant_spec]") {
    const HeadLayout layout{4, 2, 64, 64};
    KvCache<Contiguous<QuantSpec<32>>> cache(layout, 400);
    Random random(3);
    for (int length = 1; length <= 300; ++length) {
        const RowMatrix k = random_matrix(random, 1, 128), v = random_matrix(random, 1, 128);
        cache.stage(token_rows(k), token_rows(v));
        const int old = std::max(0, ((length - 1) / 32 - 1) * 32);  // to the query of this row
        for (int head = 0; head < 2; ++head) {
            internal::OwnRuns runs(cache.most_runs());
            cache.runs(head, runs.keys, runs.values);
            for (const RunList* list : {&runs.keys, &runs.values}) {
                int planes = 0, recent = 0;
                for (const Run& run : *list)
                    (run.codec->name == "quantspec" ? planes : recent) += run.end - run.begin;
                REQUIRE(planes == old);
                REQUIRE(recent == length - old);
                REQUIRE(recent >= std::min(length, 32));
                REQUIRE(recent <= 64);
            }
        }
        cache.commit(1);
        const int next = std::max(0, (length / 32 - 1) * 32);  // to the query that comes
        // 2 streams, 2 heads of 64 numbers: 9 bits of an old one, 16 of a recent one.
        REQUIRE(cache.payload_bytes(length) ==
                static_cast<std::size_t>(256 * (next * 9 + (length - next) * 16) / 8));
    }
}
