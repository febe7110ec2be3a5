// Keeps that read the rows themselves: the same rows as their definitions in double keep, whatever
// the prompt is cut into, in whatever form rows are stored; notes of queries go with transactions,
// branches and files.
#include <cairn/cache/cache_spec.hpp>

#include "cache/cache_support.hpp"
using namespace support;

namespace {

const HeadLayout grouped_heads{6, 2, 16, 16};

struct Told {
    RowMatrix q, k, v;
    Told(Random& random, int rows)
        : q(random_matrix(random, rows, 96, 1.2)),
          k(random_matrix(random, rows, 32, 1.0)),
          v(random_matrix(random, rows, 32)) {
        q.array() += 0.2F;
        k.array() += 0.3F;  // a direction that most keys share
    }
};
const RotaryHalf& told_rotation() {
    static const RotaryHalf rotation({16, 10000.0, 4096, {}, {}});
    return rotation;
}
RowMatrix tell(AnyCache& cache, const Told& t, int begin, int end) {
    RowMatrix out(end - begin, 96);
    Context context;
    AttentionParameters parameters;
    parameters.scale = 0.25F;
    parameters.rotation = &told_rotation();
    prefill(t.q.middleRows(begin, end - begin), t.k.middleRows(begin, end - begin),
            t.v.middleRows(begin, end - begin), cache, parameters, out, context);
    return out;
}
void tell_in_pieces(AnyCache& cache, const Told& t, int begin, int end, int piece) {
    for (int at = begin; at < end; at += piece) tell(cache, t, at, std::min(end, at + piece));
}
AnyCache named_keep(const std::string& spec, int capacity) {
    return CacheSpec::parse(spec).make(grouped_heads, capacity);
}
// The `count` best rows of a worth by row, ties to the later.
std::vector<int> best_rows(std::vector<int> rows, int count, const std::vector<double>& worth) {
    std::sort(rows.begin(), rows.end(), [&](int a, int b) {
        const double x = worth[static_cast<std::size_t>(a)];
        const double y = worth[static_cast<std::size_t>(b)];
        return x != y ? x > y : a > b;
    });
    rows.resize(static_cast<std::size_t>(count));
    std::sort(rows.begin(), rows.end());
    return rows;
}
Eigen::VectorXd key_of(const Told& t, int row, int head) {
    return t.k.row(row).segment(head * 16, 16).transpose().cast<double>();
}
std::vector<double> key_differences(const Told& t, const std::vector<int>& rows, int head) {
    Eigen::VectorXd mean = Eigen::VectorXd::Zero(16);
    for (const int j : rows) mean += key_of(t, j, head).normalized();
    mean /= static_cast<double>(rows.size());
    std::vector<double> worth(static_cast<std::size_t>(t.k.rows()));
    for (const int j : rows)
        worth[static_cast<std::size_t>(j)] =
            -key_of(t, j, head).normalized().dot(mean) / mean.norm();
    return worth;
}
// ExpectedAttention by its definition: positions are averaged query by query.
std::vector<double> expected_worth(const Told& t, int n, int head, int sinks, int future,
                                   int first) {
    std::vector<double> worth(static_cast<std::size_t>(n));
    for (int h = 3 * head; h < 3 * head + 3; ++h) {
        const int count = n - first;
        Eigen::MatrixXd turned(count, 16);
        for (int i = 0; i < count; ++i) {
            const RowMatrix q = t.q.row(first + i).segment(h * 16, 16);
            Eigen::RowVectorXd sum = Eigen::RowVectorXd::Zero(16);
            for (int p = n; p < n + future; ++p) {
                RowMatrix r = q;
                told_rotation().rotate(r.data(), p);
                sum += r.row(0).cast<double>();
            }
            turned.row(i) = sum / future;
        }
        const Eigen::RowVectorXd mean = turned.colwise().mean();
        const Eigen::MatrixXd apart = turned.rowwise() - mean;
        const Eigen::MatrixXd covariance = apart.transpose() * apart / count;
        std::vector<double> p(static_cast<std::size_t>(n));
        double sum = 0.0;
        for (int j = sinks; j < n; ++j) {
            const Eigen::VectorXd k = key_of(t, j, head);
            const double x = 0.25 * mean.dot(k) + 0.25 * 0.25 / 2 * k.dot(covariance * k);
            sum += p[static_cast<std::size_t>(j)] = std::exp(x);
        }
        for (int j = sinks; j < n; ++j)
            worth[static_cast<std::size_t>(j)] +=
                p[static_cast<std::size_t>(j)] / sum *
                static_cast<double>(t.v.row(j).segment(head * 16, 16).norm());
    }
    return worth;
}
std::vector<int> first_rows(int n) {
    std::vector<int> rows(static_cast<std::size_t>(n));
    for (int j = 0; j < n; ++j) rows[static_cast<std::size_t>(j)] = j;
    return rows;
}

}  // namespace

TEST_CASE("KeyDiff keeps what the definition keeps, at a prompt's end and row by row", "[keep]") {
    Random random(71);
    const Told t(random, 150);
    for (const char* spec : {"contiguous:f32:keydiff=40", "paged=16:f32:keydiff=40,recent=7",
                             "contiguous:f32+rot:keydiff=40"}) {
        const int recent = std::string(spec).find("recent") != std::string::npos ? 7 : 0;
        AnyCache cache = named_keep(spec, 150);
        cache.expect_prompt(90);
        std::vector<int> held[2];
        for (int at = 0; at < 150;) {
            const int end = at < 90 ? 90 : at + 1;
            tell(cache, t, at, end);
            for (int g = 0; g < 2; ++g) {
                for (int j = at; j < end; ++j) held[g].push_back(j);
                const std::vector<double> worth = key_differences(t, held[g], g);
                const auto older = held[g].end() - recent;
                std::vector<int> stay = best_rows({held[g].begin(), older}, 40 - recent, worth);
                stay.insert(stay.end(), older, held[g].end());
                held[g] = stay;
                REQUIRE(cache.positions(g) == held[g]);
            }
            at = end;
        }
        CHECK(cache.held() == 40);
    }
}

TEST_CASE("ExpectedAttention keeps what the definition keeps", "[keep]") {
    Random random(72);
    for (const auto& [spec, sinks, future, queries] :
         {std::tuple("contiguous:f32:expected=40,sinks=4,future=64", 4, 64, 0),
          std::tuple("paged=16:f32:expected=33,sinks=2,future=9,queries=25", 2, 9, 25),
          std::tuple("contiguous:f32+rot:expected=40,sinks=0,future=64", 0, 64, 0)}) {
        const Told t(random, 128);
        const int n = 120;
        AnyCache cache = named_keep(spec, 128);
        cache.expect_prompt(n);
        tell(cache, t, 0, n);
        const int budget = cache.held();
        CHECK((budget == 40 || budget == 33));
        for (int g = 0; g < 2; ++g) {
            const auto worth =
                expected_worth(t, n, g, sinks, future, queries == 0 ? sinks : n - queries);
            std::vector<int> rest = first_rows(n);
            std::vector<int> stay(rest.begin(), rest.begin() + sinks);
            rest.erase(rest.begin(), rest.begin() + sinks);
            for (const int j : best_rows(rest, budget - sinks, worth)) stay.push_back(j);
            CHECK(cache.positions(g) == stay);
        }
        tell(cache, t, n, 128);  // later rows all stay
        CHECK(cache.held() == budget + 8);
    }
}

TEST_CASE("keeps that read rows: the cut of a prompt changes no bit", "[keep]") {
    Random random(73);
    const Told t(random, 140);
    for (const char* spec :
         {"contiguous:f32:keydiff=30", "paged=16:q8_0:keydiff=30,recent=5",
          "contiguous:f16:expected=30,sinks=4,future=100", "paged=16:q8_0:expected=30,queries=40",
          "contiguous:q4_0+rot:expected=30"}) {
        AnyCache whole = named_keep(spec, 140);
        whole.expect_prompt(110);
        tell(whole, t, 0, 110);
        std::vector<std::byte> first = archived(whole);
        for (const int piece : {1, 7, 64}) {
            AnyCache cache = named_keep(spec, 140);
            cache.expect_prompt(110);
            tell_in_pieces(cache, t, 0, 110, piece);
            CHECK(archived(cache) == first);
        }
        // And what comes behind it, over rows that were chosen.
        AnyCache branch = whole.fork();
        const RowMatrix out = tell(whole, t, 110, 140);
        RowMatrix again(30, 96);
        for (int i = 0; i < 30; ++i) again.row(i) = tell(branch, t, 110 + i, 111 + i);
        CHECK(same_bits(out, again));
    }
}

TEST_CASE("notes of queries: rolled back, forked, saved in the middle of a prompt", "[keep]") {
    Random random(74);
    const Told t(random, 120);
    const std::string spec = "paged=16:f32:expected=25,sinks=3,future=50";
    AnyCache plain = named_keep(spec, 120);
    plain.expect_prompt(100);
    tell(plain, t, 0, 100);
    const std::vector<std::byte> wanted = archived(plain);

    AnyCache cache = named_keep(spec, 120);
    cache.expect_prompt(100);
    tell(cache, t, 0, 37);
    const std::vector<std::byte> middle = archived(cache);
    {
        // Rows that are attended and taken back leave nothing.
        Context context;
        AttentionParameters parameters;
        parameters.rotation = &told_rotation();
        RowMatrix out(63, 96);
        for (const int rows : {5, 63}) {
            cache.stage(token_rows(t.k.middleRows(40, rows)), token_rows(t.v.middleRows(40, rows)));
            attend(cache, {t.q.data(), 96, rows, 37}, parameters, 6, out.data(), 96, context);
            cache.rollback();
            CHECK(archived(cache) == middle);
        }
    }
    AnyCache fork = cache.fork();
    AnyCache copy = cache.copy();
    AnyCache loaded = named_keep("contiguous:f32:expected=25,sinks=3,future=50", 200);
    MemoryArchive archive(middle);
    loaded.archive(archive);
    for (AnyCache* one : {&cache, &fork, &copy, &loaded}) {
        tell(*one, t, 37, 100);
        CHECK(archived(*one) == wanted);
    }

    // A file that ends, or with a note that is no number, loads nothing.
    for (std::size_t size = 0; size < middle.size(); size += 1 + middle.size() / 97) {
        AnyCache into = named_keep(spec, 120);
        MemoryArchive cut(std::vector<std::byte>(
            middle.begin(), middle.begin() + static_cast<std::ptrdiff_t>(size)));
        CHECK_THROWS_AS(into.archive(cut), Error);
        CHECK(into.committed() == 0);
        into.expect_prompt(100);
        tell(into, t, 0, 100);
        CHECK(archived(into) == wanted);
    }

    // The second prompt of a conversation is noted anew; without its last query all rows are
    // expected alike, and their values decide.
    cache.expect_prompt(120);
    tell(cache, t, 100, 120);
    CHECK(cache.held() == 25);
    AnyCache unseen = named_keep(spec, 120);
    unseen.expect_prompt(50);
    unseen.append(token_rows(t.k.topRows(50)), token_rows(t.v.topRows(50)));
    CHECK(unseen.held() == 25);
    for (int g = 0; g < 2; ++g) {
        std::vector<double> length(50);
        for (int j = 0; j < 50; ++j)
            length[static_cast<std::size_t>(j)] =
                j < 3 ? 1e9 : static_cast<double>(t.v.row(j).segment(g * 16, 16).norm());
        CHECK(unseen.positions(g) == best_rows(first_rows(50), 25, length));
    }
}

TEST_CASE("settings of the newer keeps", "[keep]") {
    CHECK(CacheSpec::parse("f16:keydiff=512").canonical() == "contiguous:f16:keydiff=512");
    CHECK(CacheSpec::parse("f16:keydiff=512,recent=64").canonical() ==
          "contiguous:f16:keydiff=512,recent=64");
    CHECK(CacheSpec::parse("f16:expected=512").canonical() ==
          "contiguous:f16:expected=512,sinks=4,future=512");
    CHECK(CacheSpec::parse("f16:snapkv=512,mean=1").canonical() ==
          "contiguous:f16:snapkv=512,mean=1");
    CHECK(code_of([] { CacheSpec::parse("f16:keydiff=5,recent=6"); }) == ErrorCode::usage);
    CHECK(code_of([] { CacheSpec::parse("kivi4:keydiff=50"); }) == ErrorCode::usage);
    CHECK(code_of([] { DistinctKeys(5, 6); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { ExpectedRows(5, {.sinks = -1}); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { ExpectedRows(5, {.future = 0}); }) == ErrorCode::invalid_argument);
}
