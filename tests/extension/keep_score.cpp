// A keep by score from outside: once a prompt is complete, the first rows stay and the loudest of
// the others by what its last queries paid. One file, reached by type and by the word `loud`.
#include <memory>

#include <cairn/cache/cache_spec.hpp>

#include "naive.hpp"

namespace {

class LoudRows final : public cairn::Scorer {
  public:
    LoudRows(int rows, int front) : rows_(rows), front_(front) {}
    int budget(int) const override { return rows_; }
    cairn::Evicts when() const override { return cairn::Evicts::at_prompt_end; }
    bool listens(int query, int prompt_end) const override {
        return query < prompt_end && query >= prompt_end - 4;
    }
    void choose(const cairn::HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        const auto position = [&](int i) { return rows.positions[static_cast<std::size_t>(i)]; };
        const auto score = [&](int i) { return rows.scores[static_cast<std::size_t>(i)]; };
        cairn::keep_best(
            rows, front_, [&](int i) { return position(i) < front_; }, position, keep, order);
        cairn::keep_best(rows, rows.budget - front_, [](int) { return true; }, score, keep, order);
    }
    std::string name() const override {
        return "loud=" + std::to_string(rows_) + ",front=" + std::to_string(front_);
    }

  private:
    int rows_;
    int front_;
};

struct Loud {
    int rows = 64;
    int front = 4;
    static constexpr std::string_view word = "loud";
    static constexpr std::string_view help = "the first rows, and the loudest of the others";
    static constexpr cairn::KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(cairn::Option{"", "the rows that stay", 1, cairn::Given::always}, self.rows);
        visit(cairn::Option{"front", "the first rows that stay"}, self.front);
    }
    std::shared_ptr<const cairn::Scorer> scorer(const cairn::HeadLayout&) const {
        return std::make_shared<LoudRows>(rows, front);
    }
};

// The rows that stay, by the definition in double: scores of the last four queries of the prompt,
// summed over a KV head's group.
std::vector<std::vector<bool>> chosen(const extension::Text& t, const cairn::HeadLayout& layout,
                                      float scale, int prompt, int rows, int front) {
    std::vector<std::vector<bool>> result;
    for (int kv = 0; kv < layout.kv_heads; ++kv) {
        std::vector<double> score(static_cast<std::size_t>(prompt));
        for (int q = prompt - 4; q < prompt; ++q)
            for (int h = kv * layout.group(); h < (kv + 1) * layout.group(); ++h) {
                std::vector<double> p;
                double sum = 0.0;
                for (int j = 0; j <= q; ++j) {
                    p.push_back(std::exp(static_cast<double>(scale) *
                                         t.q.row(q)
                                             .segment(h * layout.key_dim, layout.key_dim)
                                             .cast<double>()
                                             .dot(t.k.row(j)
                                                      .segment(kv * layout.key_dim, layout.key_dim)
                                                      .cast<double>())));
                    sum += p.back();
                }
                for (int j = 0; j <= q; ++j)
                    score[static_cast<std::size_t>(j)] += p[static_cast<std::size_t>(j)] / sum;
            }
        std::vector<int> order;
        for (int j = front; j < prompt; ++j) order.push_back(j);
        std::sort(order.begin(), order.end(), [&](int a, int b) {
            return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
        });
        std::vector<bool> stays(static_cast<std::size_t>(prompt));
        for (int j = 0; j < front; ++j) stays[static_cast<std::size_t>(j)] = true;
        for (int i = 0; i < rows - front; ++i)
            stays[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = true;
        result.push_back(stays);
    }
    return result;
}

bool right_rows(cairn::AnyCache cache, const extension::Text& text, const cairn::HeadLayout& layout,
                float scale, int prompt, const std::vector<std::vector<bool>>& wanted, int piece) {
    cache.expect_prompt(prompt);
    extension::through(cache, text, layout, scale, piece);
    for (int h = 0; h < layout.kv_heads; ++h) {
        std::vector<bool> held(static_cast<std::size_t>(prompt));
        for (const int position : cache.positions(h))
            if (position < prompt) held[static_cast<std::size_t>(position)] = true;
        if (held != wanted[static_cast<std::size_t>(h)]) return false;
    }
    return true;
}

}  // namespace

int main() {
    const cairn::HeadLayout layout{6, 2, 16, 16};
    const extension::Text text(layout, 230, 5);
    const float scale = 0.25F;
    const int prompt = 200;
    const auto stays = chosen(text, layout, scale, prompt, 40, 6);
    cairn::cache_words().keep(Loud{});
    const cairn::CacheSpec spec = cairn::CacheSpec::parse("paged=16:f32:loud=40,front=6");
    bool good = true;
    for (const int piece : {200, 17, 1}) {
        good = good && right_rows(cairn::KvCache<cairn::Contiguous<>, Loud>(
                                      layout, 300, {}, {.rows = 40, .front = 6}),
                                  text, layout, scale, prompt, stays, piece);
        good =
            good && right_rows(spec.make(layout, 300), text, layout, scale, prompt, stays, piece);
    }
    // What the prompt's own queries get does not depend on what goes afterwards.
    cairn::AnyCache cache = spec.make(layout, 300);
    cache.expect_prompt(prompt);
    const auto out = extension::through(cache, text, layout, scale, 23);
    const auto wanted =
        extension::naive(text.q.topRows(prompt), text.k.topRows(prompt), text.v.topRows(prompt),
                         layout, scale, [](int, int, int) { return true; });
    return extension::verdict("a keep by score",
                              good && extension::same(out.topRows(prompt), wanted));
}
