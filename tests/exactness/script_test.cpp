// Random scripts of everything a session can do (prefill, decode, truncate, fork, drop, evict,
// shift, save, load) against recomputing from the tokens: no difference in any bit.
#include <cairn/io/session_file.hpp>

#include "session_support.hpp"
using namespace support;

namespace {

using Model = TinyLlama;
using Any = AnySession;

// One live sequence and how it came about: its tokens, and where it was shifted.
struct Live {
    Any session;
    std::vector<Token> tokens;
    std::vector<std::pair<int, std::pair<int, int>>> shifts;  // at position: keep, dropped
};

Any fresh(const Model& model, const CacheSpec& spec) { return session_of(model, spec, 300); }
// The logits of the last token, from the tokens alone, cut elsewhere.
std::vector<float> recompute(const Model& model, const CacheSpec& spec, const Live& live,
                             Random& random) {
    Any session = fresh(model, spec);
    std::span<const float> logits;
    std::size_t shift = 0;
    const int n = static_cast<int>(live.tokens.size());
    for (int at = 0; at < n;) {
        while (shift < live.shifts.size() && live.shifts[shift].first == at) {
            session.shift(live.shifts[shift].second.first, live.shifts[shift].second.second);
            ++shift;
        }
        const int stop = shift < live.shifts.size() ? live.shifts[shift].first : n;
        const int count = std::min(draw(random, 1, 200), stop - at);
        logits = session.prefill(
            cairn::Tokens(live.tokens)
                .subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)));
        at += count;
    }
    return {logits.begin(), logits.end()};
}

}  // namespace

TEST_CASE("10,000 random operations against recomputing from the tokens", "[exactness][script]") {
    Random random(51);
    LlamaShape shape;
    shape.layout = {4, 2, 16, 16};
    shape.width = 32;
    shape.hidden = 40;
    shape.vocabulary = 31;
    shape.context = 300;
    const Model model = random_llama<RotaryHalf>(random, shape);
    const char* texts[] = {"contiguous:f32",
                           "mapped:f16",
                           "paged=16:f32",
                           "paged=32:q8_0",
                           "paged=16:k=q4_0+rot,v=q5_1",
                           "contiguous:kivi4",
                           "paged=32:kivi2",
                           "tiered=20:q4_0",
                           "contiguous,disk=20:f16",
                           "tiered=20,disk=33:q5_1+rot",
                           "paged=16:f16:window=30,sinks=4",
                           "contiguous:q8_0:window=25,sinks=2",
                           "paged=16:f32:h2o=24,recent=8",
                           "contiguous:f16:hashevict=24"};
    int operations = 0;
    int compared = 0;
    int shifted = 0;
    int saved = 0;
    const Folder folder;
    const std::string file = folder.file("session");
    for (const char* text : texts) {
        const CacheSpec spec = CacheSpec::parse(text);
        std::vector<Live> live;
        std::vector<float> logits;
        for (int step = 0; step < 840; ++step, ++operations) {
            if (live.empty()) live.push_back({fresh(model, spec), {}, {}});
            const std::size_t pick = random.below(live.size());
            Live& l = live[pick];
            INFO(text << ", step " << step);
            const int room = 300 - l.session.position();
            const auto feed = [&](int n) {
                n = std::min(n, l.session.capacity() - l.session.position());
                if (n <= 0) return;
                const auto tokens = random_tokens(random, n, 31);
                const auto got = l.session.prefill(tokens);
                l.tokens.insert(l.tokens.end(), tokens.begin(), tokens.end());
                if (random.below(4) == 0) {
                    REQUIRE(same_bits(got, recompute(model, spec, l, random)));
                    ++compared;
                }
            };
            switch (random.below(10)) {
                case 0:
                case 1: feed(draw(random, 1, 50)); break;
                case 2:
                case 3: feed(1); break;
                case 4: {
                    const int n = draw(random, 0, l.session.position());
                    const int dropped = l.shifts.empty() ? 0 : 1;
                    if (dropped == 0 && l.session.can_truncate(n)) {
                        l.session.truncate(n);
                        l.tokens.resize(static_cast<std::size_t>(n));
                    } else if (l.session.position() > 0 && dropped == 0 && n > 0 &&
                               n < l.session.position()) {
                        REQUIRE(code_of([&] { l.session.truncate(n); }) == ErrorCode::bad_state);
                    }
                    break;
                }
                case 5:
                    if (live.size() < 5) live.push_back({l.session.fork(), l.tokens, l.shifts});
                    break;
                case 6:
                    if (live.size() > 1) live.erase(live.begin() + static_cast<long>(pick));
                    break;
                case 7:
                    if (l.session.position() > 40 && room < 200 && l.session.can_shift(4, 16)) {
                        l.session.shift(4, 16);
                        l.shifts.push_back({l.session.position(), {4, 16}});
                        ++shifted;
                    }
                    break;
                case 8:
                    // Saved, and loaded into the place of a live session.
                    if (random.below(3) == 0) {
                        SessionText words;
                        words.tokens = l.tokens;
                        save_session(file, l.session, words, SessionOwner{},
                                     OutputFile::Durability::program);
                        Any back = fresh(model, spec);
                        REQUIRE(load_session(file, back, SessionOwner{}).tokens == l.tokens);
                        l.session = std::move(back);
                        ++saved;
                    }
                    break;
                default:
                    if (l.session.position() > 250 && l.shifts.empty()) {
                        l.session.clear();
                        l.tokens.clear();
                    }
            }
            std::erase_if(live, [](const Live& one) { return one.session.capacity() > 800; });
        }
    }
    CHECK(operations >= 10000);
    CHECK(compared > 500);
    CHECK(shifted > 5);
    CHECK(saved > 100);
}
