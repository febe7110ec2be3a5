// The rows that keeps by score keep are those of PyPI's kvpress (tests/golden/make_kvpress.py) on
// the same tensors, and so are the scores where both have them.
#include <cairn/cache/planner.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "support.hpp"
using namespace support;

namespace {

const HeadLayout pressed_heads{6, 2, 16, 16};

// The tensors of the script: sums of four 16-bit numbers of splitmix64.
RowMatrix pressed_numbers(std::uint64_t seed, int rows, int cols) {
    RowMatrix m(rows, cols);
    for (std::ptrdiff_t i = 0; i < m.size(); ++i) {
        std::uint64_t z =
            seed * 0x9E3779B97F4A7C15U + static_cast<std::uint64_t>(i + 1) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        z ^= z >> 31;
        std::int64_t sum = -131070;
        for (const int shift : {0, 16, 32, 48}) sum += static_cast<int>((z >> shift) & 0xFFFFU);
        m.data()[i] = static_cast<float>(sum) / 32768.0F;
    }
    return m;
}

// A scorer that remembers the scores another one chooses by.
class Overheard final : public Scorer {
  public:
    Overheard(std::shared_ptr<const Scorer> inner, std::vector<std::vector<float>>& scores)
        : inner_(std::move(inner)), scores_(&scores) {}
    int budget(int head) const override { return inner_->budget(head); }
    Evicts when() const override { return inner_->when(); }
    bool listens(int query, int end) const override { return inner_->listens(query, end); }
    bool reads_rows() const override { return inner_->reads_rows(); }
    void score(HeadRows& rows, std::span<float> scores) const override {
        inner_->score(rows, scores);
    }
    std::size_t room(const HeadLayout& layout, std::size_t slots) const override {
        return inner_->room(layout, slots);
    }
    std::size_t notes(const HeadLayout& layout) const override { return inner_->notes(layout); }
    void note(const NotedQueries& queries, std::span<double> notes) const override {
        inner_->note(queries, notes);
    }
    int budget_of(int head, int layer, int end) const override {
        return inner_->budget_of(head, layer, end);
    }
    double worth(const HeldRows& rows, int i) const override { return inner_->worth(rows, i); }
    bool spreads() const override { return inner_->spreads(); }
    void spread(std::span<const HeldRows> heads, std::span<int> budgets,
                std::span<RankedRow> ranks) const override {
        inner_->spread(heads, budgets, ranks);
    }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        (*scores_)[static_cast<std::size_t>(rows.kv_head)].assign(rows.scores.begin(),
                                                                  rows.scores.end());
        inner_->choose(rows, keep, order);
    }
    std::string name() const override { return inner_->name(); }

  private:
    std::shared_ptr<const Scorer> inner_;
    std::vector<std::vector<float>>* scores_;
};
struct ByOverheard {
    std::shared_ptr<const Scorer> chosen;
    std::shared_ptr<const Scorer> scorer(const HeadLayout&) const { return chosen; }
};

struct Pressed {
    int rows;
    int budget;
    int window;
    RowMatrix q, k, v;
    explicit Pressed(const Json& example)
        : rows(example["rows"].get<int>()),
          budget(example["budget"].get<int>()),
          window(example["window"].get<int>()) {
        const auto seed = 10 * example["seed"].get<std::uint64_t>();
        q = pressed_numbers(seed, rows, 96);
        k = pressed_numbers(seed + 1, rows, 32).array() + 0.5F;
        v = pressed_numbers(seed + 2, rows, 32);
    }
    // Positions that each head keeps, and the scores they were chosen by.
    std::vector<std::vector<int>> kept(std::shared_ptr<const Scorer> scorer,
                                       std::vector<std::vector<float>>& scores,
                                       int layer = 0) const {
        static const RotaryHalf rotation({16, 10000.0, 4096, {}, {}});
        scores.assign(2, {});
        AnyCache cache(pressed_heads, rows, Contiguous<F32>(),
                       ByOverheard{std::make_shared<Overheard>(std::move(scorer), scores)}, layer);
        cache.expect_prompt(rows);
        AttentionParameters parameters;
        parameters.scale = 0.25F;
        parameters.rotation = &rotation;
        RowMatrix out(rows, 96);
        Context context;
        prefill(q, k, v, cache, parameters, out, context);
        return {cache.positions(0), cache.positions(1)};
    }
};
Json kvpress_goldens() {
    return Json::parse(
        read_text(std::string(CAIRN_TEST_DATA) + "/kvpress.json", std::size_t{1} << 20));
}
using Kept = std::vector<std::vector<int>>;

}  // namespace

TEST_CASE("kvpress: KeyDiff, ExpectedAttention and SnapKV keep the same rows", "[golden]") {
    const Json goldens = kvpress_goldens();
    REQUIRE(goldens["cases"].size() == 3);
    std::vector<std::vector<float>> scores;
    const auto check_scores = [&](const Json& wanted) {
        if (!wanted.contains("scores")) return;
        for (std::size_t h = 0; h < 2; ++h) {
            const auto theirs = wanted["scores"][h].get<std::vector<double>>();
            REQUIRE(theirs.size() == scores[h].size());
            for (std::size_t j = 4; j < theirs.size(); ++j)  // sinks are not scored here
                CHECK(std::abs(static_cast<double>(scores[h][j]) - theirs[j]) <
                      1e-5 * std::max(1.0, std::abs(theirs[j])));
        }
    };
    for (const Json& example : goldens["cases"]) {
        const Pressed t(example);
        CHECK(t.kept(std::make_shared<DistinctKeys>(t.budget), scores) ==
              example["keydiff"]["kept"].get<Kept>());
        check_scores(example["keydiff"]);
        CHECK(t.kept(std::make_shared<ExpectedRows>(t.budget), scores) ==
              example["expected"]["kept"].get<Kept>());
        check_scores(example["expected"]);
        CHECK(t.kept(std::make_shared<ObservedRows>(t.budget, t.window, 5, Pooled::mean), scores) ==
              example["snapkv"]["kept"].get<Kept>());
    }
}

TEST_CASE("kvpress: observed attention is H2O's sum over the queries that could look", "[golden]") {
    // kvpress divides what a row received by the queries that saw it and keeps no recent rows; H2O
    // sums and keeps them. The sums are the same.
    const Json goldens = kvpress_goldens();
    const Json& example = goldens["cases"][0];
    const Pressed t(example);
    std::vector<std::vector<float>> scores;
    t.kept(std::make_shared<HeavyHitters>(t.budget, 0), scores);
    for (std::size_t h = 0; h < 2; ++h) {
        const auto theirs = example["observed"]["scores"][h].get<std::vector<double>>();
        REQUIRE(theirs.size() == scores[h].size());
        std::vector<int> order;
        for (std::size_t j = 0; j < theirs.size(); ++j) {
            const double sum = theirs[j] * static_cast<double>(theirs.size() - j) * 3.0;
            CHECK(std::abs(static_cast<double>(scores[h][j]) - sum) < 1e-4 * std::max(1.0, sum));
            scores[h][j] /= static_cast<float>(theirs.size() - j);
            order.push_back(static_cast<int>(j));
        }
        std::sort(order.begin(), order.end(), [&](int a, int b) {
            return scores[h][static_cast<std::size_t>(a)] > scores[h][static_cast<std::size_t>(b)];
        });
        order.resize(static_cast<std::size_t>(t.budget));
        std::sort(order.begin(), order.end());
        CHECK(order == example["observed"]["kept"][h].get<std::vector<int>>());
    }
}

TEST_CASE("kvpress: AdaKV, PyramidKV and DuoAttention keep the same rows of every head",
          "[golden]") {
    const Json goldens = kvpress_goldens();
    std::vector<std::vector<float>> scores;
    for (const Json& example : goldens["cases"]) {
        const Pressed t(example);
        const auto snap = std::make_shared<ObservedRows>(t.budget, t.window, 5, Pooled::mean);
        const auto spread = t.kept(std::make_shared<SpreadHeads>(snap, 20), scores);
        CHECK(spread == example["adakv"]["kept"].get<Kept>());
        CHECK(spread[0].size() + spread[1].size() == 2 * static_cast<std::size_t>(t.budget));
        CHECK(t.kept(std::make_shared<SpreadHeads>(std::make_shared<ExpectedRows>(t.budget), 20),
                     scores) == example["adakv_expected"]["kept"].get<Kept>());

        const auto narrow = std::make_shared<ObservedRows>(t.budget, 4, 5, Pooled::mean);
        const auto falling = std::make_shared<FallingBudgets>(
            narrow, PyramidShape{.layers = 6, .beta = 4, .window = 4});
        std::vector<int> budgets;
        for (int layer = 0; layer < 6; ++layer)
            budgets.push_back(falling->budget_of(0, layer, t.rows));
        CHECK(budgets == example["pyramidkv_budgets"].get<std::vector<int>>());
        CHECK(budgets[0] > budgets[5]);
        for (const int layer : {1, 4})
            CHECK(t.kept(falling, scores, layer) ==
                  example["pyramidkv_" + std::to_string(layer)]["kept"].get<Kept>());

        const std::vector<bool> full{true, false};
        CHECK(t.kept(std::make_shared<SplitHeads>(full, 2, 4, 10), scores) ==
              example["duo"]["kept"].get<Kept>());
    }
}
