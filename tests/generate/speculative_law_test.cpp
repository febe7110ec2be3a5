// The law of speculative text is that of the model's: every path of a generation enumerated, and
// counted in a million draws.
#include <cmath>
#include <map>
#include <stdexcept>

#include <cairn/generate/ngram_draft.hpp>
#include <cairn/generate/speculative.hpp>

#include "support.hpp"
using namespace support;

namespace {

// A language model of a table: the logits behind a text depend on its last two tokens. It has what
// a session has for speculate.
class TableSession {
  public:
    TableSession(int words, std::uint64_t seed) : model_{words} {
        Random random(seed);
        table_ = random_vector(random, static_cast<std::size_t>(words * words * words), 1.0);
        logits_.resize(static_cast<std::size_t>(words));
    }
    // The same table, and no text.
    TableSession(const TableSession& other)
        : model_(other.model_), table_(other.table_), logits_(other.logits_.size()) {}
    struct Model {
        int words;
        int layers() const { return 0; }
        int vocabulary() const { return words; }
    };
    struct OpenTable {
        TableSession& session;
        std::vector<Token> tokens;
        void accept(int rows) {
            session.text_.insert(session.text_.end(), tokens.begin(), tokens.begin() + rows);
        }
    };
    struct NoCache {
        bool commits_part() const { return true; }
    };
    NoCache cache(int) const { return {}; }
    const Model& model() const { return model_; }
    Context& context() { return context_; }
    int position() const { return static_cast<int>(text_.size()); }
    int capacity() const { return 1 << 30; }
    int max_rows() const { return 1 << 20; }
    std::span<const float> logits() const { return logits_; }
    void expect_prompt(std::size_t) {}
    void restore(int, std::vector<float> logits) { logits_ = std::move(logits); }
    std::span<const float> behind(Tokens text) const {
        std::size_t at = 0;
        for (std::size_t i = text.size() > 2 ? text.size() - 2 : 0; i < text.size(); ++i)
            at = at * static_cast<std::size_t>(model_.words) + static_cast<std::size_t>(text[i]);
        return std::span(table_).subspan(at * static_cast<std::size_t>(model_.words),
                                         static_cast<std::size_t>(model_.words));
    }
    std::span<const float> prefill(Tokens tokens) {
        text_.insert(text_.end(), tokens.begin(), tokens.end());
        const auto row = behind(text_);
        logits_.assign(row.begin(), row.end());
        return logits_;
    }
    std::span<const float> decode(Token token) { return prefill({&token, 1}); }
    OpenTable propose(Tokens tokens, float* logits) {
        std::vector<Token> text(text_.end() - std::min<std::ptrdiff_t>(2, position()), text_.end());
        for (const Token token : tokens) {
            text.push_back(token);
            logits = std::copy_n(behind(text).begin(), model_.words, logits);
        }
        return {*this, {tokens.begin(), tokens.end()}};
    }

  private:
    Model model_;
    Context context_;
    std::vector<float> table_;
    std::vector<float> logits_;
    std::vector<Token> text_;
};

// Guesses by another table, through the sampler's chain.
struct TableDraft final : Draft {
    const TableSession* table;
    explicit TableDraft(const TableSession& t) : table(&t) {}
    void draft(DraftRound& round) override {
        while (round.left() > 0) round.pick(table->behind(round.text()));
    }
};
// Guesses without a law; every other one from the table.
struct StubbornDraft final : Draft {
    const TableSession* table;
    explicit StubbornDraft(const TableSession& t) : table(&t) {}
    void draft(DraftRound& round) override {
        while (round.left() > 0)
            if (round.guesses() % 2 == 0)
                round.guess(static_cast<Token>(round.text().size()) % table->model().words);
            else
                round.pick(table->behind(round.text()));
    }
};

// The decisions of one run: each names one of several outcomes with a probability.
struct Decisions {
    struct Branch {
        std::size_t taken, outcomes;
    };
    std::vector<Branch> path;
    std::size_t at = 0;
    double probability = 1.0;
    std::size_t decide(const std::vector<double>& weights) {
        if (at == path.size()) path.push_back({0, weights.size()});
        if (path[at].outcomes != weights.size()) throw std::logic_error("another path");
        probability *= weights[path[at].taken];
        return path[at++].taken;
    }
    // The next path in order; false behind the last.
    bool next() {
        at = 0;
        probability = 1.0;
        while (!path.empty() && path.back().taken + 1 == path.back().outcomes) path.pop_back();
        if (path.empty()) return false;
        ++path.back().taken;
        return true;
    }
};
// A pick that takes what the decisions say instead of drawing.
struct Scripted {
    Decisions* decisions;
    void law(Candidates& c) { c.softmax(); }
    Token take(Candidates& c) {
        std::vector<double> weights;
        std::vector<Token> ids;
        for (const Candidate& x : c.list)
            if (x.probability > 0.0) weights.push_back(x.probability), ids.push_back(x.id);
        return ids[decisions->decide(weights)];
    }
    Token pick(Candidates& c) {
        law(c);
        return take(c);
    }
    bool chance(double p) {
        if (p >= 1.0) return true;
        if (p <= 0.0) return false;
        return decisions->decide({p, 1.0 - p}) == 0;
    }
};

using Law = std::map<std::vector<Token>, double>;

// The law of `count` tokens behind `prompt`, by every path of the real loop.
template <class Steps, class D>
Law enumerated(const Steps& steps, int words, int count, int guesses) {
    Decisions decisions;
    Law law;
    const TableSession fresh(words, 11), drafting(words, 12);
    do {
        TableSession target = fresh;
        D draft(drafting);
        auto sampler = Steps(steps) | Scripted{&decisions};
        const std::vector<Token> prompt{1, 0};
        const auto result =
            speculate(target, prompt, sampler, draft,
                      {guesses, GuessLengths::fixed, GuessRule::same_law}, {.max_tokens = count});
        law[result.tokens] += decisions.probability;
    } while (decisions.next());
    return law;
}
// The law by the definition: the product of the chain's probabilities.
template <class Steps>
void follow_law(const Steps& steps, const TableSession& target, std::vector<Token>& text,
                double probability, int count, Law& law) {
    if (count == 0) {
        law[{text.begin() + 2, text.end()}] += probability;
        return;
    }
    Candidates candidates;
    candidates.load(target.behind(text));
    Steps(steps).apply(candidates, text);
    double sum = 0.0;
    for (const Candidate& c : candidates.list) sum += std::exp(c.logit);
    for (const Candidate& c : std::vector<Candidate>(candidates.list)) {
        text.push_back(c.id);
        follow_law(steps, target, text, probability * std::exp(c.logit) / sum, count - 1, law);
        text.pop_back();
    }
}
template <class Steps>
void check_law(const Steps& steps, int words, int count) {
    const TableSession target(words, 11);
    std::vector<Token> text{1, 0};
    Law wanted;
    follow_law(steps, target, text, 1.0, count, wanted);
    double total = 0.0;
    for (int guesses = 1; guesses < count; ++guesses) {
        for (const bool stubborn : {false, true}) {
            const Law law = stubborn
                                ? enumerated<Steps, StubbornDraft>(steps, words, count, guesses)
                                : enumerated<Steps, TableDraft>(steps, words, count, guesses);
            total = 0.0;
            double worst = 0.0;
            for (const auto& [tokens, p] : wanted)
                worst = std::max(worst, std::abs(p - (law.count(tokens) ? law.at(tokens) : 0.0)));
            for (const auto& entry : law) {
                total += entry.second;
                if (!wanted.count(entry.first)) worst = std::max(worst, entry.second);
            }
            INFO(words << " words, " << count << " tokens, " << guesses << " guesses, stubborn "
                       << stubborn);
            CHECK(worst < 1e-12);
            CHECK(std::abs(total - 1.0) < 1e-12);
        }
    }
}

}  // namespace

TEST_CASE("the law of a guess and its replacement is the model's, enumerated", "[speculative]") {
    check_law(temperature(1.0F), 5, 2);
    check_law(temperature(0.7F), 3, 4);
    check_law(top_k(3) | temperature(1.5F), 5, 3);
    check_law(top_p(0.8F) | temperature(0.9F), 4, 3);
    check_law(penalties(1.3F, 0.4F, 0.2F) | min_p(0.05F) | temperature(1.1F), 3, 3);
    check_law(logit_bias({{1, 2.0F}, {2, -std::numeric_limits<float>::infinity()}}) |
                  typical_p(0.9F) | temperature(1.2F),
              5, 3);
}

TEST_CASE("a wrong verdict is seen by the enumeration", "[speculative]") {
    // Keeping every guess gives the draft's law: the comparison above is not blind.
    const TableSession target(3, 11), drafting(3, 12);
    double worst = 0.0;
    const std::vector<Token> text{1, 0};
    Candidates p, q;
    p.load(target.behind(text)), q.load(drafting.behind(text));
    p.softmax(), q.softmax();
    for (std::size_t i = 0; i < 3; ++i)
        worst = std::max(worst, std::abs(p.list[i].probability - q.list[i].probability));
    CHECK(worst > 0.01);
    // What is left where both are the same is nothing, and says so.
    std::vector<double> dense;
    const auto before = p.list;
    CHECK(!internal::take_away(p, before, dense));
    CHECK(internal::probability_of(p.list, 1) == internal::probability_of(before, 1));
    CHECK(internal::take_away(p, q.list, dense));
    double sum = 0.0;
    for (const Candidate& c : p.list) sum += c.probability;
    CHECK(std::abs(sum - 1.0) < 1e-14);
    CHECK(dense == std::vector<double>(3, 0.0));
}

TEST_CASE("a million tokens follow the model's law, by chi-square", "[speculative]") {
    constexpr int words = 5;
    constexpr int count = 1000000;
    const TableSession law(words, 21);
    for (const GuessRule rule : {GuessRule::same_law, GuessRule::same_text}) {
        TableSession target(words, 21), drafting(words, 22);
        TableDraft draft(drafting);
        auto sampler = temperature(0.9F) | draw(5);
        const auto result = speculate(target, std::vector<Token>{1, 0}, sampler, draft,
                                      {3, GuessLengths::fixed, rule}, {.max_tokens = count});
        REQUIRE(result.tokens.size() == count);
        // Counts by the two tokens before.
        std::vector<double> seen(words * words * words);
        std::vector<Token> text{1, 0};
        text.insert(text.end(), result.tokens.begin(), result.tokens.end());
        for (std::size_t i = 2; i < text.size(); ++i)
            ++seen[static_cast<std::size_t>((text[i - 2] * words + text[i - 1]) * words + text[i])];
        double statistic = 0.0;
        for (Token a = 0; a < words; ++a)
            for (Token b = 0; b < words; ++b) {
                Candidates c;
                c.load(law.behind(std::vector<Token>{a, b}));
                temperature(0.9F).apply(c, {});
                c.softmax();
                const double* row = seen.data() + (a * words + b) * words;
                double all = 0.0;
                for (int i = 0; i < words; ++i) all += row[i];
                for (std::size_t i = 0; i < words; ++i) {
                    const double expected = all * c.list[i].probability;
                    statistic += (row[i] - expected) * (row[i] - expected) / expected;
                }
            }
        // 25 states of 4 degrees of freedom: mean 100, deviation 14; p = 0.001 is at 149.4.
        INFO("chi-square " << statistic << ", acceptance " << result.acceptance());
        CHECK(statistic < 149.4);
        CHECK(statistic > 57.0);  // nor better than chance allows
        CHECK(result.acceptance() > 0.2);
        CHECK(result.acceptance() < 0.99);
    }
}
