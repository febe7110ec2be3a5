#include "support.hpp"
using namespace support;

namespace {

struct Problem {
    HeadLayout layout;
    AttentionParameters parameters;
    std::vector<float> slopes;
    RowMatrix q, k, v;
};
Problem random_problem(Random& random, int most_rows) {
    Problem p;
    const int kv = draw(random, 1, 4);
    p.layout = {kv * draw(random, 1, 4), kv, draw(random, 1, 100), draw(random, 1, 100)};
    const int rows = draw(random, 1, most_rows);
    p.q = random_matrix(random, rows, p.layout.heads * p.layout.key_dim);
    p.k = random_matrix(random, rows, kv * p.layout.key_dim);
    p.v = random_matrix(random, rows, kv * p.layout.value_dim);
    p.parameters.scale = 1.0F / std::sqrt(static_cast<float>(p.layout.key_dim));
    if (draw(random, 0, 2) == 0) p.parameters.mask = Mask::sliding_window(draw(random, 1, 300));
    if (draw(random, 0, 2) == 0) p.parameters.soft_cap = 4.0F;
    if (draw(random, 0, 2) == 0) {
        for (int h = 0; h < p.layout.heads; ++h)
            p.slopes.push_back(0.5F / static_cast<float>(h + 1));
        p.parameters.alibi = p.slopes;
    }
    return p;
}
template <class C>
RowMatrix run(const Problem& p, C&& cache, Context& context, Random* cuts) {
    RowMatrix out(p.q.rows(), p.layout.heads * p.layout.value_dim);
    for (Eigen::Index at = 0; at < p.q.rows();) {
        const Eigen::Index n = cuts == nullptr
                                   ? p.q.rows()
                                   : std::min<Eigen::Index>(p.q.rows() - at, draw(*cuts, 1, 50));
        prefill(p.q.middleRows(at, n), p.k.middleRows(at, n), p.v.middleRows(at, n), cache,
                p.parameters, out.middleRows(at, n), context);
        at += n;
    }
    return out;
}

}  // namespace

TEST_CASE("attention is the definition, for random shapes, masks and biases", "[engine]") {
    Random random(1);
    Context context;
    for (int round = 0; round < 60; ++round) {
        const Problem p = random_problem(random, 600);
        const RowMatrix got = run(p, KvCache<>(p.layout, 600), context, &random);
        const auto wanted = reference_attention<double>(p.q.cast<double>(), p.k.cast<double>(),
                                                        p.v.cast<double>(), p.layout, p.parameters);
        REQUIRE((got.cast<double>() - wanted).cwiseAbs().maxCoeff() < 1e-5);
    }
}

TEST_CASE("huge scores stay stable", "[engine]") {
    Random random(2);
    Context context;
    Problem p = random_problem(random, 300);
    p.parameters = {};
    p.q *= 1e4F;
    const RowMatrix got = run(p, KvCache<>(p.layout, 300), context, nullptr);
    CHECK(got.allFinite());
    CHECK(got.cwiseAbs().maxCoeff() <= p.v.cwiseAbs().maxCoeff() * 1.0001F);
}

TEST_CASE("q shorter than k stands at the end", "[prefill]") {
    Random random(3);
    Context context;
    Problem p = random_problem(random, 400);
    p.parameters = {.scale = 0.2F};
    KvCache<> whole(p.layout, 400), late(p.layout, 400);
    const RowMatrix all = run(p, whole, context, nullptr);
    RowMatrix last(1, all.cols());
    prefill(p.q.bottomRows(1), p.k, p.v, late, p.parameters, last, context);
    CHECK(same_bits(last, all.bottomRows(1)));
}

TEST_CASE("GQA is MHA with repeated heads, bit for bit", "[engine]") {
    Random random(4);
    Context context;
    const HeadLayout grouped{6, 2, 24, 16};
    const HeadLayout full{6, 6, 24, 16};
    const RowMatrix q = random_matrix(random, 300, 144), k = random_matrix(random, 300, 48),
                    v = random_matrix(random, 300, 32);
    RowMatrix kk(300, 144), vv(300, 96);
    for (int h = 0; h < 6; ++h) {
        kk.middleCols(h * 24, 24) = k.middleCols(h / 3 * 24, 24);
        vv.middleCols(h * 16, 16) = v.middleCols(h / 3 * 16, 16);
    }
    KvCache<Contiguous<F16>> a(grouped, 300), b(full, 300);
    RowMatrix x(300, 96), y(300, 96);
    prefill(q, k, v, a, {.scale = 0.2F}, x, context);
    prefill(q, kk, vv, b, {.scale = 0.2F}, y, context);
    CHECK(same_bits(x, y));
    CHECK(b.payload_bytes(300) == 3 * a.payload_bytes(300));
}

TEST_CASE("unseen rows are never touched: NaN there changes nothing", "[engine]") {
    Random random(5);
    Context context;
    Problem p = random_problem(random, 500);
    p.parameters = {.scale = 0.1F, .mask = Mask::sliding_window(40)};
    p.q = random_matrix(random, 500, p.q.cols());
    p.k = random_matrix(random, 500, p.k.cols());
    p.v = random_matrix(random, 500, p.v.cols());
    const RowMatrix clean = run(p, KvCache<>(p.layout, 500), context, nullptr);
    Problem dirty = p;
    dirty.k.row(300).setConstant(std::nanf(""));
    dirty.v.row(300).setConstant(std::nanf(""));
    const RowMatrix got = run(dirty, KvCache<>(p.layout, 500), context, &random);
    CHECK(same_bits(got.topRows(300), clean.topRows(300)));
    CHECK(same_bits(got.bottomRows(160), clean.bottomRows(160)));  // 340 sees 301..340
    CHECK(std::isnan(got(300, 0)));
    CHECK(std::isnan(got(339, 0)));
}

TEST_CASE("a row that sees only -inf gives zeros", "[engine]") {
    Context context;
    const HeadLayout one{1, 1, 2, 2};
    KvCache<> cache(one, 4);
    RowMatrix q(1, 2), k(1, 2), v(1, 2), out(1, 2);
    q << 1, 0;
    k << -std::numeric_limits<float>::infinity(), 0;
    v << 3, 4;
    prefill(q, k, v, cache, {}, out, context);
    CHECK(out(0, 0) == 0.0F);
    CHECK(out(0, 1) == 0.0F);
    const auto reference = reference_attention<float>(q, k, v, one, {});
    CHECK(same_bits(out, reference));
}

TEST_CASE("attention refuses what does not fit and changes nothing", "[prefill]") {
    Random random(6);
    Context context;
    const HeadLayout layout{2, 1, 8, 8};
    KvCache<> cache(layout, 10);
    const RowMatrix q = random_matrix(random, 3, 16), k = random_matrix(random, 3, 8),
                    v = random_matrix(random, 3, 8);
    RowMatrix out(3, 16);
    const AttentionParameters plain;
    CHECK(code_of([&] { prefill(k, k, v, cache, plain, out, context); }) ==
          ErrorCode::shape_mismatch);
    CHECK(code_of([&] { prefill(q, k, v.topRows(2), cache, plain, out, context); }) ==
          ErrorCode::shape_mismatch);
    CHECK(code_of([&] { prefill(q, k.topRows(2), v.topRows(2), cache, plain, out, context); }) ==
          ErrorCode::shape_mismatch);
    RowMatrix shared = q;
    CHECK(code_of([&] { prefill(shared, k, v, cache, plain, shared, context); }) ==
          ErrorCode::invalid_argument);
    const std::vector<float> slopes(3);
    CHECK(code_of([&] { prefill(q, k, v, cache, {.alibi = slopes}, out, context); }) ==
          ErrorCode::shape_mismatch);
    CHECK(cache.length() == 0);
    CHECK(code_of([&] {
              attend(cache, {q.data(), 16, 3, 0}, plain, 2, out.data(), 16, context);
          }) == ErrorCode::bad_state);
    CHECK(code_of([&] { (void)Mask::sliding_window(0); }) == ErrorCode::invalid_argument);
    cache.stage(token_rows(k), token_rows(v));
    CHECK(code_of([&] { prefill(q, k, v, cache, plain, out, context); }) == ErrorCode::bad_state);
}

TEST_CASE("memory of attention does not grow with the context", "[engine]") {
    Random random(7);
    const HeadLayout layout{4, 2, 16, 16};
    ThreadPool pool(2);
    const auto bytes_after = [&](int length) {
        Context context(pool);
        KvCache<> cache(layout, length + 1);
        const RowMatrix k = random_matrix(random, length, 32);
        cache.append(token_rows(k), token_rows(k));
        const RowMatrix q = random_matrix(random, 1, 64);
        RowMatrix out(1, 64);
        prefill(q, k.topRows(1), k.topRows(1), cache, {}, out, context);
        return context.workspace().bytes();
    };
    CHECK(bytes_after(2000) == bytes_after(60000));
}
