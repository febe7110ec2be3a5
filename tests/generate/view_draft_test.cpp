// QuantSpec: a draft reads the upper plane of the target's own cache, with its weights or cheaper
// ones, and leaves no trace.
#include <stdexcept>

#include <cairn/cache/codec/quant_spec.hpp>
#include <cairn/generate/speculative.hpp>
#include <cairn/generate/view_draft.hpp>

#include "session_support.hpp"
using namespace support;

namespace {

constexpr int view_words = 13;
using ViewSession = Session<TinyLlama, AnyCache>;

TinyLlama view_model() { return small_llama(view_words, 700); }
// Old rows in two planes behind 32 to 64 recent ones.
ViewSession planes_session(const TinyLlama& model, int capacity = 700) {
    return ViewSession(model, capacity, Serial::instance(),
                       [](int, const HeadLayout& layout, int rows) {
                           return AnyCache(KvCache<Contiguous<QuantSpec<32>>>(layout, rows));
                       });
}
// Rows in planes must be committed ones, at every draft and every check.
struct WatchedDraft final : Draft {
    Draft& inner;
    ViewSession& session;
    int flushes = 0, most_planes = 0;
    WatchedDraft(Draft& d, ViewSession& s) : inner(d), session(s) {}
    int planes() {
        internal::OwnRuns runs(session.layer_cache(0).most_runs());
        session.layer_cache(0).runs(0, runs.keys, runs.values);
        int end = 0;
        for (const Run& run : runs.keys)
            if (run.codec->name == "quantspec") end = std::max(end, run.end);
        return end;
    }
    void draft(DraftRound& round) override {
        const int before = planes();
        CHECK(before <= std::max(0, (session.position() / 32 - 1) * 32));
        flushes += before > most_planes;
        most_planes = std::max(most_planes, before);
        inner.draft(round);
        CHECK(planes() <= session.position());
    }
};

std::vector<Token> fed_text(Tokens prompt, const std::vector<Token>& tokens) {
    std::vector<Token> text(prompt.begin(), prompt.end());
    text.insert(text.end(), tokens.begin(), tokens.end() - 1);
    return text;
}
void check_as_plain(ViewSession& session, const TinyLlama& model, Tokens text) {
    auto twin = planes_session(model);
    twin.prefill(text);
    REQUIRE(session.position() == twin.position());
    CHECK(same_bits(session.logits(), twin.logits()));
    Random random(4);
    const auto later = random_tokens(random, std::min(80, 700 - session.position()), view_words);
    std::vector<float> a(later.size() * view_words), b(a.size());
    session.score(later, a.data());
    twin.score(later, b.data());
    CHECK(same_bits(a, b));
}

}  // namespace

TEST_CASE("QuantSpec over 512 tokens and its flushes is plain decoding over the same cache",
          "[quant_spec][speculative]") {
    const auto model = view_model();
    const auto other = small_llama(view_words, 700, 9);
    const std::vector<Token> prompt{1, 2, 3, 4, 5, 6, 7};
    for (const float t : {0.0F, 1.5F})
        for (const bool cheaper : {false, true}) {
            auto sampler = temperature(t) | cairn::draw(5);
            auto own = sampler;
            auto plain = planes_session(model);
            const auto wanted = generate(plain, prompt, sampler, {.max_tokens = 512});
            auto session = planes_session(model);
            ViewDraft<ViewSession, TinyLlama> view(session, cheaper ? other : model);
            WatchedDraft draft(view, session);
            const auto got = speculate(session, prompt, own, draft, {5, GuessLengths::fixed},
                                       {.max_tokens = 512});
            INFO("temperature " << t << ", other weights " << cheaper << ", acceptance "
                                << got.acceptance());
            CHECK(got.tokens == wanted.tokens);
            CHECK(draft.flushes >= 4);
            CHECK(got.accepted > 0);
            if (!cheaper) CHECK(got.acceptance() > 0.7);
            check_as_plain(session, model, fed_text(prompt, got.tokens));
        }
}

TEST_CASE("a view draft that fails, is cancelled or runs into the end leaves no trace",
          "[quant_spec][speculative]") {
    const auto model = view_model();
    Random random(6);
    for (int script = 0; script < 60; ++script) {
        const int capacity = draw(random, 60, 200);
        auto session = planes_session(model, capacity);
        ViewDraft<ViewSession, TinyLlama> view(session, model);
        const auto prompt = random_tokens(random, draw(random, 1, 50), view_words);
        auto sampler = temperature(1.0F) | cairn::draw(random.next());
        std::stop_source stop;
        session.context().cancel = stop.get_token();
        int layers = 0;
        const int event = draw(random, 0, 2), when = draw(random, 1, 60);
        view.context().after_layer = [&](int) {
            if (++layers != when || event == 0) return;
            if (event == 1) throw std::runtime_error("the draft");
            stop.request_stop();
        };
        std::vector<Token> seen;
        try {
            speculate(session, prompt, sampler, view, {draw(random, 1, 8), GuessLengths::fixed},
                      {.max_tokens = 300}, [&](Token token) { seen.push_back(token); });
        } catch (const std::runtime_error&) {
        }
        session.context().cancel = {};
        INFO("script " << script << ", event " << event);
        REQUIRE(!seen.empty());
        const auto text = fed_text(prompt, seen);
        REQUIRE(session.position() == static_cast<int>(text.size()));
        for (int layer = 0; layer < model.layers(); ++layer)
            CHECK(session.layer_cache(layer).length() == session.position());
        auto twin = planes_session(model, capacity);
        twin.prefill(text);
        CHECK(same_bits(session.logits(), twin.logits()));
        if (session.position() < capacity) CHECK(same_bits(session.decode(1), twin.decode(1)));
    }
}

TEST_CASE("a view draft wants a model of the same shapes", "[quant_spec][speculative]") {
    const auto model = view_model();
    auto session = planes_session(model);
    const auto code = [&](const TinyLlama& other) {
        return code_of([&] { ViewDraft<ViewSession, TinyLlama> draft(session, other); });
    };
    CHECK(code(small_llama(14, 700)) == ErrorCode::model_mismatch);
    Random random(9);
    LlamaShape shape;
    shape.layout = {2, 2, 16, 16};
    shape.vocabulary = view_words;
    CHECK(code(random_llama<RotaryHalf>(random, shape)) == ErrorCode::model_mismatch);
    // Over rows without a coarse view it reads what the target reads: every greedy guess is right.
    auto plain = session_of(model, CacheSpec::parse("paged=16:f16"), 200);
    ViewDraft<AnySession, TinyLlama> draft(plain, model);
    Greedy greedy;
    const auto got = speculate(plain, std::vector<Token>{1}, greedy, draft,
                               {4, GuessLengths::fixed}, {.max_tokens = 100});
    CHECK(got.accepted == got.guesses);
}
