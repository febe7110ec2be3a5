// Random scripts of everything that a session and a pool of sequences can do, under every keep and
// over every store: feed, decode, announce, interrupt in any layer, save, load, be refused a load,
// fork, copy, move, truncate, shift, swap. After every operation the logits, and what a branch
// answers next, are compared by their bits with a fresh session that is fed the tokens anew.
// CAIRN_SCRIPT_SEED in the environment gives other scripts.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stop_token>

#include <cairn/io/session_file.hpp>
#include <cairn/serve/sequence_pool.hpp>

#include "sharing_support.hpp"
using namespace support;

namespace {

using Model = TinyLlama;
using Any = AnySession;
using Bits = std::vector<float>;

constexpr int token_count = 13;
constexpr int script_rows = 110;

std::uint64_t script_seed() {
    const char* text = std::getenv("CAIRN_SCRIPT_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 51;
}
Model script_model() { return small_llama(token_count, script_rows); }

// How a session came about: its tokens, and at which of them a prompt was announced or the context
// shifted.
struct History {
    struct Announced {
        int at;
        std::size_t tokens;
    };
    struct Shifted {
        int at, keep, dropped;
    };
    std::vector<Token> tokens;
    std::vector<Announced> announced;
    std::vector<Shifted> shifts;
    int position() const { return static_cast<int>(tokens.size()); }
};
// What a session of that history answers: the logits of its last token, and those of two more.
struct Answer {
    Bits logits;
    Bits next;
};
// The logits after two more tokens; nothing where they do not fit.
Bits probe(Any& session) {
    if (session.capacity() - session.position() < 2) return {};
    session.decode(1);
    const auto logits = session.decode(2);
    return {logits.begin(), logits.end()};
}
Any fresh(const Model& model, const CacheSpec& spec) {
    return session_of(model, spec, script_rows);
}

// Recomputes from the tokens, cut elsewhere.
Answer recompute(const Model& model, const CacheSpec& spec, const History& h, Random& random) {
    Any session = fresh(model, spec);
    Answer answer;
    auto announced = h.announced.begin();
    auto shift = h.shifts.begin();
    const int n = h.position();
    for (int at = 0;;) {
        for (; announced != h.announced.end() && announced->at == at; ++announced)
            session.expect_prompt(announced->tokens);
        for (; shift != h.shifts.end() && shift->at == at; ++shift)
            session.shift(shift->keep, shift->dropped);
        if (at == n) break;
        int stop = n;
        if (announced != h.announced.end()) stop = std::min(stop, announced->at);
        if (shift != h.shifts.end()) stop = std::min(stop, shift->at);
        const int count = std::min(draw(random, 1, 80), stop - at);
        const auto logits = session.prefill(Tokens(h.tokens).subspan(
            static_cast<std::size_t>(at), static_cast<std::size_t>(count)));
        answer.logits.assign(logits.begin(), logits.end());
        at += count;
    }
    answer.next = probe(session);
    return answer;
}

struct Injected {};

// Makes forwards fail: in one of the next few, behind one of the layers, by an exception of a hook
// or by a request to stop.
class Interruption {
  public:
    Interruption(Random& random, int layers, int forwards)
        : forward_(draw(random, 0, forwards)),
          layer_(draw(random, 0, layers - 1)),
          stops_(random.below(2) == 0) {}
    void arm(Context& context) {
        context.cancel = source_.get_token();
        context.after_layer = [this](int layer) {
            if (layer == 0) ++seen_;
            if (seen_ - 1 != forward_ || layer != layer_) return;
            if (!stops_) throw Injected{};
            source_.request_stop();
        };
    }
    static void disarm(Context& context) {
        context.cancel = {};
        context.after_layer = nullptr;
    }

  private:
    int forward_;
    int layer_;
    bool stops_;
    int seen_ = 0;
    std::stop_source source_;
};
// Whether `body` was interrupted.
template <class Body>
bool interrupted(Body&& body) {
    try {
        body();
        return false;
    } catch (const Injected&) {
        return true;
    } catch (const Error& error) {
        if (error.code() != ErrorCode::cancelled) throw;
        return true;
    }
}

// A session, and what it must answer.
struct Live {
    Any session;
    History history{};
    int logits_at = -1;  // the position whose logits the session has; -1: none
    Answer expected{};
    bool has_logits() const { return logits_at == history.position(); }
};

class Script {
  public:
    Script(const Model& model, const char* text, std::uint64_t seed, const Folder& folder)
        : model_(model),
          spec_(CacheSpec::parse(text)),
          random_(seed),
          file_(folder.file("session")),
          broken_(folder.file("broken")) {
        empty_ = recompute(model_, spec_, {}, random_);
        add(fresh(model_, spec_));
    }
    void step() {
        if (live_.empty()) add(fresh(model_, spec_));
        const std::size_t pick = random_.below(live_.size());
        Live& l = live_[pick];
        switch (random_.below(18)) {
            case 0:
            case 1:
            case 2: feed(l, draw(random_, 1, 24)); break;
            case 3:
            case 4: feed(l, 1); break;
            case 5: announce(l, draw(random_, 0, 45)); break;
            case 6:
            case 7: interrupt(l); break;
            case 8: load(l); break;
            case 9: refuse_load(l); break;
            case 10: branch(l, false); break;
            case 11: branch(l, true); break;
            case 12: truncate(l); break;
            case 13: shift(l); break;
            case 14: refuse(l); break;
            case 15:
                if (live_.size() > 1) live_.erase(live_.begin() + static_cast<long>(pick));
                break;
            case 16: propose(l); break;
            default:
                if (l.session.capacity() - l.session.position() < 30) clear(l);
        }
        for (Live& one : live_) check(one);
    }
    int interruptions() const { return interruptions_; }
    int loads() const { return loads_; }
    int refusals() const { return refusals_; }
    int proposals() const { return proposals_; }

  private:
    void add(Any session, History history = {}, int logits_at = -1) {
        if (live_.size() == 4) live_.erase(live_.begin() + static_cast<long>(random_.below(4)));
        live_.push_back({std::move(session), std::move(history), logits_at, {}});
        expect(live_.back());
    }
    void expect(Live& l) {
        l.expected = l.history.tokens.empty() && l.history.announced.empty()
                         ? empty_
                         : recompute(model_, spec_, l.history, random_);
    }
    void check(Live& l) {
        REQUIRE(l.session.position() == l.history.position());
        REQUIRE(same_bits(l.session.logits(), l.has_logits() ? l.expected.logits : Bits{}));
        Any branch = random_.below(2) == 0 ? l.session.fork() : l.session.copy();
        REQUIRE(same_bits(probe(branch), l.expected.next));
    }
    int room(const Live& l) const { return l.session.capacity() - l.session.position(); }
    void fed(Live& l, Tokens tokens) {
        l.history.tokens.insert(l.history.tokens.end(), tokens.begin(), tokens.end());
        expect(l);
    }

    void feed(Live& l, int n) {
        n = std::min(n, room(l));
        if (n == 0) return;
        const auto tokens = random_tokens(random_, n, token_count);
        l.session.prefill(tokens);
        fed(l, tokens);
        l.logits_at = l.history.position();
    }
    void announce(Live& l, int n) {
        l.session.expect_prompt(static_cast<std::size_t>(n));
        l.history.announced.push_back({l.history.position(), static_cast<std::size_t>(n)});
        if (random_.below(4) != 0)
            feed(l, std::max(1, random_.below(2) == 0 ? n : draw(random_, 0, n)));
        else
            expect(l);
    }
    void interrupt(Live& l) {
        const int n = std::min(draw(random_, 1, 12), room(l));
        if (n == 0) return;
        const auto tokens = random_tokens(random_, n, token_count);
        const int before = l.session.position();
        Interruption interruption(random_, model_.layers(), 2);
        interruption.arm(l.session.context());
        const bool failed = interrupted([&] { l.session.prefill(tokens); });
        Interruption::disarm(l.session.context());
        if (failed) ++interruptions_;
        const int kept = l.session.position() - before;
        REQUIRE((kept >= 0 && kept <= n && failed == (kept < n)));
        if (kept > 0) fed(l, Tokens(tokens).first(static_cast<std::size_t>(kept)));
        if (!failed) l.logits_at = l.history.position();
    }
    // Several tokens in one forward, of which the first stay.
    void propose(Live& l) {
        const int n = std::min(draw(random_, 1, 12), room(l));
        if (n == 0) return;
        const auto tokens = random_tokens(random_, n, token_count);
        Bits logits(tokens.size() * token_count);
        if (!l.session.layer_cache(0).commits_part()) {
            REQUIRE(code_of([&] { l.session.propose(tokens, logits.data()).accept_all(); }) ==
                    ErrorCode::unsupported);
            return;
        }
        Forward open = l.session.propose(tokens, logits.data());
        const int kept = draw(random_, 0, n);
        open.accept(kept);
        ++proposals_;
        if (kept == 0) return;
        fed(l, Tokens(tokens).first(static_cast<std::size_t>(kept)));
        REQUIRE(same_bits(std::span(logits).subspan(
                              static_cast<std::size_t>((kept - 1) * token_count), token_count),
                          l.expected.logits));
    }
    void save(Live& l) {
        SessionText words;
        words.tokens = l.history.tokens;
        save_session(file_, l.session, words, SessionOwner{}, OutputFile::Durability::program);
    }
    // Saved, and loaded into the place of the live session.
    void load(Live& l) {
        save(l);
        Any back = fresh(model_, spec_);
        REQUIRE(load_session(file_, back, SessionOwner{}).tokens == l.history.tokens);
        REQUIRE(back.capacity() == l.session.capacity());
        l.session = std::move(back);
        if (!l.has_logits()) l.logits_at = -1;
        ++loads_;
    }
    // A file that is cut, changed or of another model, into a session that was used, was told of a
    // prompt, or is new; that one then goes on.
    void refuse_load(Live& l) {
        save(l);
        std::ifstream in(file_, std::ios::binary);
        std::string bytes((std::istreambuf_iterator<char>(in)), {});
        SessionOwner owner;
        const auto place = static_cast<std::size_t>(random_.below(bytes.size()));
        switch (random_.below(3)) {
            case 0: bytes.resize(place); break;
            case 1: bytes[place] = static_cast<char>(bytes[place] ^ (1 << random_.below(8))); break;
            default: owner.weights = 1;
        }
        std::ofstream(broken_, std::ios::binary) << bytes;
        const auto refused = [&](Any& target) {
            const auto code = code_of([&] { load_session(broken_, target, owner); });
            REQUIRE((code == ErrorCode::bad_file || code == ErrorCode::model_mismatch ||
                     code == ErrorCode::bad_state));
            ++refusals_;
        };
        if (l.session.position() > 0) refused(l.session);
        Any target = fresh(model_, spec_);
        History history;
        if (random_.below(2) == 0) {
            target.prefill(random_tokens(random_, draw(random_, 1, 60), token_count));
            target.clear();
        }
        if (random_.below(2) == 0) {
            const auto n = static_cast<std::size_t>(draw(random_, 1, 40));
            target.expect_prompt(n);
            history.announced.push_back({0, n});
        }
        const std::size_t bytes_before = target.cache_bytes();
        refused(target);
        REQUIRE(target.cache_bytes() == bytes_before);
        add(std::move(target), std::move(history));
    }
    void branch(Live& l, bool deep) {
        Any other = deep ? l.session.copy() : l.session.fork();
        // Either of the two goes on under the old name; only one has logits.
        int logits_at = -1;
        if (random_.below(2) == 0) {
            std::swap(other, l.session);
            logits_at = std::exchange(l.logits_at, -1);
        }
        add(std::move(other), History(l.history), logits_at);
    }
    void truncate(Live& l) {
        const int n = draw(random_, 0, l.session.position());
        if (n == 0) return clear(l);
        if (!l.session.can_truncate(n)) {
            REQUIRE(code_of([&] { l.session.truncate(n); }) == ErrorCode::bad_state);
            return;
        }
        if (!l.history.shifts.empty()) return;
        l.session.truncate(n);
        if (n == l.history.position()) return;
        if (n < l.logits_at) l.logits_at = -1;
        l.history.tokens.resize(static_cast<std::size_t>(n));
        std::erase_if(l.history.announced, [&](const auto& a) { return a.at > n; });
        expect(l);
    }
    void clear(Live& l) {
        l.session.clear();
        l.history = {};
        l.logits_at = -1;
        expect(l);
    }
    void shift(Live& l) {
        if (l.session.position() <= 40 || !l.session.can_shift(4, 16)) return;
        if (l.session.capacity() > 3 * script_rows) return;
        l.session.shift(4, 16);
        l.history.shifts.push_back({l.history.position(), 4, 16});
        expect(l);
    }
    // What cannot be done leaves everything as it is.
    void refuse(Live& l) {
        if (room(l) > 0)
            REQUIRE(code_of([&] { l.session.decode(token_count); }) == ErrorCode::token_range);
        const auto many = random_tokens(random_, room(l) + 1, token_count);
        REQUIRE(code_of([&] { l.session.prefill(many); }) == ErrorCode::capacity);
        REQUIRE(code_of([&] { l.session.prefill({}); }) == ErrorCode::empty_prompt);
    }

    const Model& model_;
    CacheSpec spec_;
    Random random_;
    std::string file_;
    std::string broken_;
    Answer empty_;
    std::vector<Live> live_;
    int interruptions_ = 0;
    int loads_ = 0;
    int refusals_ = 0;
    int proposals_ = 0;
};

// The same of sequences of a pool: batches, batches that fail, swaps.
class PoolScript {
  public:
    PoolScript(const Model& model, const char* text, std::uint64_t seed, const Folder& folder)
        : model_(model),
          spec_(CacheSpec::parse(text)),
          random_(seed),
          pool_(root(model, spec_), {6, 0, folder.path.string()}),
          histories_(6) {}
    void step() {
        if (pool_.live() == 0) histories_[index(pool_.create())] = empty();
        const int id = pick();
        switch (random_.below(12)) {
            case 0:
                if (pool_.live() < 6) histories_[index(pool_.create())] = empty();
                break;
            case 1:
                if (pool_.live() < 6) histories_[index(pool_.fork(id))] = histories_[index(id)];
                break;
            case 2: pool_.free(id); break;
            case 3:
            case 4: pool_.swap_out(id); break;
            case 5: pool_.prefetch(id); break;
            case 6:
            case 7: batch(true); break;
            default: batch(false);
        }
        for (int i = 0; i < 6; ++i)
            if (pool_.contains(i) && (i == id || random_.below(4) == 0)) check(i);
    }
    int interruptions() const { return interruptions_; }

  private:
    static constexpr std::size_t prompt = 30;
    static Any root(const Model& model, const CacheSpec& spec) {
        Any session = fresh(model, spec);
        session.expect_prompt(prompt);
        return session;
    }
    static History empty() {
        History history;
        history.announced.push_back({0, prompt});
        return history;
    }
    static std::size_t index(int id) { return static_cast<std::size_t>(id); }
    int pick() {
        for (;;)
            if (const int id = draw(random_, 0, 5); pool_.contains(id)) return id;
    }
    void check(int id) {
        const History& history = histories_[index(id)];
        const Tokens tokens = pool_.tokens(id);
        REQUIRE(
            std::equal(tokens.begin(), tokens.end(), history.tokens.begin(), history.tokens.end()));
        Any branch = pool_.session(id).fork();
        REQUIRE(same_bits(probe(branch), recompute(model_, spec_, history, random_).next));
    }
    void batch(bool interrupt) {
        std::vector<PoolSlice> slices;
        std::vector<std::vector<Token>> tokens(6);
        std::vector<Bits> logits(6, Bits(token_count));
        for (int id = 0; id < 6; ++id) {
            if (!pool_.contains(id) || random_.below(2) == 0) continue;
            Any branch = pool_.session(id).fork();
            const int room = std::min(branch.max_rows(), branch.capacity() - branch.position());
            if (branch.position() + 20 > branch.capacity()) pool_.free(id);
            if (!pool_.contains(id) || room == 0) continue;
            tokens[index(id)] = random_tokens(
                random_, random_.below(2) == 0 ? 1 : draw(random_, 1, std::min(room, 20)),
                token_count);
            slices.push_back({id, tokens[index(id)], LogitRows::last, logits[index(id)].data()});
        }
        Context context;
        Interruption interruption(random_, model_.layers(), 0);
        if (interrupt) interruption.arm(context);
        if (interrupted([&] { pool_.forward(slices, context); })) {
            ++interruptions_;
            return;
        }
        for (const PoolSlice& slice : slices) {
            History& history = histories_[index(slice.sequence)];
            history.tokens.insert(history.tokens.end(), slice.tokens.begin(), slice.tokens.end());
            REQUIRE(same_bits(logits[index(slice.sequence)],
                              recompute(model_, spec_, history, random_).logits));
        }
    }

    const Model& model_;
    CacheSpec spec_;
    Random random_;
    SequencePool<Any> pool_;
    std::vector<History> histories_;
    int interruptions_ = 0;
};

}  // namespace

TEST_CASE("10,350 random operations against recomputing from the tokens", "[exactness][script]") {
    const Model model = script_model();
    const Folder folder;
    const char* texts[] = {"contiguous:f32",
                           "mapped:f16",
                           "paged=32:q8_0",
                           "paged=16:k=q4_0+rot,v=q5_1",
                           "contiguous:kivi4",
                           "paged=32:kivi2",
                           "paged=32:quantspec",
                           "tiered=20:q4_0",
                           "contiguous,disk=20:f16",
                           "tiered=20,disk=33:q5_1+rot",
                           "paged=16:f16:window=30,sinks=4",
                           "contiguous:q8_0:window=25,sinks=2",
                           "mapped:f32:window=20,sinks=0",
                           "contiguous:f32:h2o=24,recent=8",
                           "mapped:q8_0:h2o=20,recent=0",
                           "paged=16:f16:h2o=31",
                           "contiguous:f16:snapkv=24",
                           "mapped:f32:snapkv=40",
                           "paged=16:q4_0+rot:snapkv=36",
                           "contiguous:q5_1:nacl=20",
                           "mapped:bf16:nacl=30,seed=7",
                           "paged=32:f32:nacl=24",
                           "contiguous:f16:hashevict=24",
                           "mapped:f32:hashevict=20,key=1",
                           "paged=16:k=f16,v=q8_0:hashevict=28"};
    std::uint64_t seed = script_seed();
    int operations = 0;
    int interruptions = 0;
    int loads = 0;
    int refusals = 0;
    int proposals = 0;
    for (const char* text : texts) {
        Script script(model, text, ++seed, folder);
        for (int step = 0; step < 350; ++step, ++operations) {
            INFO(text << ", seed " << seed << ", step " << step);
            script.step();
        }
        interruptions += script.interruptions();
        loads += script.loads();
        refusals += script.refusals();
        proposals += script.proposals();
    }
    const char* pools[] = {"paged=16:f16",
                           "contiguous:q8_0:window=25,sinks=2",
                           "paged=16:f32:h2o=24,recent=8",
                           "mapped:f16:h2o=16",
                           "paged=16:q8_0:snapkv=24",
                           "paged=16:f32:nacl=20",
                           "contiguous:f16:hashevict=24",
                           "paged=16:f32:hashevict=18,key=1"};
    for (const char* text : pools) {
        PoolScript script(model, text, ++seed, folder);
        for (int step = 0; step < 200; ++step, ++operations) {
            INFO("pool, " << text << ", seed " << seed << ", step " << step);
            script.step();
        }
        interruptions += script.interruptions();
    }
    CHECK(operations == 10350);
    CHECK(interruptions > 300);
    CHECK(loads > 200);
    CHECK(refusals > 200);
    CHECK(proposals > 150);
}

TEST_CASE("the same where layers differ and share caches", "[exactness][script]") {
    const Folder folder;
    auto layers = sharing_layers();
    const Model windows = sharing_model(layers);
    for (SharingLayer& layer : layers) layer.mask = Mask::causal();
    const Model causal = sharing_model(layers);
    std::uint64_t seed = script_seed() + 1000;
    for (const char* text :
         {"paged=16:f16", "contiguous:kivi4", "tiered=20:q4_0", "paged=32:k=q4_0+rot,v=q5_1",
          "mapped:f16:window=30,sinks=4", "contiguous:f32:h2o=24,recent=8",
          "paged=16:f16:snapkv=24", "mapped:f32:hashevict=20,key=1", "contiguous:f16:hashevict=24",
          "paged=16:f16:all:quest=24,page=8,recent=6,full=0",
          "contiguous:q8_0:all:quest=32,page=5,full=1"}) {
        const bool scored = !CacheSpec::parse(text).make({1, 1, 8, 8}, 8).commits_part();
        Script script(scored ? causal : windows, text, ++seed, folder);
        for (int step = 0; step < 150; ++step) {
            INFO(text << ", seed " << seed << ", step " << step);
            script.step();
        }
    }
}
