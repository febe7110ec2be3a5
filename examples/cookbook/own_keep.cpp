// A rule of your own about which rows stay: of a long prompt those that its last queries looked at
// most, and its beginning. Stores, codecs, rollback, forks and session files come with it. Used by
// its type and by a word, and proved.
//
//   cmake --build build/release --target own_keep
//   build/release/bin/cookbook/own_keep examples/models/shakespeare
#include <iostream>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/io/model_file.hpp>
#include <cairn/models/verify.hpp>

// Which rows of a head stay. Runs inside a commit, which cannot fail: it must not allocate.
class MostFamous final : public cairn::Scorer {
  public:
    explicit MostFamous(int rows) : rows_(rows) {}
    int budget(int) const override { return rows_; }
    cairn::Evicts when() const override { return cairn::Evicts::at_prompt_end; }
    bool listens(int query, int prompt_end) const override {  // whose attention counts
        return query >= prompt_end - 8 && query < prompt_end;
    }
    void choose(const cairn::HeldRows& held, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        const auto worth = [&](int i) {  // the first four rows are above any score
            return held.positions[std::size_t(i)] < 4 ? 1e9F : held.scores[std::size_t(i)];
        };
        cairn::keep_best(held, held.budget, [](int) { return true; }, worth, keep, order);
    }
    std::string name() const override { return "famous=" + std::to_string(rows_); }

  private:
    int rows_;
};

// The policy: a value whose members are its settings, by type and in a SPEC.
struct Famous {
    int rows = 24;
    static constexpr std::string_view word = "famous";
    static constexpr cairn::KeepFacts facts{.by_score = true, .forgets = true};
    static void options(auto& self, auto&& visit) {
        visit(cairn::Option{"", "the rows that stay", 1, cairn::Given::always}, self.rows);
    }
    auto scorer(const cairn::HeadLayout&) const { return std::make_shared<MostFamous>(rows); }
};

int main(int argc, char** argv) try {
    const auto loaded = cairn::load_model(argc > 1 ? argv[1] : "examples/models/shakespeare");
    const auto prompt = loaded.prompt(
        "JULIET:\nO Romeo, Romeo! wherefore art thou Romeo?\nDeny thy father and refuse thy name;\n"
        "Or, if thou wilt not, be but sworn my love,");
    // By type.
    auto session = loaded.model.session<cairn::KvCache<cairn::Paged<cairn::F16>, Famous>>(128);
    session.expect_prompt(prompt.size());  // nothing goes before the prompt is complete
    session.prefill(prompt);
    std::cout << session.held() << " of " << prompt.size() << " rows stay:";
    for (const int position : session.layer_cache(0).positions(/*kv_head=*/0))
        std::cout << ' ' << position;

    // By word, beside every store and codec; fed at once, one by one and in random cuts.
    cairn::cache_words().keep(Famous{});
    const auto spec = cairn::CacheSpec::parse("contiguous:q8_0:famous=30");
    const auto found = cairn::verify_equivalence(
        loaded.model, prompt, [&](int layer, const cairn::HeadLayout& layout, int rows) {
            cairn::AnyCache cache = spec.make(layout, rows, layer);
            cache.expect_prompt(int(prompt.size()) - 10);
            return cache;
        });
    std::cout << '\n'
              << spec.canonical() << (found.exact ? ": the same bits" : ": other bits") << " in "
              << found.rounds << " ways of feeding\n";
} catch (const cairn::Error& error) {
    std::cerr << "error[" << cairn::code_name(error.code()) << "]: " << error.what() << '\n';
    return 1;
}
