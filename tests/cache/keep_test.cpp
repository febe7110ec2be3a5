// Keeps: the same rows as twenty lines of reference keep, exact budgets, sinks that stand where an
// oracle that rotates again would put them.
#include <algorithm>
#include <numeric>
#include <set>

#include <cairn/cache/cache_spec.hpp>

#include "cache/cache_support.hpp"
using namespace support;

namespace {

const HeadLayout even_heads{4, 2, 16, 16};

struct Text {
    RowMatrix q, k, v;
    Text(Random& random, int rows)
        : q(random_matrix(random, rows, 64, 1.5)),
          k(random_matrix(random, rows, 32, 1.5)),
          v(random_matrix(random, rows, 32)) {}
};
// Attention of the query of the last row in `seen` over these rows, keys and query rotated at
// `places`.
template <class Rotation>
RowMatrix rotated_anew(const Text& t, const Rotation& rotation, const std::vector<int>& seen,
                       const std::vector<int>& places) {
    const auto n = static_cast<int>(seen.size());
    RowMatrix k(n, 32);
    RowMatrix v(n, 32);
    RowMatrix query = t.q.row(seen.back());
    for (int i = 0; i < n; ++i) {
        const auto s = static_cast<std::size_t>(i);
        k.row(i) = t.k.row(seen[s]);
        v.row(i) = t.v.row(seen[s]);
        for (int h = 0; h < 2; ++h) rotation.rotate(k.row(i).data() + h * 16, places[s]);
    }
    for (int h = 0; h < 4; ++h) rotation.rotate(query.data() + h * 16, places.back());
    return reference_attention<float>(query, k, v, even_heads, {});
}
std::vector<int> places_in_order(const std::vector<int>& seen) {
    std::vector<int> places(seen.size());
    std::iota(places.begin(), places.end(), 0);
    return places;
}
using Scored = AnyCache;

// A scorer as a keep.
struct ByScorer {
    std::shared_ptr<const Scorer> chosen;
    std::shared_ptr<const Scorer> scorer(const HeadLayout&) const { return chosen; }
};
Scored make(std::shared_ptr<const Scorer> scorer, int capacity, int layer = 0) {
    return Scored(even_heads, capacity, Contiguous<F32>(), ByScorer{std::move(scorer)}, layer);
}
std::set<int> kept(const Scored& cache, int head) {
    const std::vector<int> positions = cache.positions(head);
    return {positions.begin(), positions.end()};
}
void feed(Scored& cache, const Text& t, int begin, int end) {
    RowMatrix out(end - begin, 64);
    Context context;
    prefill(t.q.middleRows(begin, end - begin), t.k.middleRows(begin, end - begin),
            t.v.middleRows(begin, end - begin), cache, {}, out, context);
}
// Probabilities of query q of a head over the given positions, in double.
std::vector<double> probabilities(const Text& t, int q, int head, const std::set<int>& rows) {
    std::vector<double> p;
    double sum = 0.0;
    for (const int j : rows) {
        p.push_back(std::exp(t.q.row(q)
                                 .segment(head * 16, 16)
                                 .cast<double>()
                                 .dot(t.k.row(j).segment(head / 2 * 16, 16).cast<double>())));
        sum += p.back();
    }
    for (double& x : p) x /= sum;
    return p;
}
// The `count` best of `from` by worth, ties to the later.
template <class Worth>
std::set<int> best(const std::set<int>& from, int count, Worth worth) {
    std::vector<int> order(from.begin(), from.end());
    std::sort(order.begin(), order.end(),
              [&](int a, int b) { return worth(a) != worth(b) ? worth(a) > worth(b) : a > b; });
    order.resize(static_cast<std::size_t>(std::min<int>(count, static_cast<int>(order.size()))));
    return {order.begin(), order.end()};
}

}  // namespace

TEST_CASE("H2O keeps what a brute-force simulation keeps, step by step", "[keep]") {
    Random random(31);
    const Text t(random, 260);
    Scored cache = make(std::make_shared<HeavyHitters>(30, 12), 260);
    cache.expect_prompt(60);
    std::set<int> held[2];
    std::vector<double> score[2] = {std::vector<double>(260), std::vector<double>(260)};
    for (int at = 0; at < 260;) {
        const int end = at < 60 ? 60 : at + 1;
        feed(cache, t, at, end);
        for (int q = at; q < end; ++q)
            for (int g = 0; g < 2; ++g) {
                held[g].insert(q);
                for (int h = 2 * g; h < 2 * g + 2; ++h) {
                    const auto p = probabilities(t, q, h, held[g]);
                    std::size_t i = 0;
                    for (const int j : held[g]) score[g][static_cast<std::size_t>(j)] += p[i++];
                }
            }
        for (auto g : {0, 1}) {
            if (held[g].size() > 30) {
                std::set<int> stay = best(held[g], 12, [](int j) { return j; });
                std::set<int> rest;
                for (const int j : held[g])
                    if (stay.count(j) == 0) rest.insert(j);
                stay.merge(
                    best(rest, 18, [&](int j) { return score[g][static_cast<std::size_t>(j)]; }));
                held[g] = stay;
            }
            REQUIRE(kept(cache, g) == held[g]);
        }
        at = end;
    }
    CHECK(cache.held() == 30);
    CHECK(cache.committed() == 260);
}

TEST_CASE("SnapKV and NACL keep what the reference keeps at a prompt's end", "[keep]") {
    Random random(32);
    for (int round = 0; round < 5; ++round) {
        const int n = draw(random, 90, 200);
        const Text t(random, n + 8);
        const int budget = draw(random, 40, 60);
        Scored snap = make(std::make_shared<ObservedRows>(budget, 16, 5), n + 8);
        snap.expect_prompt(n);
        feed(snap, t, 0, n);
        Scored nacl = make(std::make_shared<ProxyRows>(budget, 9), n + 8, 2);
        nacl.expect_prompt(n);
        feed(nacl, t, 0, n);
        for (int g = 0; g < 2; ++g) {
            const auto votes = [&](int from) {
                std::vector<double> sum(static_cast<std::size_t>(n));
                for (int q = from; q < n; ++q) {
                    std::set<int> seen;
                    for (int j = 0; j <= q; ++j) seen.insert(j);
                    for (int h = 2 * g; h < 2 * g + 2; ++h) {
                        const auto p = probabilities(t, q, h, seen);
                        for (std::size_t j = 0; j < p.size(); ++j) sum[j] += p[j];
                    }
                }
                return sum;
            };
            const auto observed = votes(n - 16);
            std::set<int> stay;
            std::set<int> rest;
            for (int j = 0; j < n; ++j) (j >= n - 16 ? stay : rest).insert(j);
            stay.merge(best(rest, budget - 16, [&](int j) {
                double most = 0.0;
                for (int i = std::max(0, j - 2); i <= std::min(n - 17, j + 2); ++i)
                    most = std::max(most, observed[static_cast<std::size_t>(i)]);
                return most;
            }));
            // A maximum over neighbours ties often; scores in float and double order ties alike.
            CHECK(kept(snap, g) == stay);

            const auto proxied = votes(n - 4);
            const std::set<int> got = kept(nacl, g);
            CHECK(static_cast<int>(got.size()) == budget);
            const int first = std::min(4, budget / 8);
            const int last = budget / 10;
            std::set<int> middle;
            for (int j = 0; j < n; ++j) {
                if (j < first || j >= n - last)
                    CHECK(got.count(j) == 1);
                else
                    middle.insert(j);
            }
            for (const int j : best(middle, (budget - first - last) * 63 / 100,
                                    [&](int i) { return proxied[static_cast<std::size_t>(i)]; }))
                CHECK(got.count(j) == 1);
        }
        CHECK(snap.held() == budget);
        feed(snap, t, n, n + 8);  // later rows all stay
        CHECK(snap.held() == budget + 8);
    }
}

TEST_CASE("NACL draws by softmax of the scores: frequencies", "[keep]") {
    // Three rows compete for one random place; scores ln 1, ln 2, ln 3.
    constexpr int rounds = 6000;
    int count[3] = {};
    std::vector<int> positions(20);
    std::vector<float> scores(20, -50.0F);
    for (int i = 0; i < 20; ++i) positions[static_cast<std::size_t>(i)] = i;
    scores[8] = 0.0F;
    scores[9] = 0.6931472F;
    scores[10] = 1.0986123F;
    std::vector<std::uint8_t> keep(20);
    std::vector<int> order(20);
    for (int seed = 0; seed < rounds; ++seed) {
        std::fill(keep.begin(), keep.end(), std::uint8_t{0});
        // A budget of 2: one last row, no top, one by chance.
        ProxyRows(2, static_cast<std::uint64_t>(seed))
            .choose({0, 0, 20, 20, 2, positions, scores}, keep, order);
        CHECK(keep[19] == 1);
        for (int i = 0; i < 3; ++i) count[i] += keep[static_cast<std::size_t>(8 + i)];
    }
    double chi = 0.0;
    for (int i = 0; i < 3; ++i) {
        const double expected = rounds * (i + 1) / 6.0;
        chi += (count[i] - expected) * (count[i] - expected) / expected;
    }
    CHECK(chi < 13.8);  // 2 degrees of freedom, p > 0.001
}

TEST_CASE("HashEvict drops the farthest hash; SimHash distances are angles", "[keep]") {
    Random random(33);
    const Text t(random, 120);
    for (const HashOf of : {HashOf::query, HashOf::key}) {
        const auto scorer = std::make_shared<FarthestHash>(40, 16, of);
        Scored cache = make(scorer, 120);
        std::set<int> held[2];
        for (int at = 0; at < 120; ++at) {
            feed(cache, t, at, at + 1);
            for (int g = 0; g < 2; ++g) {
                held[g].insert(at);
                if (held[g].size() <= 40) continue;
                int worst = -1;
                int most = -1;
                for (const int j : held[g]) {
                    if (j < 4 || j > at - 10) continue;
                    const auto key = scorer->signature(t.k.row(j).data() + g * 16, 16);
                    int distance = 0;
                    if (of == HashOf::key)
                        distance =
                            std::popcount(key ^ scorer->signature(t.k.row(at).data() + g * 16, 16));
                    else
                        for (int h = 2 * g; h < 2 * g + 2; ++h)
                            distance += std::popcount(
                                key ^ scorer->signature(t.q.row(at).data() + h * 16, 16));
                    if (distance > most) most = distance, worst = j;
                }
                held[g].erase(worst);
                REQUIRE(kept(cache, g) == held[g]);
            }
        }
        CHECK(cache.held() == 40);
    }
    // E[Hamming] = bits * angle / pi, over many projections.
    double sum = 0.0;
    double angle = 0.0;
    constexpr int rounds = 3000;
    for (int i = 0; i < rounds; ++i) {
        const auto a = random_vector(random, 16);
        const auto b = random_vector(random, 16, 1.0, 0.5);
        const FarthestHash hash(40, 16, HashOf::query, static_cast<std::uint64_t>(i));
        sum += std::popcount(hash.signature(a.data(), 16) ^ hash.signature(b.data(), 16));
        const Eigen::Map<const Eigen::VectorXf> x(a.data(), 16);
        const Eigen::Map<const Eigen::VectorXf> y(b.data(), 16);
        angle += std::acos(x.dot(y) / x.norm() / y.norm());
    }
    CHECK(std::abs(sum / rounds - 16.0 * angle / rounds / 3.14159265) <
          3.0 * 2.0 / std::sqrt(rounds));
}

TEST_CASE("pinned rows stay, heads have budgets of their own, rollback forgets scores", "[keep]") {
    Random random(34);
    const Text t(random, 150);
    Scored cache = make(std::make_shared<HeavyHitters>(Budget({20, 35}), 10), 150);
    cache.pin(5, 9);
    for (int at = 0; at < 150; ++at) {
        if (at % 5 == 0) {
            // Staged, attended, taken back: nothing of it remains.
            RowMatrix out(1, 64);
            Context context;
            const std::vector<std::byte> before = archived(cache);
            cache.stage(token_rows(t.k.middleRows(0, 1)), token_rows(t.v.middleRows(0, 1)));
            attend(cache, {t.q.data(), 64, 1, at}, {}, 4, out.data(), 64, context);
            cache.rollback();
            REQUIRE(archived(cache) == before);
        }
        feed(cache, t, at, at + 1);
    }
    CHECK(kept(cache, 0).size() == 20);
    CHECK(kept(cache, 1).size() == 35);
    for (int p = 5; p < 9; ++p)
        CHECK((kept(cache, 0).count(p) == 1 && kept(cache, 1).count(p) == 1));
    CHECK_FALSE(cache.can_truncate(100));
    CHECK(code_of([&] { cache.truncate(100); }) == ErrorCode::bad_state);
    cache.clear();
    CHECK(cache.committed() == 0);
    CHECK(cache.bytes() <= 4 * page_size() * 2);
    feed(cache, t, 0, 30);
    CHECK(cache.committed() == 30);
}

TEST_CASE("sinks stand where an oracle that rotates keys again puts them", "[keep]") {
    Random random(35);
    const int rows = 90;
    const int window = 12;
    const int sinks = 3;
    const Text t(random, rows);
    const RotaryHalf rotation({16, 10000.0, 512, {}, {}});
    KvCache<Contiguous<F32>, WindowSinks<12, 3>> cache(even_heads, 1000);
    AttentionParameters parameters;
    parameters.rotation = &rotation;
    RowMatrix rotated = t.k;
    for (int r = 0; r < rows; ++r)
        for (int h = 0; h < 2; ++h) rotation.rotate(rotated.row(r).data() + h * 16, r);
    RowMatrix out(rows, 64);
    Context context;
    prefill(t.q, rotated, t.v, cache, parameters, out, context);
    for (int q = 0; q < rows; ++q) {
        // Positions inside the cache: sinks first, then the window without a gap.
        std::vector<int> seen;
        for (int j = 0; j <= q; ++j)
            if (j < sinks || q - j < window) seen.push_back(j);
        const RowMatrix wanted = rotated_anew(t, rotation, seen, places_in_order(seen));
        CHECK((wanted - out.row(q)).cwiseAbs().maxCoeff() < 2e-5F);
    }
    // Constant memory, the rows that must be there, and what can be taken back.
    CHECK(cache.held() == window + sinks);
    CHECK(cache.can_truncate(rows));
    for (int i = 0; i < 10; ++i)
        cache.append(token_rows(rotated.topRows(60)), token_rows(t.v.topRows(60)));
    CHECK_FALSE(cache.can_truncate(rows));
    CHECK(cache.can_truncate(rows + 600));
    CHECK(code_of([&] { cache.truncate(rows); }) == ErrorCode::bad_state);
    const std::size_t bytes = cache.bytes();
    cache.append(token_rows(rotated.topRows(60)), token_rows(t.v.topRows(60)));
    CHECK(cache.bytes() == bytes);
}

TEST_CASE("context shift equals keys rotated anew; refused where rows cannot go", "[keep]") {
    Random random(36);
    const Text t(random, 70);
    const RotaryInterleaved rotation({16, 10000.0, 512, {}, {}});
    KvCache<Paged<F32>> cache(even_heads, 60);
    AttentionParameters parameters;
    parameters.rotation = &rotation;
    RowMatrix rotated = t.k;
    for (int r = 0; r < 70; ++r)
        for (int h = 0; h < 2; ++h) rotation.rotate(rotated.row(r).data() + h * 16, r);
    RowMatrix out(60, 64);
    Context context;
    prefill(t.q.topRows(60), rotated.topRows(60), t.v.topRows(60), cache, parameters, out, context);
    const std::size_t before = cache.bytes();
    CHECK_FALSE(cache.can_shift(4, 60));
    cache.shift(4, 20);
    cache.shift(4, 10);
    CHECK_FALSE(cache.can_shift(8, 4));
    CHECK(cache.bytes() < before);
    CHECK(cache.held() == 30);
    RowMatrix next(10, 64);
    prefill(t.q.bottomRows(10), rotated.bottomRows(10), t.v.bottomRows(10), cache, parameters, next,
            context);
    for (int i = 0; i < 10; ++i) {
        std::vector<int> seen;
        for (int j = 0; j <= 60 + i; ++j)
            if (j < 4 || j >= 34) seen.push_back(j);
        const RowMatrix wanted = rotated_anew(t, rotation, seen, places_in_order(seen));
        CHECK((wanted - next.row(i)).cwiseAbs().maxCoeff() < 2e-5F);
    }
    STATIC_REQUIRE(Shiftable<KvCache<Paged<F32>>>);
    STATIC_REQUIRE_FALSE(Shiftable<KvCache<Contiguous<F32>>>);
    AnyCache plain =
        CacheSpec::parse("contiguous:f32").make(even_heads, 60);  // known at run time only
    plain.stage(token_rows(t.k.topRows(30)), token_rows(t.v.topRows(30)));
    plain.commit(30);
    CHECK_FALSE(plain.can_shift(4, 10));
    CHECK(code_of([&] { plain.shift(4, 10); }) == ErrorCode::bad_state);
}

TEST_CASE("rows dropped from the middle: distances stay until the hole is closed", "[keep]") {
    Random random(37);
    const Text t(random, 70);
    const RotaryInterleaved rotation({16, 10000.0, 512, {}, {}});
    AttentionParameters parameters;
    parameters.rotation = &rotation;
    RowMatrix rotated = t.k;
    for (int r = 0; r < 70; ++r)
        for (int h = 0; h < 2; ++h) rotation.rotate(rotated.row(r).data() + h * 16, r);
    for (const int closed : {0, 12, 30}) {
        KvCache<Paged<F32>> cache(even_heads, 70);
        RowMatrix out(60, 64);
        Context context;
        prefill(t.q.topRows(60), rotated.topRows(60), t.v.topRows(60), cache, parameters, out,
                context);
        CHECK_FALSE(cache.can_close(1));
        cache.drop(4, 20);
        CHECK_FALSE(cache.can_drop(30, 40));  // a second hole
        CHECK_FALSE(cache.can_drop(2, 30));
        CHECK(code_of([&] { cache.drop(30, 40); }) == ErrorCode::bad_state);
        cache.drop(10, 34);
        CHECK(cache.held() == 30);
        CHECK_FALSE(cache.can_close(31));
        CHECK(code_of([&] { cache.close(31); }) == ErrorCode::bad_state);
        if (closed > 0) cache.close(closed);
        CHECK(cache.capacity() == 70 + closed);
        CHECK(cache.span() == 70);
        RowMatrix next(10, 64);
        KvCache<Paged<F32>> branch = cache.fork();
        prefill(t.q.bottomRows(10), rotated.bottomRows(10), t.v.bottomRows(10), branch, parameters,
                next, context);
        for (int i = 0; i < 10; ++i) {
            std::vector<int> seen;
            for (int j = 0; j <= 60 + i; ++j)
                if (j < 4 || j >= 34) seen.push_back(j);
            std::vector<int> places = seen;
            for (int& place : places)
                if (place >= 34) place -= closed;
            const RowMatrix wanted = rotated_anew(t, rotation, seen, places);
            CHECK((wanted - next.row(i)).cwiseAbs().maxCoeff() < 2e-5F);
        }
        cache.clear();
        CHECK(cache.capacity() == 70);
    }
}

// A scorer of one's own.
#pragma GCC diagnostic ignored "-Wsign-conversion"
// clang-format off
class EveryNth final : public cairn::Scorer {
  public:
    EveryNth(int budget, int n) : budget_(budget), n_(n) {}
    int budget(int) const override { return budget_; }
    cairn::Evicts when() const override { return cairn::Evicts::at_prompt_end; }
    bool listens(int query, int prompt_end) const override { return query >= prompt_end - 8 && query < prompt_end; }
    void choose(const cairn::HeldRows& rows, std::span<std::uint8_t> keep, std::span<int> order) const override {
        const auto position = [&](int i) { return rows.positions[std::size_t(i)]; };
        const auto score = [&](int i) { return rows.scores[std::size_t(i)]; };
        const auto nth = [&](int i) { return position(i) % n_ == 0; };
        cairn::keep_best(rows, rows.budget / 2, nth, position, keep, order);
        cairn::keep_best(rows, rows.budget - rows.budget / 2, [](int) { return true; }, score, keep, order);
    }
    std::string name() const override { return "every=" + std::to_string(n_) + "," + std::to_string(budget_); }

  private:
    int budget_, n_;
};
struct KeepEveryThird {
    static std::shared_ptr<const cairn::Scorer> scorer(const cairn::HeadLayout&) {
        return std::make_shared<EveryNth>(40, 3);
    }
};
using MyCache = cairn::KvCache<cairn::Paged<cairn::F16>, KeepEveryThird>;
// clang-format on

TEST_CASE("a keep of one's own, as the page writes it", "[keep]") {
    Random random(37);
    const Text t(random, 130);
    const auto run = [&](int piece) {
        MyCache cache(even_heads, 130);
        cache.expect_prompt(120);
        RowMatrix out(130, 64);
        Context context;
        for (int at = 0; at < 130; at += piece) {
            const int n = std::min({piece, 130 - at, at < 120 ? 120 - at : 130});
            prefill(t.q.middleRows(at, n), t.k.middleRows(at, n), t.v.middleRows(at, n), cache, {},
                    out.middleRows(at, n), context);
            at += n - piece;
        }
        CHECK(cache.held() == 50);
        int thirds = 0;
        for (const int p : cache.positions(0)) thirds += p % 3 == 0 ? 1 : 0;
        CHECK(thirds >= 20);
        return out;
    };
    const RowMatrix whole = run(130);
    CHECK(same_bits(whole, run(1)));
    CHECK(same_bits(whole, run(37)));
}
