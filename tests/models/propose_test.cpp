// A forward as a transaction: what is accepted is what a prompt of these tokens would have left,
// and nothing else leaves a trace. By memcmp, for every kind of cache whose rows go by position.
#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>

#include <cairn/cache/store/spilled.hpp>

#include "session_support.hpp"
using namespace support;

namespace {

constexpr int proposal_capacity = 200;
constexpr int proposal_words = 13;

TinyLlama proposal_model() { return small_llama(proposal_words, proposal_capacity); }
AnySession proposal_session(const TinyLlama& model, const char* spec) {
    return session_of(model, CacheSpec::parse(spec), proposal_capacity);
}

// Stores, forms, ages and keeps by position.
const char* const positional[] = {"contiguous:f32",
                                  "mapped:f16",
                                  "paged=16:bf16",
                                  "paged=32:q8_0",
                                  "contiguous:int4",
                                  "contiguous:fp8_e4m3",
                                  "paged=16:k=q4_0+rot,v=q5_1",
                                  "contiguous:kivi4",
                                  "paged=32:kivi2",
                                  "paged=32:quantspec",
                                  "tiered=20:q4_0",
                                  "tiered=3:f16",
                                  "contiguous,disk=20:f16",
                                  "tiered=20,disk=33:q5_1+rot",
                                  "paged=16:f16:window=30,sinks=4",
                                  "contiguous:q8_0:window=25,sinks=2",
                                  "mapped:f32:window=20,sinks=0",
                                  "paged=16:f16+bare",
                                  "contiguous:q4_0+rot+bare",
                                  "mapped:f16+inputs",
                                  "tiered=20:q8_0+inputs",
                                  "paged=16:k=f16+inputs,v=q8_0"};
const char* const by_score[] = {"contiguous:f32:h2o=24,recent=8", "paged=16:f16:snapkv=24",
                                "mapped:f32:nacl=20", "contiguous:f16:hashevict=24"};

// Logits of every row, [tokens][vocabulary], of a session that is fed `tokens` from its start.
std::vector<float> replay(const TinyLlama& model, const char* spec, Tokens tokens) {
    auto session = proposal_session(model, spec);
    std::vector<float> logits(tokens.size() * proposal_words);
    session.score(tokens, logits.data());
    return logits;
}
std::vector<float> scored(AnySession& session, Tokens tokens) {
    std::vector<float> logits(tokens.size() * proposal_words);
    session.score(tokens, logits.data());
    return logits;
}
std::vector<Token> joined(Tokens a, Tokens b) {
    std::vector<Token> both(a.begin(), a.end());
    both.insert(both.end(), b.begin(), b.end());
    return both;
}
std::span<const float> rows_of(const std::vector<float>& logits, std::size_t from,
                               std::size_t count) {
    return std::span(logits).subspan(from * proposal_words, count * proposal_words);
}

}  // namespace

TEST_CASE("accepting n of five rows is a prompt of n, for every cache by position", "[forward]") {
    const auto model = proposal_model();
    Random random(7);
    const auto prompt = random_tokens(random, 61, proposal_words);
    const auto draft = random_tokens(random, 5, proposal_words);
    const auto later = random_tokens(random, 70, proposal_words);
    for (const char* spec : positional) {
        const auto all = replay(model, spec, joined(prompt, draft));
        for (const int kept : {0, 1, 3, 5, -1}) {  // -1: dropped without a word
            INFO(spec << ", " << kept << " of 5");
            auto session = proposal_session(model, spec);
            session.prefill(prompt);
            std::vector<float> logits(5 * proposal_words);
            {
                Forward open = session.propose(draft, logits.data());
                CHECK(open.slices() == 1);
                CHECK(same_bits(logits, rows_of(all, prompt.size(), 5)));
                CHECK(session.position() == 61);
                if (kept >= 0) open.accept(kept);
                CHECK(session.position() == 61 + std::max(kept, 0));
            }
            const auto stay = Tokens(draft).first(static_cast<std::size_t>(std::max(kept, 0)));
            const auto text = joined(prompt, stay);
            REQUIRE(session.position() == static_cast<int>(text.size()));
            CHECK(session.logits().empty() == (kept > 0));
            for (int layer = 0; layer < model.layers(); ++layer)
                CHECK(session.layer_cache(layer).length() == session.position());
            auto twin = proposal_session(model, spec);
            twin.prefill(text);
            CHECK(session.payload_bytes() == twin.payload_bytes());
            const auto wanted = replay(model, spec, joined(text, later));
            auto branch = session.fork();
            REQUIRE(same_bits(scored(session, later), rows_of(wanted, text.size(), later.size())));
            REQUIRE(same_bits(scored(branch, later), rows_of(wanted, text.size(), later.size())));
        }
    }
}

TEST_CASE("a keep by score refuses to be accepted in part, before any work", "[forward]") {
    const auto model = proposal_model();
    Random random(8);
    const auto prompt = random_tokens(random, 40, proposal_words);
    for (const char* spec : by_score) {
        INFO(spec);
        auto session = proposal_session(model, spec);
        session.expect_prompt(prompt.size());
        session.prefill(prompt);
        const std::vector<Token> next{3};
        std::vector<float> logits(proposal_words, -7.0F);
        int layers = 0;
        session.context().after_layer = [&](int) { ++layers; };
        try {
            session.propose(next, logits.data()).accept_all();
            FAIL("accepted");
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::unsupported);
            CHECK(std::string(error.what()).find("layer 0 chooses rows by score") !=
                  std::string::npos);
        }
        CHECK(layers == 0);
        CHECK(logits == std::vector<float>(proposal_words, -7.0F));
        // Whole slices are another matter: they stay, or they leave no trace.
        auto twin = session.copy();
        const Slice slice{&session, next, LogitRows::last, logits.data(), nullptr};
        Context context;
        { const Forward dropped = forward(model, {&slice, 1}, context); }
        CHECK(session.position() == 40);
        forward(model, {&slice, 1}, context).accept(0, 1);
        CHECK(same_bits(logits, twin.decode(3)));
        CHECK(same_bits(session.decode(4), twin.decode(4)));
    }
}

TEST_CASE("misuse of an open forward is one typed error and changes nothing", "[forward]") {
    const auto model = proposal_model();
    auto a = proposal_session(model, "paged=16:f16"), b = proposal_session(model, "contiguous:f32");
    const std::vector<Token> tokens{1, 2, 3, 4, 5};
    std::vector<float> logits(10 * proposal_words);
    const Slice slices[] = {
        {&a, tokens, LogitRows::all, logits.data(), nullptr, Acceptance::in_part},
        {&b, tokens, LogitRows::all, logits.data() + 5 * proposal_words, nullptr}};
    Context context;
    Forward open = forward(model, slices, context);
    const auto code = [&](std::size_t slice, int rows) {
        return code_of([&] { open.accept(slice, rows); });
    };
    CHECK(code(2, 1) == ErrorCode::invalid_argument);
    CHECK(code(0, -1) == ErrorCode::invalid_argument);
    CHECK(code(0, 6) == ErrorCode::invalid_argument);
    CHECK(code(1, 3) == ErrorCode::invalid_argument);  // whole or not at all
    CHECK(code_of([&] { open.accept(3); }) == ErrorCode::invalid_argument);
    CHECK(a.position() + b.position() == 0);
    open.accept(0, 3);
    CHECK(code(0, 3) == ErrorCode::bad_state);
    CHECK(code(0, 0) == ErrorCode::bad_state);
    CHECK(a.position() == 3);
    CHECK(a.layer_cache(1).length() == 3);
    Forward moved = std::move(open);
    CHECK(code(0, 1) == ErrorCode::invalid_argument);
    CHECK(open.slices() == 0);
    open.accept_all();
    moved.accept(1, 0);
    CHECK(code_of([&] { moved.accept(1, 5); }) == ErrorCode::bad_state);
    moved.accept_all();
    CHECK(a.position() == 3);
    CHECK(b.position() == 0);
}

TEST_CASE("an open forward keeps its sessions in use, and the context is free", "[forward]") {
    const auto model = proposal_model();
    Random random(9);
    const auto prompt = random_tokens(random, 30, proposal_words);
    const auto draft = random_tokens(random, 4, proposal_words);
    auto session = proposal_session(model, "paged=16:f16");
    auto other = proposal_session(model, "paged=16:f16");
    session.prefill(prompt);
    const auto wanted = replay(model, "paged=16:f16", joined(prompt, draft));
    auto before = session.fork();
    std::vector<float> logits(4 * proposal_words);
    std::optional<Forward> open(session.propose(draft, logits.data()));
    const auto busy = [&](auto call) { CHECK(code_of(call) == ErrorCode::concurrent_use); };
    busy([&] { session.decode(1); });
    busy([&] { session.truncate(3); });
    busy([&] { session.propose(draft, logits.data()).accept(1); });
    busy([&] { session.expect_prompt(4); });
    busy([&] { const auto hold = session.exclusive(); });
    const Slice twice{&session, draft, LogitRows::none, nullptr, nullptr};
    busy([&] { forward(model, {&twice, 1}, session.context()).accept_all(); });
    std::thread([&] {
        busy([&] { session.decode(1); });
        busy([&] { session.fork(); });
        busy([&] { session.cache_bytes(); });
        CHECK(session.logits().empty());
    }).join();
    // Who opened it may read; a branch is of what stays.
    CHECK(session.logits().size() == proposal_words);
    auto during = session.fork();
    auto copied = session.copy();
    CHECK(during.position() == 30);
    // The scratch of the context serves others.
    const Slice another{&other, prompt, LogitRows::none, nullptr, nullptr};
    forward(model, {&another, 1}, session.context()).accept_all();
    // Any thread may settle it.
    std::thread([&] { open->accept(2), open.reset(); }).join();
    CHECK(session.position() == 32);
    auto after = session.fork();
    for (AnySession* s : {&before, &during, &copied, &other}) {
        CHECK(s->position() == 30);
        CHECK(same_bits(scored(*s, draft), rows_of(wanted, 30, 4)));
    }
    const auto rest = Tokens(draft).subspan(2);
    CHECK(same_bits(scored(session, rest), rows_of(wanted, 32, 2)));
    CHECK(same_bits(scored(after, rest), rows_of(wanted, 32, 2)));
}

TEST_CASE("exceptions between a forward and its verdict roll it back", "[forward]") {
    const auto model = proposal_model();
    Random random(10);
    const auto prompt = random_tokens(random, 30, proposal_words);
    const auto draft = random_tokens(random, 6, proposal_words);
    for (const char* spec : {"contiguous:f32", "paged=16:f16:window=20,sinks=2", "tiered=8:q4_0"}) {
        auto session = proposal_session(model, spec);
        session.prefill(prompt);
        const auto last = std::vector<float>(session.logits().begin(), session.logits().end());
        std::vector<float> logits(6 * proposal_words, -7.0F);
        CHECK_THROWS_AS(
            [&] {
                Forward open = session.propose(draft, logits.data());
                throw std::runtime_error("between");
            }(),
            std::runtime_error);
        CHECK(same_bits(session.logits(), last));
        std::fill(logits.begin(), logits.end(), -7.0F);
        session.context().after_layer = [](int) { throw std::runtime_error("within"); };
        CHECK_THROWS_AS(session.propose(draft, logits.data()).accept_all(), std::runtime_error);
        session.context().after_layer = nullptr;
        std::stop_source stop;
        stop.request_stop();
        session.context().cancel = stop.get_token();
        CHECK(code_of([&] { session.propose(draft, logits.data()).accept_all(); }) ==
              ErrorCode::cancelled);
        session.context().cancel = {};
        CHECK(code_of([&] { session.propose({}, logits.data()).accept_all(); }) ==
              ErrorCode::empty_prompt);
        // More than the cache or the context takes at once.
        for (const int rows :
             {std::min(session.max_rows(), proposal_capacity - 30) + 1, proposal_capacity - 29}) {
            const auto many = random_tokens(random, rows, proposal_words);
            std::vector<float> room(many.size() * proposal_words);
            CHECK(code_of([&] { session.propose(many, room.data()).accept_all(); }) ==
                  ErrorCode::capacity);
        }
        CHECK(logits == std::vector<float>(logits.size(), -7.0F));
        CHECK(session.position() == 30);
        CHECK(same_bits(scored(session, draft),
                        rows_of(replay(model, spec, joined(prompt, draft)), 30, 6)));
    }
}

TEST_CASE("a session that moves while its forward is open loses what waits", "[forward]") {
    const auto model = proposal_model();
    const std::vector<Token> prompt{1, 2, 3}, draft{4, 5};
    const auto wanted = replay(model, "paged=16:f32", joined(prompt, draft));
    std::vector<float> logits(2 * proposal_words);
    auto from = proposal_session(model, "paged=16:f32");
    from.prefill(prompt);
    {
        Forward open = from.propose(draft, logits.data());
        auto to = std::move(from);
        CHECK(code_of([&] { open.accept(2); }) == ErrorCode::bad_state);
        CHECK(to.position() == 3);
        CHECK(same_bits(scored(to, draft), rows_of(wanted, 3, 2)));
    }
    CHECK(from.position() == 0);
    from = proposal_session(model, "paged=16:f32");
    from.prefill(prompt);
    {
        Forward open = from.propose(draft, logits.data());
        from = proposal_session(model, "paged=16:f32");
        CHECK(code_of([&] { open.accept(1); }) == ErrorCode::bad_state);
    }
    CHECK(from.position() == 0);
    CHECK(same_bits(scored(from, joined(prompt, draft)), wanted));
}

TEST_CASE("batches of mixed verdicts, at random, against a replay of the tokens", "[forward]") {
    const auto model = proposal_model();
    Random random(11);
    for (const char* spec : positional) {
        struct Sequence {
            AnySession session;
            std::vector<Token> tokens{};
        };
        std::vector<Sequence> live;
        live.reserve(4);  // slices point at sessions
        for (int i = 0; i < 3; ++i) live.push_back({proposal_session(model, spec)});
        Context context;
        for (int round = 0; round < 25; ++round) {
            INFO(spec << ", round " << round);
            std::vector<Slice> slices;
            std::vector<std::size_t> who;
            std::vector<std::vector<Token>> fed(live.size());
            std::vector<std::vector<float>> logits(live.size());
            for (std::size_t i = 0; i < live.size(); ++i) {
                const int room = proposal_capacity - live[i].session.position();
                if (room == 0 || random.below(4) == 0) continue;
                fed[i] = random_tokens(random, std::min(room, draw(random, 1, 30)), proposal_words);
                logits[i].resize(fed[i].size() * proposal_words);
                slices.push_back({&live[i].session, fed[i], LogitRows::all, logits[i].data(),
                                  nullptr, Acceptance::in_part});
                who.push_back(i);
            }
            if (slices.empty()) continue;
            const bool fails = random.below(5) == 0;
            const int layer = draw(random, 0, model.layers() - 1);
            context.after_layer = [&](int l) {
                if (fails && l == layer) throw std::runtime_error("injected");
            };
            try {
                Forward open = forward(model, slices, context);
                REQUIRE_FALSE(fails);
                for (std::size_t s = 0; s < who.size(); ++s) {
                    Sequence& one = live[who[s]];
                    const auto& tokens = fed[who[s]];
                    // What the rows say does not depend on what will stay.
                    const auto all = replay(model, spec, joined(one.tokens, tokens));
                    REQUIRE(
                        same_bits(logits[who[s]], rows_of(all, one.tokens.size(), tokens.size())));
                    if (random.below(5) == 0) continue;  // nothing is said: nothing stays
                    const int kept = draw(random, 0, static_cast<int>(tokens.size()));
                    open.accept(s, kept);
                    one.tokens.insert(one.tokens.end(), tokens.begin(), tokens.begin() + kept);
                }
                if (random.below(8) == 0) {
                    open.accept_all();
                    for (std::size_t s = 0; s < who.size(); ++s) {
                        Sequence& one = live[who[s]];
                        const auto more =
                            static_cast<std::size_t>(one.session.position()) - one.tokens.size();
                        one.tokens.insert(one.tokens.end(), fed[who[s]].begin(),
                                          fed[who[s]].begin() + static_cast<std::ptrdiff_t>(more));
                    }
                }
            } catch (const std::runtime_error& error) {
                REQUIRE(fails);
                REQUIRE(std::string(error.what()) == "injected");
            }
            for (Sequence& one : live) {
                REQUIRE(one.session.position() == static_cast<int>(one.tokens.size()));
                if (one.session.position() == proposal_capacity) {
                    one.session.clear();
                    one.tokens.clear();
                }
            }
            // One goes on as a branch of another.
            if (random.below(6) == 0) {
                const std::size_t i = random.below(live.size());
                const std::size_t j = random.below(live.size());
                live[i].session = live[j].session.fork();
                live[i].tokens = std::vector<Token>(live[j].tokens);
            }
        }
    }
}

TEST_CASE("two threads speculate on branches of one prompt", "[forward]") {
    const auto model = proposal_model();
    Random random(12);
    const auto prompt = random_tokens(random, 40, proposal_words);
    const auto text = random_tokens(random, 60, proposal_words);
    const char* spec = "paged=16:f16";
    const auto wanted = replay(model, spec, joined(prompt, text));
    auto root = proposal_session(model, spec);
    root.prefill(prompt);
    std::atomic<int> good = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t)
        threads.emplace_back([&, t, branch = root.fork()]() mutable {
            Random own(static_cast<std::uint64_t>(t) + 1);
            bool same = true;
            std::vector<float> logits(8 * proposal_words);
            for (std::size_t at = 0; at < text.size();) {
                const auto part = Tokens(text).subspan(
                    at, std::min<std::size_t>(text.size() - at, 1 + own.below(8)));
                Forward open = branch.propose(part, logits.data());
                same &= same_bits(rows_of(logits, 0, part.size()),
                                  rows_of(wanted, prompt.size() + at, part.size()));
                const std::size_t kept = own.below(part.size() + 1);
                open.accept(static_cast<int>(kept));
                at += kept;
            }
            good += same ? 1 : 0;
        });
    for (auto& thread : threads) thread.join();
    CHECK(good == 2);
}
