#include <cairn/generate/draft_length.hpp>

#include "support.hpp"
using namespace support;

namespace {

// A machine whose rounds of k guesses take draft * k + 1 + jump + row * k steps, with some noise.
struct Machine {
    double draft, row, jump = 0.0, noise = 0.03;
};
// What a text of `tokens` took, in steps of one token without a draft, and its rounds.
struct Account {
    double seconds = 0.0;
    int rounds = 0;
};
template <class ComesTrue, class Looks>
Account simulate(const Machine& m, int tokens, ComesTrue comes_true, Looks looks,
                 std::uint64_t seed = 1) {
    Random random(seed);
    const auto noisy = [&](double x) {
        return x * (1.0 + m.noise * (2.0 * random.uniform() - 1.0));
    };
    DraftLength length(8, tokens);
    Account result;
    for (int done = 0; done < tokens;) {
        const int outlook = looks(done);
        const int k = length.next(outlook, tokens - done - 1);
        REQUIRE(k >= 0);
        REQUIRE(k <= std::max(0, std::min(8, tokens - done - 1)));
        if (k == 0) {
            const double step = noisy(1.0);
            length.step(step, 0.0);
            result.seconds += step;
            ++done;
            continue;
        }
        int accepted = 0;
        while (accepted < k && comes_true(random, done + accepted)) ++accepted;
        const double draft = noisy(m.draft * k), check = noisy(1.0 + m.jump + m.row * k);
        length.round(outlook, k, accepted, draft, check, 0.0);
        result.seconds += draft + check;
        ++result.rounds;
        done += accepted + 1;
    }
    return result;
}
int plain(int) { return 0; }

}  // namespace

TEST_CASE("a text on which no guess comes true takes at most 2 % longer", "[draft_length]") {
    for (const double draft : {0.0, 0.1, 0.5, 0.9})
        for (const double row : {0.0, 0.1, 0.3, 1.0})
            for (const double jump : {0.0, 0.5, 1.1})
                for (const int tokens : {20, 100, 300, 3000}) {
                    const auto never = [](Random&, int) { return false; };
                    const Account cost = simulate({draft, row, jump}, tokens, never, plain);
                    INFO("draft " << draft << ", row " << row << ", jump " << jump << ", " << tokens
                                  << " tokens: " << cost.seconds << ", " << cost.rounds
                                  << " rounds");
                    // The first try may cost more than thought: a guess or a row of a step each.
                    const double surprise = std::max(0.0, 2.0 * (draft + row + jump - 1.0));
                    CHECK(cost.seconds <= tokens / 0.98 + surprise);
                    // Nor when the draft says otherwise each time.
                    const Account lies = simulate({draft, row, jump}, tokens, never,
                                                  [](int at) { return at % Draft::outlooks; });
                    CHECK(lies.seconds <= tokens / 0.98 + surprise);
                }
}

TEST_CASE("a text that changes to fool the lengths takes at most 2 % longer", "[draft_length]") {
    // Guesses come true until they are made at length, then no more for a while.
    for (const int period : {3, 10, 40, 200})
        for (const double row : {0.1, 0.3, 0.8})
            for (const double jump : {0.0, 1.1}) {
                const auto fickle = [&](Random&, int at) { return at / period % 2 == 0; };
                const auto random = [&](Random& r, int) { return r.uniform() < 0.35; };
                for (const int tokens : {200, 2000}) {
                    INFO("period " << period << ", row " << row << ", jump " << jump);
                    CHECK(simulate({0.05, row, jump}, tokens, fickle, plain).seconds <=
                          tokens / 0.98);
                    CHECK(simulate({0.3, row, jump}, tokens, random, plain).seconds <=
                          tokens / 0.98);
                }
            }
}

TEST_CASE("guesses that come true are made, as many as pay", "[draft_length]") {
    const auto mostly = [](Random& r, int) { return r.uniform() < 0.9; };
    const auto fast = [&](double draft, double row, double jump) {
        return 4000.0 / simulate({draft, row, jump}, 4000, mostly, plain).seconds;
    };
    CHECK(fast(0.0, 0.1, 0.0) > 3.0);   // of 3.4 at 8 guesses
    CHECK(fast(0.0, 0.4, 0.0) > 1.5);   // of 1.65 at 4
    CHECK(fast(0.0, 0.15, 1.1) > 1.3);  // of 1.86 at 8, though one guess never pays
    CHECK(fast(0.3, 0.1, 0.0) > 1.5);
    CHECK(fast(0.0, 1.0, 0.0) > 0.98);  // a row costs a step: nothing to gain
    // A short text too.
    const double brief = simulate({0.0, 0.15, 1.1}, 128, mostly, plain, 2).seconds;
    CHECK(128.0 / brief > 1.3);
    // After a long text without luck, luck is noticed.
    const auto late = [](Random& r, int at) { return at > 1500 && r.uniform() < 0.95; };
    CHECK(4000.0 / simulate({0.0, 0.15}, 4000, late, plain).seconds > 1.5);
    // One outlook is bad and another good: only the good one is followed.
    const auto good = [](Random&, int at) { return at % 40 >= 20; };
    const auto looks = [](int at) { return at % 40 >= 20 ? 4 : 0; };
    CHECK(4000.0 / simulate({0.0, 0.1}, 4000, good, looks).seconds > 1.3);
}

TEST_CASE("no guesses before a step was measured, without an outlook, without room",
          "[draft_length]") {
    DraftLength length(4, 1000);
    CHECK(length.next(0, 4) == 0);
    length.step(1.0, 0.0);
    CHECK(length.next(0, 4) > 0);
    CHECK(length.next(0, 1) == 1);
    CHECK(length.next(0, 0) == 0);
    CHECK(length.next(0, -3) == 0);
    CHECK(length.next(-1, 4) == 0);
    CHECK(code_of([] { (void)DraftLength(0, 9); }) == ErrorCode::invalid_argument);
}
