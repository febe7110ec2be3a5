// A cache whose values are the leading numbers of its keys: attention over it against the
// definition in double, and against a plain cache of the same rows, by bits.
#include <cairn/attention/reference.hpp>
#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/codec/latent.hpp>

#include "support.hpp"
using namespace support;

namespace {

// One KV head of 40 numbers, of which the first 24 are the values: 6 query heads.
const HeadLayout latent{6, 1, 40, 24};

RowMatrix attended(AnyCache& cache, const RowMatrix& q, const RowMatrix& k, int piece) {
    RowMatrix out(q.rows(), latent.heads * latent.value_dim);
    const RowMatrix v = k.leftCols(latent.value_dim);
    Context context;
    AttentionParameters parameters;
    parameters.scale = 0.2F;
    for (Eigen::Index at = 0; at < q.rows(); at += piece) {
        const Eigen::Index n = std::min<Eigen::Index>(piece, q.rows() - at);
        prefill(q.middleRows(at, n), k.middleRows(at, n), v.middleRows(at, n), cache, parameters,
                out.middleRows(at, n), context);
    }
    return out;
}

// Rows of f32 that cannot be moved, of a format that needs three bytes a number.
class Stuck final : public DecodedCodec {
  public:
    Stuck() : DecodedCodec({.name = "stuck", .movable = false}) {}
    std::size_t unit_bytes(int dims) const override { return static_cast<std::size_t>(dims) * 4; }
    std::size_t row_bytes(int dims) const override { return static_cast<std::size_t>(dims) * 3; }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch scratch) const override {
        F32::keys().encode(x, stride, dims, to, scratch);
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch scratch) const override {
        F32::keys().decode(from, dims, x, stride, scratch);
    }
};
struct InStuck {
    StreamPlan plan(const StreamShape&) const { return std::make_shared<const Stuck>(); }
};

template <class S, class K = KeepAll>
void check(const RowMatrix& q, const RowMatrix& k, const K& keep = {}) {
    AnyCache whole = KvCache<S, K>(latent, 600, {}, keep);
    const RowMatrix wanted = attended(whole, q, k, 600);
    for (const int piece : {1, 37, 300}) {
        AnyCache cut = KvCache<S, K>(latent, 600, {}, keep);
        REQUIRE(same_bits(attended(cut, q, k, piece), wanted));
        REQUIRE(cut.payload_bytes(400) == whole.payload_bytes(400));
    }
    CHECK(wanted.allFinite());
}

}  // namespace

TEST_CASE("latent rows: values are the leading numbers of the keys", "[latent]") {
    Random random(21);
    const RowMatrix q = random_matrix(random, 400, latent.heads * latent.key_dim);
    const RowMatrix k = random_matrix(random, 400, latent.key_dim);
    AnyCache cache = KvCache<Contiguous<Latent<F32>>>(latent, 600);
    const RowMatrix out = attended(cache, q, k, 400);
    // The bits of a plain cache that stores the values apart, in two thirds of its bytes.
    AnyCache plain = KvCache<Contiguous<F32>>(latent, 600);
    CHECK(same_bits(out, attended(plain, q, k, 400)));
    CHECK(cache.payload_bytes(400) == std::size_t{400} * 40 * 4);
    CHECK(plain.payload_bytes(400) == std::size_t{400} * 64 * 4);
    // The definition, in double.
    for (const int row : {0, 17, 399})
        for (int h = 0; h < latent.heads; ++h) {
            Eigen::VectorXd sum = Eigen::VectorXd::Zero(latent.value_dim);
            double total = 0.0;
            for (int j = 0; j <= row; ++j) {
                const double p = std::exp(
                    0.2 *
                    q.row(row).segment(h * 40, 40).cast<double>().dot(k.row(j).cast<double>()));
                total += p;
                sum += p * k.row(j).head(24).cast<double>().transpose();
            }
            CHECK((out.row(row).segment(h * 24, 24).transpose().cast<double>() - sum / total)
                      .cwiseAbs()
                      .maxCoeff() < 1e-5);
        }
    check<Contiguous<Latent<F32>>>(q, k);
    check<Paged<Latent<F16>>>(q, k);
    check<Mapped<Latent<Q8_0>>>(q, k);
    check<Paged<Latent<Q4_0>>, WindowSinks<50, 3>>(q, k);
    check<Spilled<Latent<F16>>>(q, k);
    // A keep by score moves latent rows like all others; a fork and a truncation as ever.
    AnyCache scored = KvCache<Paged<Latent<F16>>, SnapKv<60>>(latent, 600);
    scored.expect_prompt(300);
    attended(scored, q, k, 100);
    CHECK(scored.held() == 160);
    AnyCache fork = cache.fork();
    cache.truncate(100);
    CHECK(fork.committed() == 400);
    CHECK(cache.committed() == 100);
    // What cannot work is said.
    CHECK(code_of([] { KvCache<Contiguous<Latent<F32>>>({4, 1, 16, 24}, 10); }) ==
          ErrorCode::invalid_argument);
}

TEST_CASE("latent rows are what the rows inside are", "[latent]") {
    const AnyCache cache(latent, 100, Contiguous<Latent<InStuck>>(), KeepAll());
    CHECK(cache.payload_bytes(10) == std::size_t{10} * 40 * 3);
    CHECK(code_of([] { AnyCache(latent, 100, Contiguous<Latent<InStuck>>(), SnapKv<20>()); }) ==
          ErrorCode::invalid_argument);
    CHECK(AnyCodec(Latent<BareKeys<F16>>()).spec() == "f16+bare+latent");
}

TEST_CASE("values that are read from keys need not be given", "[latent]") {
    Random random(22);
    const RowMatrix k = random_matrix(random, 20, latent.key_dim);
    const auto last_row = [](const AnyCache& cache) {
        RunList keys;
        RunList values;
        cache.runs(0, keys, values);
        std::vector<float> row(40);
        keys[0].codec->decode(keys[0].rows(19, 20), 40, row.data(), 40);
        return row;
    };
    const auto without = [&](AnyCache given, AnyCache cache) {
        given.append(token_rows(k), token_rows(k));
        cache.append(token_rows(k), {});
        CHECK(cache.committed() == 20);
        CHECK(last_row(cache) == last_row(given));
        CHECK(code_of([&] { cache.append({nullptr, 40, 1}, {}); }) == ErrorCode::invalid_argument);
    };
    using LatentFlat = KvCache<Contiguous<Latent<F32>>>;
    using LatentPages = KvCache<Paged<Latent<F32>>>;
    using LatentScored = KvCache<Contiguous<Latent<F32>>, H2O<30>>;
    without(LatentFlat(latent, 40), LatentFlat(latent, 40));
    without(LatentPages(latent, 40), LatentPages(latent, 40));
    without(LatentScored(latent, 40), LatentScored(latent, 40));
    AnyCache apart = KvCache<Contiguous<F32>>(latent, 40);
    CHECK(code_of([&] { apart.append(token_rows(k), {}); }) == ErrorCode::shape_mismatch);
    CHECK(code_of([&] { apart.append(token_rows(k), {nullptr, 24, 20}); }) ==
          ErrorCode::invalid_argument);
}
