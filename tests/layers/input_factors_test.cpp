// Projections in two steps and caches of what is between them: the products are those of the
// weights, and cuts, branches and files change no bit.
#include <cairn/models/audit.hpp>

#include "cache/script_support.hpp"
#include "layers/layers_support.hpp"
#include "session_support.hpp"
using namespace support;

namespace {

// A basis from outside: the other way round, and as good.
void factor_backwards(const float* w, int out, int in, float* to, float* from) {
    internal::factor_by_svd(w, out, in, to, from);
    for (int r = 0; r < out / 2; ++r)
        std::swap_ranges(to + r * in, to + (r + 1) * in, to + (out - 1 - r) * in);
    for (int r = 0; r < out; ++r) std::reverse(from + r * out, from + (r + 1) * out);
}
struct BackwardsFactored {
    StreamPlan plan(const StreamShape& shape) const {
        StreamPlan plan = Factored<F32>{}.plan(shape);
        plan.factored = &factor_backwards;
        return plan;
    }
};

}  // namespace

TEST_CASE("weights are the product of their factors, whose rows are orthonormal",
          "[input_factors]") {
    Random random(51);
    for (const auto& [out, in, rank] :
         {std::array{24, 64, 24}, {24, 24, 24}, {40, 24, 24}, {24, 64, 5}, {1, 7, 1}, {2, 2, 1}}) {
        INFO(out << " x " << in << ", rank " << rank);
        RowMatrix w = random_matrix(random, out, rank) * random_matrix(random, rank, in);
        RowMatrix to(out, in), from(out, out);
        internal::factor_by_svd(w.data(), out, in, to.data(), from.data());
        const Wide product = from.cast<double>() * to.cast<double>();
        CHECK((product - w.cast<double>()).norm() < 1e-6 * double{w.norm()});
        const Wide gram = to.cast<double>() * to.cast<double>().transpose();
        const int there = std::min(rank, std::min(in, out));
        for (int i = 0; i < out; ++i)
            for (int j = 0; j < out; ++j)
                CHECK(std::abs(gram(i, j) - (i == j && i < there ? 1.0 : 0.0)) < 1e-5);
        for (int i = 1; i < out; ++i)  // the largest first
            CHECK(from.col(i).norm() <= from.col(i - 1).norm() * 1.0001F);
    }
    const std::vector<double> bad{std::nan(""), 1.0, 1.0, 2.0};
    CHECK(code_of([&] { internal::SymmetricEigen(bad, 2); }) == ErrorCode::non_finite);
}

TEST_CASE("coordinates in a model: f32 gives logits of f32 to rounding, cuts change no bit",
          "[input_factors]") {
    const TinyLlama model = tiny_llama();
    const std::vector<Token> text(60, 7);
    ThreadPool pool(2);
    AnySession plain = session_of(model, CacheSpec::parse("contiguous:f32"), 200, pool);
    AnySession other = session_of(model, CacheSpec::parse("contiguous:f32+svd"), 200, pool);
    const auto logits = [](auto row) { return std::vector<float>(row.begin(), row.end()); };
    const auto near = [](const std::vector<float>& a, const std::vector<float>& b) {
        float most = 0.0F;
        float largest = 0.0F;
        for (std::size_t i = 0; i < a.size(); ++i) {
            most = std::max(most, std::abs(a[i] - b[i]));
            largest = std::max(largest, std::abs(a[i]));
        }
        return most < 1e-4F * largest;
    };
    CHECK(near(logits(plain.prefill(text)), logits(other.prefill(text))));
    for (int i = 0; i < 10; ++i)
        CHECK(near(logits(plain.decode(Token(i))), logits(other.decode(Token(i)))));
    for (const char* word : {"contiguous:f32+svd", "paged=16:f16+svd", "paged=32:kivi4+svd",
                             "contiguous:xlayers,group=32,recent=32,km=1+svd",
                             "contiguous:k=uniform=4,across=1+svd,v=q8_0+svd"}) {
        INFO(word);
        const CacheSpec spec = CacheSpec::parse(word);
        const auto found =
            verify_equivalence(model, text, [&](int layer, const HeadLayout& layout, int rows) {
                return spec.make(layout, rows, layer);
            });
        CHECK(found.exact);
    }
    const auto audited = [&](const char* word) {
        return audit_cache(model, text, [&](int layer, const HeadLayout& layout, int rows) {
            return CacheSpec::parse(word).make(layout, rows, layer);
        });
    };
    CHECK(audited("f32+svd").logits.kl == 0.0);
    CHECK(audited("q4_0+svd").attention[0].value() > 0.0);
}

TEST_CASE("coordinates live through scripts, and what cannot be is refused", "[input_factors]") {
    Random random(52);
    for (const char* word : {"contiguous:f16+svd", "paged=32:kivi4+svd", "mapped:uniform=3+svd",
                             "contiguous:xlayers,group=32+svd:window=60,sinks=3"}) {
        INFO(word);
        const CacheSpec spec = CacheSpec::parse(word);
        CHECK(CacheSpec::parse(spec.canonical()).canonical() == spec.canonical());
        CHECK(spec.make(uneven_heads, 100).rows_wanted() ==
              RowsWanted{RowKind::input, true, &internal::factor_by_svd});
        lives_through_a_script(spec, uneven_heads, {Step(random, 300)}, random);
    }
    for (const char* wrong : {"k=f16+svd,v=f16", "k=f16,v=f16+svd", "f16+svd+bare", "f16+bare+svd",
                              "f16+svd:h2o=10", "tiered=8:q8_0+svd", "k=f16+svd,v=f16+inputs"})
        CHECK(code_of([&] { (void)CacheSpec::parse(wrong); }) == ErrorCode::usage);
}

TEST_CASE("bases from outside are found whatever other sessions of the model keep",
          "[input_factors]") {
    const std::vector<Token> text(20, 7);
    const auto logits = [&](const TinyLlama& model, const auto& store) {
        using Store = std::remove_cvref_t<decltype(store)>;
        AnySession session(model, 100, Serial::instance(),
                           [&](int layer, const HeadLayout& layout, int rows) {
                               return AnyCache(KvCache<Store>(layout, rows, store, {}, layer));
                           });
        const auto row = session.prefill(text);
        return std::vector<float>(row.begin(), row.end());
    };
    const std::vector<float> alone = logits(tiny_llama(), Contiguous<BackwardsFactored>{});
    const TinyLlama model = tiny_llama();
    const std::vector<float> by_svd = logits(model, Contiguous<Factored<F32>>{});
    CHECK(by_svd != alone);
    CHECK(logits(model, Contiguous<BackwardsFactored>{}) == alone);
    CHECK(logits(model, Contiguous<Factored<F32>>{}) == by_svd);
}
