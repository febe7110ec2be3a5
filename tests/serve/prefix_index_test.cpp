// Prefix reuse: the same bits as no reuse, one copy of what is shared, tokens compared whatever the
// hash says, tenants apart, pins, and the reason of every miss.
#include <atomic>
#include <thread>

#include <cairn/cache/store/paged.hpp>
#include <cairn/serve/prefix_index.hpp>

#include "support.hpp"
using namespace support;

namespace {

using Model = LlamaLike<RotaryHalf>;
using Paging = Session<Model, KvCache<Paged<F16>>>;

Model tiny() {
    Random random(3);
    LlamaShape shape;
    shape.layout = {4, 2, 16, 16};
    shape.context = 300;
    return random_llama<RotaryHalf>(random, shape);
}
std::vector<Token> joined(const std::vector<Token>& a, const std::vector<Token>& b) {
    std::vector<Token> result = a;
    result.insert(result.end(), b.begin(), b.end());
    return result;
}
int blocks_used(const Paging& session) { return session.layer_cache(0).pool_use().used; }
std::uint64_t one_bit(std::uint64_t parent, Tokens block) {
    return PrefixIndex<Paging>::chain(parent, block) & 1U;
}

}  // namespace

TEST_CASE("a hit gives the bits of no hit, and shares its blocks", "[prefix_index]") {
    const Model model = tiny();
    Random random(5);
    const Paging root = model.session<KvCache<Paged<F16>>>(300);
    for (const auto hash : {PrefixIndex<Paging>::chain, one_bit}) {
        PrefixIndex<Paging> index(20, 16, hash);
        std::vector<std::vector<Token>> texts;
        for (int round = 0; round < 60; ++round) {
            // A text that begins like an earlier one, or like none.
            std::vector<Token> prompt = random_tokens(random, draw(random, 1, 60), 61);
            if (!texts.empty() && random.below(4) != 0) {
                std::vector<Token> start = texts[random.below(texts.size())];
                start.resize(
                    static_cast<std::size_t>(draw(random, 1, static_cast<int>(start.size()))));
                prompt = joined(start, prompt);
            }
            if (prompt.size() > 250) prompt.resize(250);
            std::size_t longest = 0;
            for (const auto& text : texts) {
                std::size_t n = 0;
                while (n < text.size() && n < prompt.size() && text[n] == prompt[n]) ++n;
                longest = std::max(longest, n);
            }
            Paging session = root.fork();
            const PrefixMatch match = index.take(prompt, session);
            // With one bit of hash too; entries that were replaced lived on in longer ones.
            CHECK(match.tokens == static_cast<int>(std::min(longest, prompt.size() - 1)));
            CHECK(session.position() == match.tokens);
            const auto got = session.prefill(
                cairn::Tokens(prompt).subspan(static_cast<std::size_t>(match.tokens)));
            Paging cold = root.fork();
            REQUIRE(same_bits(got, cold.prefill(prompt)));
            if (texts.size() < 20) {
                index.insert(session, prompt);
                texts.push_back(prompt);
            }
        }
    }
}

TEST_CASE("ten users of one system prompt hold one copy", "[prefix_index]") {
    const Model model = tiny();
    Random random(6);
    const Paging root = model.session<KvCache<Paged<F16>>>(300);
    const auto system = random_tokens(random, 160, 61);
    PrefixIndex<Paging> index(4);
    {
        Paging first = root.fork();
        first.prefill(system);
        index.insert(first, system);
    }
    CHECK(blocks_used(root) == 10);
    std::vector<Paging> users;
    for (int u = 0; u < 10; ++u) {
        Paging session = root.fork();
        const auto prompt = joined(system, random_tokens(random, 5, 61));
        CHECK(index.take(prompt, session).tokens == 160);
        session.prefill(cairn::Tokens(prompt).subspan(160));
        users.push_back(std::move(session));
    }
    CHECK(blocks_used(root) == 20);  // one copy, and a block of its own for each
    users.clear();
    CHECK(blocks_used(root) == 10);
    CHECK(index.evict());
    CHECK(blocks_used(root) == 0);
}

TEST_CASE("salts, pins, and why a prefix missed", "[prefix_index]") {
    const Model model = tiny();
    Random random(7);
    const Paging root = model.session<KvCache<Paged<F16>>>(300);
    PrefixIndex<Paging> index(2, 4);
    const auto store = [&](const std::vector<Token>& tokens, const char* salt) {
        Paging session = root.fork();
        session.prefill(tokens);
        index.insert(session, tokens, salt);
    };
    const std::vector<Token> a{1, 2, 3, 4, 5, 6, 7, 8, 9};
    store(a, "alice");
    CHECK(index.match(a, "bob").miss_reason == MissReason::empty);
    CHECK(index.match(a, "bob").tokens == 0);
    const PrefixMatch own = index.match(a, "alice");
    CHECK(own.tokens == 8);
    CHECK(own.miss_reason == MissReason::none);
    const PrefixMatch parts = index.match(std::vector<Token>{1, 2, 3, 4, 5, 50, 7}, "alice");
    CHECK(parts.tokens == 5);  // a hit inside a block
    CHECK(parts.miss_reason == MissReason::diverged);
    CHECK((parts.first_difference == 5 && parts.wanted == 50 && parts.stored == 6));
    const PrefixMatch none = index.match(std::vector<Token>{9, 9}, "alice");
    CHECK(none.miss_reason == MissReason::no_prefix);
    CHECK(none.first_difference == 0);
    const PrefixMatch ends = index.match(joined(a, std::vector<Token>{3, 3, 3}), "alice");
    CHECK(ends.miss_reason == MissReason::stored_ends);
    CHECK(ends.tokens == 9);
    CHECK(miss_reason_name(MissReason::diverged) == "diverged");

    CHECK(index.pin(a, "alice"));
    CHECK_FALSE(index.pin(a, "bob"));
    store({20, 21, 22}, "alice");
    store({30, 31, 32}, "alice");  // evicts the one that is not pinned
    CHECK(index.match(a, "alice").tokens == 8);
    CHECK(index.match(std::vector<Token>{20, 21, 22}, "alice").tokens == 0);
    CHECK(index.pin(std::vector<Token>{30, 31, 32}, "alice"));
    CHECK(code_of([&] { store({40, 41}, "alice"); }) == ErrorCode::capacity);
    CHECK_FALSE(index.evict());
    CHECK(index.unpin(a, "alice"));
    store({40, 41}, "alice");
    CHECK(index.match(a, "alice").tokens == 0);
    CHECK(index.size() == 2);
    Paging busy = root.fork();
    busy.decode(1);
    CHECK(code_of([&] { index.take(a, busy, "alice"); }) == ErrorCode::bad_state);
    CHECK(code_of([&] { index.insert(busy, a); }) == ErrorCode::invalid_argument);
}

TEST_CASE("an index holds sessions of one model, and takes no other's", "[prefix_index]") {
    using Cache = KvCache<Paged<F16>>;
    const Model model = tiny();
    const Model twin = tiny();
    const std::vector<Token> text{1, 2, 3, 4, 5, 6};
    PrefixIndex<Paging> index(4, 2);
    auto session = model.session<Cache>(100);
    session.prefill(text);
    index.insert(session, text);
    auto other = twin.session<Cache>(100);
    CHECK(code_of([&] { index.take(text, other); }) == ErrorCode::model_mismatch);
    CHECK(other.position() == 0);
    CHECK(other.model_identity() == twin.identity());
    other.prefill(text);
    CHECK(code_of([&] { index.insert(other, text); }) == ErrorCode::model_mismatch);
    CHECK(index.size() == 1);
    auto slow = model.session<Cache>(100);
    slow.context().compute = Compute::accurate;
    CHECK(code_of([&] { index.take(text, slow); }) == ErrorCode::model_mismatch);

    // The session's own executor and hooks stay.
    ThreadPool pool(2);
    auto hooked = model.session<Cache>(100, pool);
    int layers = 0;
    hooked.context().after_layer = [&](int) { ++layers; };
    CHECK(index.take(text, hooked).tokens == 5);
    CHECK(&hooked.context().executor() == &pool);
    const auto got = hooked.decode(6);
    CHECK(same_bits(got, session.logits()));
    CHECK(layers == 2);

    // What forgot tokens in its middle does not answer as its tokens would.
    auto edited = model.session<Cache>(100);
    edited.prefill(text);
    CHECK_FALSE(edited.edited());
    edited.drop(1, 3);
    CHECK(edited.edited());
    CHECK(edited.fork().edited());
    CHECK(code_of([&] { index.insert(edited, text); }) == ErrorCode::bad_state);
    edited.clear();
    edited.prefill(text);
    edited.shift(0, 2);
    CHECK(code_of([&] { index.insert(edited, text); }) == ErrorCode::bad_state);
    CHECK(index.evict());
    index.insert(other, text);  // an empty index takes any model

    auto to = std::move(index);
    CHECK(index.size() == 0);
    CHECK(to.match(text).tokens == 5);
    auto gone = std::move(other);
    CHECK(code_of([&] { to.take(text, other); }) == ErrorCode::bad_state);
    CHECK(code_of([&] { to.insert(other, {}); }) == ErrorCode::invalid_argument);
}

TEST_CASE("two threads on one index: each call works or is told", "[prefix_index]") {
    const Model model = tiny();
    const Paging root = model.session<KvCache<Paged<F16>>>(100);
    Paging filled = root.fork();
    const std::vector<Token> text{1, 2, 3, 4, 5, 6};
    filled.prefill(text);
    PrefixIndex<Paging> index(2, 2);
    std::atomic<int> others = 0;
    const auto work = [&] {
        for (int i = 0; i < 200; ++i) try {
                Paging session = root.fork();
                switch (i % 5) {
                    case 0: index.insert(filled, text); break;
                    case 1: index.match(text); break;
                    case 2: index.take(text, session); break;
                    case 3: index.pin(text), index.unpin(text); break;
                    default: index.evict() || index.size() > 2;
                }
            } catch (const Error& error) {
                if (error.code() != ErrorCode::concurrent_use) ++others;
            }
    };
    std::thread other(work);
    work();
    other.join();
    CHECK(others == 0);
    CHECK(index.size() <= 1);
}
