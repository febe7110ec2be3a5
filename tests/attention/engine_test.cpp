#include "attention/attention_support.hpp"
using namespace support;

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
    KvCache<> cache(p.layout, 500);
    cache.append(token_rows(dirty.k), token_rows(dirty.v));
    RowMatrix got(500, clean.cols());
    for (int at = 0; at < 500;) {
        const int n = std::min(500 - at, draw(random, 1, 50));
        attend(cache, {dirty.q.row(at).data(), dirty.q.cols(), n, at}, p.parameters, p.layout.heads,
               got.row(at).data(), got.cols(), context);
        at += n;
    }
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
    cache.append(token_rows(k), token_rows(v));
    attend(cache, {q.data(), 2, 1, 0}, {}, 1, out.data(), 2, context);
    CHECK(out(0, 0) == 0.0F);
    CHECK(out(0, 1) == 0.0F);
    const auto reference = reference_attention<float>(q, k, v, one, {});
    CHECK(same_bits(out, reference));
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

TEST_CASE("positions at the end of all numbers are refused, not added up", "[engine]") {
    Context context;
    KvCache<> cache({1, 1, 2, 2}, 4);
    RowMatrix q(1, 2), k(1, 2), out(1, 2);
    q << 1, 0;
    k << 1, 2;
    cache.append(token_rows(k), token_rows(k));
    constexpr int last = std::numeric_limits<int>::max();
    const auto at = [&](int rows, int position) {
        return code_of(
            [&] { attend(cache, {q.data(), 2, rows, position}, {}, 1, out.data(), 2, context); });
    };
    CHECK(at(1, last) == ErrorCode::bad_state);
    CHECK(at(last, last) == ErrorCode::bad_state);
    CHECK(at(last, 1) == ErrorCode::bad_state);
    CHECK(at(1, -1) == ErrorCode::invalid_argument);
    CHECK(at(-1, 0) == ErrorCode::invalid_argument);
    const BatchQuery query{cache, q.data(), last, out.data()};
    CHECK(code_of([&] { attend_batch({&query, 1}, {}, 1, context); }) == ErrorCode::bad_state);
}

namespace {

// A cache that hands everything on; those below watch what attention shows it.
class HandedOn {
  public:
    explicit HandedOn(AnyCache rows) : rows_(std::move(rows)) {}
    void stage(TokenRows k, TokenRows v) { rows_.stage(k, v); }
    void commit(int rows) noexcept { rows_.commit(rows); }
    void rollback() noexcept { commit(0); }
    void clear() { rows_.clear(); }
    void runs(int head, RunList& keys, RunList& values) const { rows_.runs(head, keys, values); }
    int most_runs() const { return rows_.most_runs(); }
    int committed() const { return rows_.committed(); }
    int length() const { return rows_.length(); }
    int capacity() const { return rows_.capacity(); }
    int max_rows() const { return rows_.max_rows(); }
    HeadLayout layout() const { return rows_.layout(); }
    std::size_t bytes() const { return rows_.bytes(); }
    std::size_t payload_bytes(int rows) const { return rows_.payload_bytes(rows); }
    bool wants_queries() const { return true; }

  private:
    AnyCache rows_;
};
// Remembers the queries that it was shown before they attend.
class ShownQueries : public HandedOn {
  public:
    explicit ShownQueries(const HeadLayout& heads) : HandedOn(KvCache<>(heads, 8)) {}
    void on_queries(int kv_head, const float* q, int count, int) {
        shown.resize(static_cast<std::size_t>(layout().kv_heads));
        shown[static_cast<std::size_t>(kv_head)].assign(q, q + count * layout().key_dim);
    }
    std::vector<std::vector<float>> shown;
};
// Adds up the probabilities that it was shown.
class HeardScores : public HandedOn {
  public:
    using HandedOn::HandedOn;
    void on_queries(int, const float*, int, int) {}
    bool wants_scores(int) const { return true; }
    void on_scores(int kv_head, const float* p, int begin, int end) {
        for (int j = begin; j < end; ++j) heard(kv_head, j) += p[j - begin];
    }
    RowMatrix heard = RowMatrix::Zero(2, 40);
};

}  // namespace

TEST_CASE("a group of any width is shown whole", "[engine]") {
    Random random(77);
    for (const int group : {1, 16, 24, 71}) {
        const HeadLayout wide{2 * group, 2, 8, 8};
        const RowMatrix q = random_matrix(random, 1, wide.heads * wide.key_dim);
        const RowMatrix k = random_matrix(random, 1, wide.kv_heads * wide.key_dim);
        ShownQueries cache(wide);
        RowMatrix out(1, wide.heads * wide.value_dim);
        Context context;
        prefill(q, k, k, cache, {}, out, context);
        REQUIRE(cache.shown.size() == 2);
        const std::size_t size = static_cast<std::size_t>(group * wide.key_dim);
        for (int h = 0; h < 2; ++h) {
            INFO(group << " heads, KV head " << h);
            CHECK(same_bits(cache.shown[static_cast<std::size_t>(h)],
                            std::span(q.data() + static_cast<std::size_t>(h) * size, size)));
        }
    }
}

TEST_CASE("scores are of all rows, however many intervals they come in", "[engine]") {
    Random random(78);
    const HeadLayout heads{4, 2, 16, 16};
    const RowMatrix q = random_matrix(random, 40, 64);
    const RowMatrix k = random_matrix(random, 40, 32);
    const auto heard = [&](AnyKeep keep, Executor& executor) {
        HeardScores cache(AnyCache(heads, 40, Contiguous<F32>{}, std::move(keep)));
        Context context(executor);
        for (int at = 0; at < 40; at += 10) {
            RowMatrix out(10, 64);
            prefill(q.middleRows(at, 10), k.middleRows(at, 10), k.middleRows(at, 10), cache, {},
                    out, context);
        }
        return cache.heard;
    };
    ThreadPool two(2);
    const RowMatrix whole = heard(KeepAll{}, Serial::instance());
    CHECK(whole.row(0).sum() == Approx(80.0));
    CHECK(same_bits(heard(SplinterKeep{}, Serial::instance()), whole));
    CHECK(same_bits(heard(SplinterKeep{}, two), whole));
}

TEST_CASE("a prompt over encoded rows has the bits of its rows in any cut", "[engine]") {
    // Many queries read rows that were unpacked for them, few read them as they are.
    Random random(76);
    ThreadPool pool(2);
    for (const char* spec :
         {"contiguous:q8_0", "paged=16:q5_1", "contiguous:q4_0+rot", "tiered=100:int8",
          "contiguous:int4:window=100,sinks=4", "paged=32:kivi4", "contiguous:kivi2",
          "contiguous,disk=64:fp8_e4m3", "paged=17:k=f32,v=q4_0", "contiguous:k=iq4_nl,v=f16"})
        for (int round = 0; round < 2; ++round) {
            Problem p = random_problem(random, 300);
            p.parameters.alibi = {};
            const auto rows = p.q.rows();
            if (std::string_view(spec).find("+rot") != std::string_view::npos)
                p.layout.key_dim = p.layout.value_dim = 64;
            if (std::string_view(spec).find("window") != std::string_view::npos)
                p.parameters.mask = Mask::causal();
            p.q = random_matrix(random, rows, p.layout.heads * p.layout.key_dim);
            p.k = random_matrix(random, rows, p.layout.kv_heads * p.layout.key_dim);
            p.v = random_matrix(random, rows, p.layout.kv_heads * p.layout.value_dim);
            INFO(spec << ", " << rows << " rows");
            const auto cache = [&] {
                return CacheSpec::parse(spec).make(p.layout, static_cast<int>(rows) + 1);
            };
            Context serial;
            const RowMatrix whole = run(p, cache(), serial, nullptr);
            for (const kernels::Table* table : kernels::available()) {
                const kernels::Override use(*table);
                Context context(pool);
                INFO(table->name);
                REQUIRE(same_bits(whole, run(p, cache(), context, round == 0 ? &random : nullptr)));
            }
        }
}
