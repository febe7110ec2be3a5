// A sampler step from outside: no sequence of N tokens is written twice. One file, a setting of its
// own, joined with the library's steps, and handed to generate.
#include <cstdio>
#include <set>

#include <cairn/cairn.hpp>

namespace {

// Drops what would complete N tokens that the text has already, one after the other.
struct NoRepeat {
    std::size_t n = 3;

    void apply(cairn::Candidates& candidates, cairn::Tokens history) const {
        if (history.size() + 1 < n) return;
        const cairn::Tokens last = history.last(n - 1);
        for (std::size_t at = 0; at + n <= history.size(); ++at) {
            if (!std::equal(last.begin(), last.end(), history.begin() + static_cast<long>(at)))
                continue;
            std::erase_if(candidates.list, [&](const cairn::Candidate& c) {
                return c.id == history[at + n - 1] && candidates.list.size() > 1;
            });
        }
    }
};
static_assert(cairn::SamplerStep<NoRepeat>);

// The definition, token by token: the best one by its logit that repeats nothing.
cairn::Token naive(std::span<const float> logits, const std::vector<cairn::Token>& text,
                   std::size_t n) {
    std::set<std::vector<cairn::Token>> written;
    for (std::size_t at = 0; at + n <= text.size(); ++at)
        written.emplace(text.begin() + static_cast<long>(at),
                        text.begin() + static_cast<long>(at + n));
    cairn::Token best = -1;
    for (int id = 0; id < static_cast<int>(logits.size()); ++id) {
        std::vector<cairn::Token> next(text.end() - static_cast<long>(n - 1), text.end());
        next.push_back(id);
        if (written.contains(next)) continue;
        if (best < 0 ||
            logits[static_cast<std::size_t>(id)] > logits[static_cast<std::size_t>(best)])
            best = id;
    }
    return best;
}
bool repeats(const std::vector<cairn::Token>& text, std::size_t n) {
    std::set<std::vector<cairn::Token>> written;
    for (std::size_t at = 0; at + n <= text.size(); ++at)
        if (!written
                 .emplace(text.begin() + static_cast<long>(at),
                          text.begin() + static_cast<long>(at + n))
                 .second)
            return true;
    return false;
}

}  // namespace

int main() {
    const auto model = cairn::TinyGpt::random(
        {.layers = 2, .heads = 2, .width = 32, .vocab = 12, .context = 256}, 3);
    const std::vector<cairn::Token> prompt{1, 2, 3};
    // Without the step the text runs in a circle; with it, as the definition says.
    auto plain = model.session(200);
    cairn::Greedy greedy;
    std::vector<cairn::Token> circle = prompt;
    const auto repeated = cairn::generate(plain, prompt, greedy, {.max_tokens = 120});
    circle.insert(circle.end(), repeated.tokens.begin(), repeated.tokens.end());

    auto session = model.session(200);
    auto sampler = cairn::Temperature{0.7} | NoRepeat{2} | cairn::greedy();
    const auto got = cairn::generate(session, prompt, sampler, {.max_tokens = 100});
    auto again = model.session(200);
    std::vector<cairn::Token> wanted = prompt;
    auto logits = again.prefill(prompt);
    while (wanted.size() < prompt.size() + got.tokens.size()) {
        wanted.push_back(naive(logits, wanted, 2));
        logits = again.decode(wanted.back());
    }
    std::vector<cairn::Token> text = prompt;
    text.insert(text.end(), got.tokens.begin(), got.tokens.end());
    const bool good =
        repeats(circle, 2) && !repeats(text, 2) && got.tokens.size() == 100 && text == wanted;
    std::printf("a sampler step: %s\n", good ? "the same tokens" : "DIFFERENT");
    return good ? 0 : 1;
}
