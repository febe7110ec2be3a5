// Speculative text is plain text: the same tokens, the same session behind them, whatever the
// cache, the draft, and the way it ends.
#include <stdexcept>

#include <cairn/generate/ngram_draft.hpp>
#include <cairn/generate/session_draft.hpp>
#include <cairn/generate/speculative.hpp>

#include "session_support.hpp"
using namespace support;

namespace {

constexpr int guess_words = 13;
constexpr int guess_capacity = 220;

TinyLlama guessing_model() { return small_llama(guess_words, 400); }
AnySession guessing_session(const TinyLlama& model, const std::string& spec,
                            int capacity = guess_capacity) {
    return session_of(model, CacheSpec::parse(spec), capacity);
}

// Every kind of cache whose rows go by position.
const char* const lossless_kinds[] = {"contiguous:f32",
                                      "mapped:f16",
                                      "paged=16:bf16",
                                      "paged=32:q8_0",
                                      "contiguous:int4",
                                      "contiguous:fp8_e4m3",
                                      "paged=16:k=q4_0+rot,v=q5_1",
                                      "contiguous:kivi4",
                                      "paged=32:kivi2",
                                      "contiguous:quantspec",
                                      "tiered=20:q4_0",
                                      "contiguous,disk=20:f16",
                                      "tiered=20,disk=33:q5_1+rot",
                                      "paged=16:f16:window=30,sinks=4",
                                      "contiguous:q8_0:window=25,sinks=2",
                                      "paged=16:f16+bare",
                                      "mapped:f16+inputs"};

// Guesses at random: some come true in a vocabulary of thirteen.
class RandomDraft final : public Draft {
  public:
    explicit RandomDraft(std::uint64_t seed, int outlook = 0) : random_(seed), outlook_(outlook) {}
    int outlook(Tokens) override { return outlook_; }
    void draft(DraftRound& round) override {
        for (int n = draw(random_, 0, round.left()); n > 0; --n)
            round.guess(static_cast<Token>(random_.below(guess_words)));
        if (fails_ && random_.below(8) == 0) throw std::runtime_error("the draft");
    }
    void fail() { fails_ = true; }

  private:
    Random random_;
    int outlook_;
    bool fails_ = false;
};
// Knows the text beforehand, and errs now and then.
struct Prophet final : Draft {
    std::vector<Token> text;
    int errs = 7;
    void draft(DraftRound& round) override {
        for (std::size_t at = round.text().size(); round.left() > 0 && at < text.size(); ++at)
            round.guess(errs > 0 && at % static_cast<std::size_t>(errs) == 0
                            ? (text[at] + 1) % guess_words
                            : text[at]);
    }
};

std::vector<float> logits_of(const AnySession& session) {
    const auto row = session.logits();
    return {row.begin(), row.end()};
}
// A session that holds `text` and goes on like one that was fed it.
void check_like_plain(AnySession& session, const TinyLlama& model, const std::string& spec,
                      Tokens text, int capacity = guess_capacity) {
    auto twin = guessing_session(model, spec, capacity);
    REQUIRE(session.position() == static_cast<int>(text.size()));
    CHECK(session.capacity() == twin.capacity());
    twin.prefill(text);
    CHECK(same_bits(session.logits(), twin.logits()));
    CHECK(session.payload_bytes() == twin.payload_bytes());
    Random random(99);
    const int room = std::min(40, capacity - session.position());
    if (room == 0) return;
    const auto later = random_tokens(random, room, guess_words);
    std::vector<float> a(later.size() * guess_words), b(a.size());
    session.score(later, a.data());
    twin.score(later, b.data());
    REQUIRE(same_bits(a, b));
}

std::vector<Token> before_last(Tokens prompt, const std::vector<Token>& tokens) {
    std::vector<Token> text(prompt.begin(), prompt.end());
    text.insert(text.end(), tokens.begin(), tokens.end());
    if (!tokens.empty()) text.pop_back();
    return text;
}

// A generation by each draft equals the plain one; how many tokens were compared.
std::size_t compare_drafts(const TinyLlama& model, const std::string& spec, float t, int count,
                           std::uint64_t seed) {
    Random random(seed);
    const auto prompt = random_tokens(random, draw(random, 1, 40), guess_words);
    const Limits limits{.max_tokens = count, .log_probabilities = true};
    auto sampler = penalties(1.1F, 0.1F) | temperature(t) | top_p(0.95F) | cairn::draw(seed);
    auto plain_sampler = sampler;
    auto plain = guessing_session(model, spec);
    const Generation wanted = generate(plain, prompt, plain_sampler, limits);
    const auto whole = before_last(prompt, wanted.tokens);
    Prophet prophet;
    prophet.text = whole;
    RandomDraft guesses(seed);
    NgramDraft ngrams(1, 4);
    SessionDraft<AnySession> same(guessing_session(model, "contiguous:q4_0", 400));
    SessionDraft<AnySession> windowed(
        guessing_session(model, "paged=16:f16:window=20,sinks=2", 400));
    SessionDraft<AnySession> aged(guessing_session(model, "contiguous:kivi2", 90));
    std::size_t compared = 0;
    int accepted = 0;
    for (Draft* draft :
         std::initializer_list<Draft*>{&prophet, &guesses, &ngrams, &same, &windowed, &aged}) {
        const SpeculationSettings settings{
            draw(random, 1, 9), random.below(3) == 0 ? GuessLengths::adaptive : GuessLengths::fixed,
            GuessRule::same_text};
        auto own = sampler;
        auto session = guessing_session(model, spec);
        const auto got = speculate(session, prompt, own, *draft, settings, limits);
        INFO(spec << ", temperature " << t << ", draft " << compared);
        REQUIRE(got.tokens == wanted.tokens);
        CHECK(got.log_probabilities == wanted.log_probabilities);
        CHECK(got.reason == wanted.reason);
        CHECK(own.picker().random().state() == plain_sampler.picker().random().state());
        CHECK(got.rounds + got.steps + got.accepted + 1 == static_cast<int>(got.tokens.size()));
        CHECK(got.accepted <= got.guesses);
        check_like_plain(session, model, spec, whole);
        compared += got.tokens.size();
        accepted += got.accepted;
    }
    CHECK(accepted > 0);
    return compared;
}

}  // namespace

TEST_CASE("speculative text is plain text for every lossless cache and any draft",
          "[speculative]") {
    const auto model = guessing_model();
    std::uint64_t seed = 1;
    for (const char* spec : lossless_kinds) {
        compare_drafts(model, spec, 0.0F, 60, ++seed);
        compare_drafts(model, spec, 1.2F, 90, ++seed);
    }
}

TEST_CASE("a hundred thousand tokens and more", "[.long]") {
    const auto model = guessing_model();
    std::size_t greedy = 0, drawn = 0;
    for (std::uint64_t seed = 1000; greedy < 100000 || drawn < 100000; ++seed)
        for (const char* spec : lossless_kinds) {
            greedy += compare_drafts(model, spec, 0.0F, 150, seed);
            drawn += compare_drafts(model, spec, 1.5F, 150, seed);
        }
    WARN(greedy << " greedy tokens and " << drawn << " drawn ones are the same");
}

TEST_CASE("however a speculative generation ends, the session is as a plain one", "[speculative]") {
    const auto model = guessing_model();
    Random random(3);
    int ends[6] = {};
    for (int script = 0; script < 250; ++script) {
        const std::string spec = lossless_kinds[random.below(std::size(lossless_kinds))];
        const int capacity = draw(random, 30, 90);
        const auto prompt = random_tokens(random, draw(random, 1, 25), guess_words);
        auto sampler = temperature(1.5F) | cairn::draw(random.next());
        auto reference_sampler = sampler;
        auto session = guessing_session(model, spec, capacity);
        RandomDraft guesses(random.next());
        SessionDraft<AnySession> model_draft(guessing_session(model, "contiguous:q4_0", 400));
        Draft* draft = &guesses;
        if (random.below(3) == 0) draft = &model_draft;
        Limits limits{.max_tokens = draw(random, 0, 60)};
        if (random.below(3) == 0) limits.end_of_text = {static_cast<Token>(random.below(13))};
        std::stop_source stop;
        session.context().cancel = stop.get_token();
        const int event = static_cast<int>(random.below(7));
        const int when = draw(random, 1, 30);
        int handed = 0, layers = 0;
        if (event == 3) guesses.fail();
        if (event >= 4)
            session.context().after_layer = [&](int) {
                if (++layers != 2 * when) return;
                if (event == 4) throw std::runtime_error("the hook");
                if (event == 5) throw std::bad_alloc();
                stop.request_stop();
            };
        std::vector<Token> seen;
        const auto on_token = [&](Token token) {
            seen.push_back(token);
            if (++handed != when) return true;
            if (event == 1) stop.request_stop();
            if (event == 2) throw std::runtime_error("the callback");
            return event != 0;
        };
        SpeculationSettings settings{draw(random, 1, 8), GuessLengths::fixed};
        if (random.below(4) == 0) settings.lengths = GuessLengths::adaptive;
        if (random.below(4) == 0) settings.rule = GuessRule::same_law;
        bool threw = false;
        std::optional<StopReason> reason;
        try {
            const auto got =
                speculate(session, prompt, sampler, *draft, settings, limits, on_token);
            CHECK(got.tokens == seen);
            reason = got.reason;
        } catch (const std::runtime_error&) {
            threw = true;
        } catch (const std::bad_alloc&) {
            threw = true;
        }
        session.context().after_layer = nullptr;
        session.context().cancel = {};
        INFO("script " << script << ", " << spec << ", event " << event << " at " << when);
        ++ends[threw ? 5 : static_cast<int>(*reason)];
        // A prompt that failed or was cut left less; everything else all tokens but the last.
        if (seen.empty()) continue;
        check_like_plain(session, model, spec, before_last(prompt, seen), capacity);
        if (settings.rule == GuessRule::same_law) continue;
        // The plain text begins like this one, and its sampler has drawn as often by then.
        const bool cut = threw || reason == StopReason::stop || reason == StopReason::cancelled;
        auto plain = guessing_session(model, spec, capacity);
        std::size_t count = 0;
        const auto wanted = generate(plain, prompt, reference_sampler, limits,
                                     [&](Token) { return ++count < seen.size() || !cut; });
        CHECK(wanted.tokens == seen);
        CHECK(reference_sampler.picker().random().state() == sampler.picker().random().state());
        if (!cut) CHECK(wanted.reason == *reason);
    }
    for (const int count : ends) CHECK(count > 0);
}

TEST_CASE("where a pool of blocks has too few for guesses, steps go on", "[speculative]") {
    const auto model = guessing_model();
    const std::string spec = "paged=16,blocks=8:f16";  // two layers: 64 tokens
    const std::vector<Token> prompt{1, 2, 3};
    const auto run = [&](auto generation, std::vector<Token>& seen) {
        auto session = guessing_session(model, spec);
        auto sampler = temperature(1.2F) | cairn::draw(3);
        const auto on_token = [&](Token token) { seen.push_back(token); };
        CHECK(code_of([&] { generation(session, sampler, on_token); }) == ErrorCode::capacity);
        CHECK(session.position() == static_cast<int>(prompt.size() + seen.size()) - 1);
        CHECK(!session.logits().empty());
        return logits_of(session);
    };
    std::vector<Token> plain, guessed;
    const Limits limits{.max_tokens = 200};
    const auto a =
        run([&](auto& s, auto& p, auto& f) { generate(s, prompt, p, limits, f); }, plain);
    RandomDraft draft(4);
    const auto b =
        run([&](auto& s, auto& p,
                auto& f) { speculate(s, prompt, p, draft, {7, GuessLengths::fixed}, limits, f); },
            guessed);
    CHECK(plain == guessed);
    CHECK(plain.size() > 20);
    CHECK(same_bits(a, b));
}

TEST_CASE("a session that goes on, hooks and stop tokens see the text as without a draft",
          "[speculative]") {
    const auto model = guessing_model();
    const std::string spec = "paged=16:f16";
    std::vector<std::vector<Token>> seen[2];
    std::vector<Token> texts[2];
    for (const int with : {0, 1}) {
        auto session = guessing_session(model, spec);
        auto sampler = penalties(1.4F) | temperature(1.0F) | cairn::draw(8);
        RandomDraft draft(5);
        Limits limits{.max_tokens = 25};
        limits.on_logits = [&](std::span<float> logits, Tokens so_far) {
            seen[with].emplace_back(so_far.begin(), so_far.end());
            logits[so_far.size() % guess_words] += 2.0F;
        };
        std::vector<Token> text{3, 1, 4};
        std::vector<Token> feed = text;
        for (int part = 0; part < 3; ++part) {
            const Generation got =
                with ? speculate(session, feed, sampler, draft, {4, GuessLengths::fixed}, limits)
                     : generate(session, feed, sampler, limits);
            text.insert(text.end(), got.tokens.begin(), got.tokens.end());
            limits.history = text;
            limits.history.pop_back();
            feed = {text.back()};
            limits.resumed = 1;
        }
        texts[with] = text;
        // Nothing left to feed: the logits of the last token are there.
        limits.history = text;
        session.decode(text.back());
        const Generation more =
            with ? speculate(session, {}, sampler, draft, {4, GuessLengths::fixed}, limits)
                 : generate(session, {}, sampler, limits);
        texts[with].insert(texts[with].end(), more.tokens.begin(), more.tokens.end());
    }
    CHECK(texts[0] == texts[1]);
    CHECK(seen[0] == seen[1]);
}

TEST_CASE("what cannot speculate is refused before any work", "[speculative]") {
    const auto model = guessing_model();
    auto session = guessing_session(model, "contiguous:f32");
    auto sampler = temperature(1.0F) | cairn::draw(1);
    RandomDraft draft(1);
    const std::vector<Token> prompt{1, 2};
    const auto code = [&](AnySession& s, Tokens p, SpeculationSettings settings, Limits limits) {
        return code_of([&] { speculate(s, p, sampler, draft, settings, limits); });
    };
    CHECK(code(session, prompt, {0}, {}) == ErrorCode::invalid_argument);
    CHECK(code(session, {}, {}, {}) == ErrorCode::empty_prompt);
    CHECK(code(session, std::vector<Token>{13}, {}, {}) == ErrorCode::token_range);
    CHECK(code(session, prompt, {}, {.max_tokens = -1}) == ErrorCode::invalid_argument);
    CHECK(code(session, prompt, {}, {.caching = Caching::recompute}) ==
          ErrorCode::invalid_argument);
    auto scored = guessing_session(model, "contiguous:f32:h2o=24,recent=8");
    CHECK(code(scored, prompt, {}, {}) == ErrorCode::unsupported);
    CHECK(session.position() + scored.position() == 0);
    // A sampler that shows no law.
    const auto first = [](std::span<const float>, Tokens) { return Token{1}; };
    CHECK(code_of([&] {
              speculate(session, prompt, first, draft,
                        {4, GuessLengths::fixed, GuessRule::same_law}, {});
          }) == ErrorCode::unsupported);
    CHECK(speculate(session, prompt, first, draft, {}, {.max_tokens = 20}).tokens ==
          std::vector<Token>(20, 1));
    // Drafts of another model, with tokens there are not, or too many.
    struct Wrong final : Draft {
        int how;
        explicit Wrong(int which) : how(which) {}
        void draft(DraftRound& round) override {
            if (how == 0) round.pick(std::vector<float>(5));
            if (how == 1) round.guess(guess_words);
            while (how == 2) round.guess(1);
        }
    };
    for (const auto& [how, wanted] : {std::pair{0, ErrorCode::model_mismatch},
                                      {1, ErrorCode::token_range},
                                      {2, ErrorCode::invalid_argument}}) {
        Wrong wrong(how);
        session.clear();
        CHECK(code_of([&] {
                  speculate(session, prompt, sampler, wrong, {4, GuessLengths::fixed}, {});
              }) == wanted);
        check_like_plain(session, model, "contiguous:f32", prompt);
        session.clear();
    }
    session.clear();
    CHECK(code_of([&] {
              SessionDraft<AnySession> used([&] {
                  auto s = guessing_session(model, "contiguous:f32");
                  s.decode(1);
                  return s;
              }());
          }) == ErrorCode::invalid_argument);
}

TEST_CASE("n-grams are found where they stood last, the longest first", "[speculative]") {
    NgramDraft draft(2, 4);
    CHECK(draft.outlook(std::vector<Token>{1, 2, 3}) < 0);
    CHECK(draft.outlook(std::vector<Token>{1, 2, 3, 1, 2}) == 0);
    CHECK(draft.outlook(std::vector<Token>{5, 1, 2, 3, 8, 1, 2, 3}) == 1);
    CHECK(draft.outlook(std::vector<Token>{7, 5, 1, 2, 3, 8, 5, 1, 2, 3}) == 2);
    CHECK(draft.outlook(std::vector<Token>{}) < 0);
    CHECK(code_of([] { NgramDraft(0, 2); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { NgramDraft(3, 2); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { NgramDraft(1, 9); }) == ErrorCode::invalid_argument);
    // Against a search from the end, over texts that grow and change.
    Random random(6);
    for (int text_number = 0; text_number < 30; ++text_number) {
        std::vector<Token> text;
        const int words = draw(random, 1, 6);
        for (int i = 0; i < 300; ++i) {
            text.push_back(static_cast<Token>(random.below(static_cast<std::uint64_t>(words))));
            int wanted = -1;
            for (int n = 4; n >= 2 && wanted < 0; --n)
                for (int end = i; end >= n && wanted < 0; --end)
                    if (i + 1 >= n &&
                        std::equal(text.end() - n, text.end(), text.begin() + end - n))
                        wanted = n - 2;
            REQUIRE(draft.outlook(text) == wanted);
        }
    }
}
