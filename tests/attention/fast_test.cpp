// Attention in its fast mode: scores in integers over encoded keys are what they are defined to be,
// by bits, on every instruction set, in every cut, store and batch; how far they are from exact
// ones is bounded; and who does not ask for them sees no change.
#include <cairn/attention/batch.hpp>
#include <cairn/cache/cache_spec.hpp>
#include <cairn/kernels/cached/query.hpp>
#include <cairn/kernels/rounded.hpp>

#include "attention_support.hpp"
using namespace support;

namespace {

using kernels::cached::query_blocks;
using kernels::cached::QueryBlock;

struct IntegerKeys {
    const Codec* codec;
    bool least;    // of a block, beside its scale
    bool whole;    // one scale for all dims
    int zero;      // code of the number 0
    bool by_sign;  // codes are signed bytes
};
std::vector<IntegerKeys> integer_keys() {
    return {{&Q8_0::keys(), false, false, 0, true},
            {&Int8::keys(), false, true, 0, true},
            {&Q4_0::keys(), false, false, 8, false},
            {&Q4_1::keys(), true, false, 0, false},
            {&Int4::keys(), true, false, 0, false}};
}

// 32 dims of a query as bytes, as the mode is defined.
struct ByteBlock {
    int bytes[32] = {};
    float scale = 0.0F;
};
std::vector<ByteBlock> bytes_of(const float* q, int dims) {
    std::vector<ByteBlock> blocks(static_cast<std::size_t>(query_blocks(dims)));
    for (int d = 0; d < dims; ++d) {
        ByteBlock& block = blocks[static_cast<std::size_t>(d / 32)];
        float most = 0.0F;
        for (int i = d / 32 * 32; i < std::min(dims, d / 32 * 32 + 32); ++i)
            most = std::max(most, std::abs(q[i]));
        block.scale = most > 1e-30F ? most / 127.0F : 0.0F;
        const float inverse = 127.0F / most;
        block.bytes[d % 32] = most > 1e-30F
                                  ? static_cast<int>(std::nearbyint(static_cast<double>(q[d]) *
                                                                    static_cast<double>(inverse)))
                                  : 0;
    }
    return blocks;
}

struct OneRow {
    std::vector<int> codes;
    std::vector<float> scales, leasts;  // by block
};
// Scale and codes of a row from what it decodes to: of two numbers a scale apart.
float defined_score(const std::vector<ByteBlock>& query, const OneRow& row, int dims, int zero) {
    float score = 0.0F;
    for (std::size_t b = 0; b < query.size(); ++b) {
        int products = 0;
        int sum = 0;
        for (int d = static_cast<int>(b) * 32; d < std::min(dims, static_cast<int>(b) * 32 + 32);
             ++d) {
            products += (row.codes[static_cast<std::size_t>(d)] - zero) * query[b].bytes[d % 32];
            sum += query[b].bytes[d % 32];
        }
        score = std::fma(static_cast<float>(products), row.scales[b] * query[b].scale, score);
        if (!row.leasts.empty())
            score = std::fma(row.leasts[b], query[b].scale * static_cast<float>(sum), score);
    }
    return score;
}

// A row of random codes and scales, written into place `lane` of a tile.
OneRow random_row(Random& random, const IntegerKeys& keys, int dims, std::byte* unit, int lane) {
    OneRow row;
    const int bits = keys.by_sign ? 8 : 4;
    const int group = keys.whole ? (dims + 1) / 2 * 2 : 32;
    const int header = keys.least ? 64 : 32;
    for (int b = 0; b < query_blocks(dims); ++b) {
        std::byte* block = unit + (keys.whole ? 0 : b * (header + group * 16 * bits / 8));
        const auto put = [&](int at, float x) {
            const f16_bits half = f32_to_f16_saturated(x);
            std::memcpy(block + at + 2 * lane, &half, 2);
            return f16_to_f32(half);
        };
        if (b == 0 || !keys.whole)
            row.scales.push_back(put(0, static_cast<float>(random.normal() * 0.01)));
        else
            row.scales.push_back(row.scales[0]);
        if (keys.least) row.leasts.push_back(put(32, static_cast<float>(random.normal())));
        for (int d = 32 * b; d < std::min(dims, 32 * b + 32); ++d) {
            const int code = keys.by_sign ? draw(random, -128, 127) : draw(random, 0, 15);
            row.codes.push_back(code);
            const int i = keys.whole ? d : d - 32 * b;
            std::byte& at = block[header + (bits == 8 ? i * 16 : i / 2 * 16) + lane];
            if (bits == 8)
                at = static_cast<std::byte>(code);
            else
                at = i % 2 == 0 ? (at & std::byte{0xF0}) | static_cast<std::byte>(code)
                                : (at & std::byte{0x0F}) | static_cast<std::byte>(code << 4);
        }
    }
    return row;
}

std::vector<QueryBlock> quantised(const RowMatrix& q) {
    const auto dims = static_cast<int>(q.cols());
    std::vector<QueryBlock> blocks(
        static_cast<std::size_t>(q.rows() * static_cast<Eigen::Index>(query_blocks(dims))));
    for (Eigen::Index i = 0; i < q.rows(); ++i)
        kernels::cached::quantise_query(kernels::active(), q.data() + i * dims, dims,
                                        blocks.data() + i * query_blocks(dims));
    return blocks;
}

}  // namespace

TEST_CASE("scores in integers are their definition, by bits, everywhere", "[fast]") {
    Random random(71);
    for (const IntegerKeys& keys : integer_keys())
        for (int round = 0; round < 25; ++round) {
            const int dims = round % 3 == 0 ? draw(random, 1, 100) : draw(random, 1, 5) * 32;
            const int rows = draw(random, 1, round < 20 ? 60 : 300);
            const int lane = draw(random, 0, 15);
            const int queries = draw(random, 1, 16);
            const RowMatrix q = random_matrix(random, queries, dims, 3.0);
            const auto unit = static_cast<std::ptrdiff_t>(keys.codec->unit_bytes(dims));
            // Not a byte more than the units: what reads beyond them is found.
            std::vector<std::byte> bytes(static_cast<std::size_t>(unit) *
                                         keys.codec->units(lane + rows));
            RowMatrix wanted(queries, rows);
            for (int j = 0; j < rows; ++j) {
                const OneRow row = random_row(
                    random, keys, dims, bytes.data() + (lane + j) / 16 * unit, (lane + j) % 16);
                for (int i = 0; i < queries; ++i)
                    wanted(i, j) =
                        defined_score(bytes_of(q.data() + i * dims, dims), row, dims, keys.zero);
            }
            for (const kernels::Table* table : kernels::available()) {
                const kernels::Override use(*table);
                INFO(keys.codec->name << ", " << table->name << ", " << dims << " dims, " << rows
                                      << " rows, " << queries << " queries");
                const std::vector<QueryBlock> blocks = quantised(q);
                RowMatrix s(queries, rows);
                const int cut = draw(random, 0, rows);
                for (auto [from, to] : {std::pair{0, cut}, std::pair{cut, rows}}) {
                    if (from == to) continue;
                    const int at = lane + from;
                    keys.codec->quantised_scores(
                        {bytes.data() + at / 16 * unit, unit, at % 16, to - from, 0, from}, dims,
                        blocks.data(), queries, s.data() + from, rows);
                }
                REQUIRE(same_bits(s, wanted));
            }
        }
}

TEST_CASE("scores in integers are near exact ones", "[fast]") {
    Random random(72);
    for (const IntegerKeys& keys : integer_keys())
        for (int round = 0; round < 10; ++round) {
            const int dims = draw(random, 1, 160);
            const int rows = 40;
            const RowMatrix x = random_matrix(random, rows, dims);
            const RowMatrix q = random_matrix(random, 1, dims);
            const auto unit = static_cast<std::ptrdiff_t>(keys.codec->unit_bytes(dims));
            std::vector<std::byte> bytes(static_cast<std::size_t>(unit) * keys.codec->units(rows));
            const Rows all{bytes.data(), unit, 0, rows, 0, 0};
            keys.codec->encode(x.data(), dims, dims, all);
            RowMatrix k(rows, dims);
            keys.codec->decode(all, dims, k.data(), dims);
            RowMatrix s(1, rows);
            keys.codec->quantised_scores(all, dims, quantised(q).data(), 1, s.data(), rows);
            const std::vector<ByteBlock> blocks = bytes_of(q.data(), dims);
            for (int j = 0; j < rows; ++j) {
                double exact = 0.0;
                double bound = 1e-5;
                for (int d = 0; d < dims; ++d) {
                    exact += static_cast<double>(k(j, d)) * static_cast<double>(q(0, d));
                    // Half a step of the query a dim, and the rounding of floats.
                    bound += static_cast<double>(std::abs(k(j, d))) *
                             (0.5001 * static_cast<double>(
                                           blocks[static_cast<std::size_t>(d / 32)].scale) +
                              1e-5);
                }
                CHECK(std::abs(static_cast<double>(s(0, j)) - exact) <= bound);
            }
        }
}

// Keys, queries and weights of bf16: each number is its definition, a chain of flushed fma.
TEST_CASE("products of rows of bf16 with rounded numbers are their definition, by bits", "[fast]") {
    Random random(79);
    using kernels::flushed_fma;
    using kernels::rounded_activation;
    for (int round = 0; round < 60; ++round) {
        const int dims = draw(random, 1, 150);
        const int count = draw(random, 1, 200);
        const int lane = draw(random, 0, 15);
        const int queries = draw(random, 1, 16);
        // Some numbers so small that their products are denormal.
        const double size = round % 4 == 0 ? 1e-20 : 1.0;
        RowMatrix x = random_matrix(random, count, dims, size);
        const RowMatrix q = random_matrix(random, queries, dims, size);
        RowMatrix p = random_matrix(random, queries, count, size);
        if (round % 5 == 0) p.col(count - 1).setZero();
        std::vector<std::byte> tiles(BF16::keys().unit_bytes(dims) *
                                     BF16::keys().units(lane + count));
        std::vector<std::byte> rows(BF16::values().unit_bytes(dims) *
                                    static_cast<std::size_t>(count));
        const Rows keys{tiles.data(),
                        static_cast<std::ptrdiff_t>(BF16::keys().unit_bytes(dims)),
                        lane,
                        count,
                        0,
                        0};
        const Rows values{rows.data(), static_cast<std::ptrdiff_t>(BF16::values().unit_bytes(dims)),
                          0,           count,
                          0,           0};
        BF16::keys().encode(x.data(), dims, dims, keys);
        BF16::values().encode(x.data(), dims, dims, values);
        BF16::values().decode(values, dims, x.data(), dims);
        const RowMatrix before = random_matrix(random, queries, dims, size);
        RowMatrix scores(queries, count);
        RowMatrix sums = before;
        for (int i = 0; i < queries; ++i) {
            for (int j = 0; j < count; ++j) {
                float sum = 0.0F;
                for (int d = 0; d < dims; ++d)
                    sum = flushed_fma(x(j, d), rounded_activation(q(i, d)), sum);
                scores(i, j) = sum;
            }
            for (int d = 0; d < dims; ++d)
                for (int j = 0; j < count; ++j)
                    sums(i, d) = flushed_fma(x(j, d), rounded_activation(p(i, j)), sums(i, d));
        }
        for (const kernels::Table* table : kernels::available()) {
            const kernels::Override use(*table);
            INFO(table->name << ", " << dims << " dims, " << count << " rows, " << queries
                             << " queries, round " << round);
            std::vector<float> rounded(static_cast<std::size_t>(queries * dims));
            for (int i = 0; i < queries; ++i)
                table->pack_rounded(q.data() + i * dims, dims, 1, dims, 1, 0,
                                    rounded.data() + i * dims);
            RowMatrix s(queries, count);
            BF16::keys().rounded_scores(keys, dims, rounded.data(), dims, queries, s.data(), count);
            REQUIRE(same_bits(s, scores));
            RowMatrix o = before;
            BF16::values().rounded_weigh(values, dims, p.data(), count, queries, o.data(), dims);
            REQUIRE(same_bits(o, sums));
        }
    }
}

TEST_CASE("a query that is no number scores NaN, one of zeros scores zero", "[fast]") {
    Random random(73);
    const Codec& codec = Q8_0::keys();
    const RowMatrix x = random_matrix(random, 16, 64);
    std::vector<std::byte> bytes(codec.unit_bytes(64));
    const Rows all{bytes.data(), static_cast<std::ptrdiff_t>(bytes.size()), 0, 16, 0, 0};
    codec.encode(x.data(), 64, 64, all);
    RowMatrix q = RowMatrix::Zero(3, 64);
    q(1, 40) = std::numeric_limits<float>::quiet_NaN();
    q(2, 3) = std::numeric_limits<float>::infinity();
    RowMatrix s(3, 16);
    codec.quantised_scores(all, 64, quantised(q).data(), 3, s.data(), 16);
    CHECK(s.row(0) == RowMatrix::Zero(1, 16));
    for (int j = 0; j < 16; ++j) {
        CHECK(std::isnan(s(1, j)));
        CHECK(std::isnan(s(2, j)));
    }
}

TEST_CASE("fast attention has the same bits in every cut, store, crew and machine", "[fast]") {
    Random random(74);
    const std::pair<const char*, const char*> stores[] = {
        {"contiguous:q8_0", "paged=16:q8_0"},
        {"contiguous:q4_0+rot", "paged=32:q4_0+rot"},
        {"contiguous:int8", "contiguous,disk=64:int8"},
        {"contiguous:int4:window=300,sinks=4", "paged=16:int4:window=300,sinks=4"},
        {"tiered=100:q8_0", "tiered=100:q8_0"},
        {"contiguous:kivi4", "paged=32:kivi4"},
        {"contiguous:k=f32,v=q4_0", "paged=17:k=f32,v=q4_0"},
        {"contiguous:bf16", "paged=16:bf16"},
        {"contiguous:k=f16,v=bf16", "paged=32:k=f16,v=bf16"},
        {"contiguous:k=q8_0,v=f16", "contiguous,disk=64:k=q8_0,v=f16"}};
    ThreadPool pool(3);
    int others = 0;
    for (int round = 0; round < 30; ++round) {
        Problem p = random_problem(random, 700);
        const auto& [first, second] = stores[round % 10];
        if (std::string_view(first).find("+rot") != std::string_view::npos)
            p.layout.key_dim = p.layout.value_dim = 64;
        if (std::string_view(first).find("window") != std::string_view::npos) {
            p.parameters.mask = Mask::causal();
            p.parameters.alibi = {};
        }
        const auto rows = p.q.rows();
        p.q = random_matrix(random, rows, p.layout.heads * p.layout.key_dim);
        p.k = random_matrix(random, rows, p.layout.kv_heads * p.layout.key_dim);
        p.v = random_matrix(random, rows, p.layout.kv_heads * p.layout.value_dim);
        INFO(first << ", " << second << ", round " << round << ", " << rows << " rows");
        const int capacity = static_cast<int>(rows) + 1;
        Context serial;
        serial.attention = Compute::fast;
        const RowMatrix whole =
            run(p, CacheSpec::parse(first).make(p.layout, capacity), serial, nullptr);
        for (const kernels::Table* table : kernels::available()) {
            const kernels::Override use(*table);
            Context context(pool);
            context.attention = Compute::fast;
            INFO(table->name);
            REQUIRE(same_bits(whole, run(p, CacheSpec::parse(second).make(p.layout, capacity),
                                         context, &random)));
        }
        // And it is another mode: the accurate one has other bits, near these.
        Context accurate(pool);
        const RowMatrix exact =
            run(p, CacheSpec::parse(first).make(p.layout, capacity), accurate, nullptr);
        others += same_bits(whole, exact) ? 0 : 1;
        CHECK((whole - exact).cwiseAbs().maxCoeff() < 0.2F);
    }
    CHECK(others > 10);
}

TEST_CASE("fast attention changes nothing where rows are no integers", "[fast]") {
    Random random(75);
    for (const char* spec : {"contiguous:f32", "contiguous:f16", "paged=32:kivi4",
                             "contiguous:q5_0", "contiguous:fp8_e4m3", "contiguous:iq4_nl"}) {
        const Problem p = random_problem(random, 400);
        Context accurate;
        Context fast;
        fast.attention = Compute::fast;
        const int capacity = static_cast<int>(p.q.rows()) + 1;
        INFO(spec);
        REQUIRE(
            same_bits(run(p, CacheSpec::parse(spec).make(p.layout, capacity), accurate, nullptr),
                      run(p, CacheSpec::parse(spec).make(p.layout, capacity), fast, nullptr)));
    }
}

TEST_CASE("a batch in the fast mode gives each what it gets alone", "[fast][batch]") {
    Random random(76);
    ThreadPool pool(2);
    for (const char* spec : {"paged=16:q8_0", "contiguous:q4_0"}) {
        const HeadLayout layout{6, 2, 64, 64};
        AnyCache root = CacheSpec::parse(spec).make(layout, 1200);
        const auto fill = [&](AnyCache& cache, int rows) {
            const RowMatrix k = random_matrix(random, rows, 128);
            const RowMatrix v = random_matrix(random, rows, 128);
            cache.stage({k.data(), 128, rows}, {v.data(), 128, rows});
            cache.commit(rows);
        };
        fill(root, 600);
        std::vector<AnyCache> caches;
        for (int i = 0; i < 5; ++i) {
            caches.push_back(root.fork());
            fill(caches.back(), draw(random, 1, 300));
        }
        const RowMatrix q = random_matrix(random, 5, 6 * 64);
        RowMatrix alone(5, 6 * 64);
        RowMatrix together(5, 6 * 64);
        Context context(pool);
        context.attention = Compute::fast;
        std::vector<BatchQuery> batch;
        for (int i = 0; i < 5; ++i) {
            AnyCache& cache = caches[static_cast<std::size_t>(i)];
            const int position = cache.length() - 1;
            attend(cache, {q.data() + i * 384, 384, 1, position}, {.scale = 0.125F}, 6,
                   alone.data() + i * 384, 384, context);
            batch.push_back({cache, q.data() + i * 384, position, together.data() + i * 384});
        }
        attend_batch(batch, {.scale = 0.125F}, 6, context);
        INFO(spec);
        REQUIRE(same_bits(alone, together));
    }
}
