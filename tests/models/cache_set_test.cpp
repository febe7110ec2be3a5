// The caches of a session by layer: layers of other heads and policies, and layers that attend what
// an earlier one staged, against a forward that knows neither sessions nor caches that are shared.
#include <cairn/models/any_model.hpp>
#include <cairn/models/audit.hpp>

#include "sharing_support.hpp"
using namespace support;

namespace {

using SharingSession = Session<SharingModel, AnyCache>;

SharingSession sharing_session(const SharingModel& model, const char* spec, int capacity = 120) {
    return session_of(model, CacheSpec::parse(spec), capacity);
}
std::vector<float> all_logits(SharingSession& session, Tokens tokens) {
    std::vector<float> logits(tokens.size() * sharing_words);
    session.score(tokens, logits.data());
    return logits;
}
std::span<const float> logits_of(const std::vector<float>& all, std::size_t row,
                                 std::size_t count = 1) {
    return std::span(all).subspan(row * sharing_words, count * sharing_words);
}

// A block that does not say whom it follows.
class ShySharing {
  public:
    using NormType = RmsNorm;
    ShySharing(SharingModel model, int layer) : model_(std::move(model)), layer_(layer) {}
    void forward(const Activations& x, std::span<const BatchSlice> slices, std::ptrdiff_t width,
                 Context& context) const {
        block().forward(x, slices, width, context);
    }
    const HeadLayout& layout() const noexcept { return block().layout(); }
    std::size_t parameters() const noexcept { return block().parameters(); }
    std::size_t bytes() const noexcept { return block().bytes(); }
    void hash(Fingerprint& to) const { block().hash(to); }

  private:
    const SharingModel::Block& block() const { return model_.block(layer_); }
    SharingModel model_;
    int layer_;
};

}  // namespace

TEST_CASE("layers that follow answer as a forward without caches does", "[cache_set]") {
    const SharingModel model = sharing_model();
    Random random(31);
    const auto tokens = random_tokens(random, 100, sharing_words);
    for (const char* spec :
         {"contiguous:f32", "mapped:f16", "paged=16:q8_0", "paged=32:k=q4_0+rot,v=q5_1",
          "contiguous:kivi4", "tiered=20:q4_0", "paged=16:f16:window=30,sinks=4"}) {
        INFO(spec);
        const auto wanted = sharing_forward(tokens, spec);
        auto whole = sharing_session(model, spec);
        REQUIRE(same_bits(all_logits(whole, tokens), wanted));
        // In pieces, with rows that are refused, branches, truncations and one by one.
        auto session = sharing_session(model, spec);
        for (std::size_t at = 0; at < tokens.size();) {
            const std::size_t n =
                std::min<std::size_t>(tokens.size() - at, 1 + random.below(30) * random.below(2));
            const auto part = Tokens(tokens).subspan(at, n);
            if (random.below(3) == 0) {
                auto branch = random.below(2) == 0 ? session.fork() : session.copy();
                branch.decode(3);
                if (random.below(2) == 0) {
                    std::swap(branch, session);
                    if (!session.can_truncate(static_cast<int>(at))) std::swap(branch, session);
                    session.truncate(static_cast<int>(at));
                }
            }
            if (random.below(3) == 0) {
                std::vector<float> logits(n * sharing_words);
                Forward open = session.propose(part, logits.data());
                REQUIRE(same_bits(logits, logits_of(wanted, at, n)));
                const std::size_t kept = random.below(n + 1);
                open.accept(static_cast<int>(kept));
                at += kept;
            } else {
                REQUIRE(same_bits(all_logits(session, part), logits_of(wanted, at, n)));
                at += n;
            }
        }
        auto branch = session.fork();
        const auto last = session.decode(1);
        CHECK(same_bits(last, branch.decode(1)));
    }
}

TEST_CASE("sequences of a batch share nothing but the model", "[cache_set]") {
    const SharingModel model = sharing_model();
    Random random(32);
    const char* spec = "paged=16:f16";
    std::vector<std::vector<Token>> texts;
    std::vector<SharingSession> sessions;
    std::vector<std::vector<float>> logits;
    std::vector<Slice> slices;
    for (const int n : {1, 40, 7, 1}) {
        texts.push_back(random_tokens(random, 30 + n, sharing_words));
        sessions.push_back(sharing_session(model, spec));
        sessions.back().prefill(Tokens(texts.back()).first(30));
        logits.emplace_back(static_cast<std::size_t>(n * sharing_words));
    }
    for (std::size_t i = 0; i < texts.size(); ++i)
        slices.push_back({&sessions[i], Tokens(texts[i]).subspan(30), LogitRows::all,
                          logits[i].data(), nullptr, Acceptance::in_part});
    ThreadPool pool(3);
    Context context(pool);
    {
        Forward open = forward(model, slices, context);
        open.accept(1, 13);
        open.accept(3, 1);
    }
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto wanted = sharing_forward(texts[i], spec);
        CHECK(same_bits(logits[i], logits_of(wanted, 30, texts[i].size() - 30)));
        const int kept = i == 1 ? 13 : (i == 3 ? 1 : 0);
        CHECK(sessions[i].position() == 30 + kept);
        const auto rest = Tokens(texts[i]).subspan(static_cast<std::size_t>(30 + kept));
        if (!rest.empty())
            CHECK(same_bits(all_logits(sessions[i], rest),
                            logits_of(wanted, static_cast<std::size_t>(30 + kept), rest.size())));
    }
}

TEST_CASE("every layer has policies of its own, and a shared cache counts once", "[cache_set]") {
    const SharingModel model = sharing_model();
    Random random(33);
    const auto tokens = random_tokens(random, 90, sharing_words);
    const char* specs[] = {"paged=16:q8_0", "contiguous:f16:window=40,sinks=2", "",
                           "tiered=10:q4_0", ""};
    std::vector<int> asked;
    const auto make = [&](int layer, const HeadLayout& layout, int rows) {
        asked.push_back(layer);
        return CacheSpec::parse(specs[layer]).make(layout, rows, layer);
    };
    SharingSession session(model, 120, Serial::instance(), make);
    CHECK(asked == std::vector<int>{0, 1, 3});
    const auto wanted = sharing_forward(sharing_layers(), tokens, make);
    CHECK(same_bits(all_logits(session, tokens), wanted));
    auto& caches = session.caches();
    CHECK(caches.layers() == 5);
    CHECK(&caches[2] == &caches[1]);
    CHECK(&caches[4] == &session.layer_cache(0));
    CHECK(caches.leader(2) == 1);
    CHECK(caches.leader(4) == 0);
    std::size_t bytes = 0;
    for (const int layer : {0, 1, 3}) bytes += session.layer_cache(layer).bytes();
    CHECK(session.cache_bytes() == bytes);
    CHECK(session.cache(2).committed() == 90);
    CHECK(session.cache(2).layout().heads == 2);
    CHECK(code_of([&] { session.cache(2).stage({}, {}); }) == ErrorCode::bad_state);
    session.cache(2).commit(3);
    CHECK(code_of([&] { session.cache(5); }) == ErrorCode::invalid_argument);
}

TEST_CASE("a keep by score hears the layer that stages, not those that follow", "[cache_set]") {
    auto layers = sharing_layers();
    for (SharingLayer& layer : layers) layer.mask = Mask::causal();
    const SharingModel model = sharing_model(layers);
    auto fewer = layers;
    fewer.erase(fewer.begin() + 2, fewer.end());
    const SharingModel leaders = sharing_model(fewer);
    Random random(34);
    const auto tokens = random_tokens(random, 80, sharing_words);
    for (const char* spec : {"contiguous:f32:h2o=24,recent=8", "paged=16:f16:snapkv=24",
                             "mapped:f32:nacl=20", "contiguous:f16:hashevict=24"}) {
        INFO(spec);
        auto session = sharing_session(model, spec), again = sharing_session(model, spec);
        auto alone = sharing_session(leaders, spec);
        for (SharingSession* s : {&session, &again, &alone}) s->expect_prompt(50);
        std::vector<float> wanted = all_logits(session, tokens);
        for (std::size_t at = 0; at < tokens.size(); ++at) {
            alone.decode(tokens[at]);
            REQUIRE(same_bits(again.decode(tokens[at]), logits_of(wanted, at)));
        }
        for (const int layer : {0, 1})
            for (int head = 0; head < model.layout(layer).kv_heads; ++head)
                CHECK(session.layer_cache(layer).positions(head) ==
                      alone.layer_cache(layer).positions(head));
    }
}

TEST_CASE("who follows wrongly is refused", "[cache_set]") {
    const auto code = [](int layer, int leader, HeadLayout layout) {
        return code_of([&] {
            auto layers = sharing_layers();
            layers[static_cast<std::size_t>(layer)] = {layout, leader, Mask::causal()};
            sharing_model(layers);
        });
    };
    CHECK(code(2, 2, {4, 1, 32, 8}) == ErrorCode::invalid_argument);
    CHECK(code(2, 3, {6, 3, 8, 24}) == ErrorCode::invalid_argument);
    CHECK(code(3, 2, {4, 1, 32, 8}) == ErrorCode::invalid_argument);
    CHECK(code(2, 9, {4, 1, 32, 8}) == ErrorCode::invalid_argument);
    CHECK(code(2, 1, {4, 2, 32, 8}) == ErrorCode::shape_mismatch);
    CHECK(code(2, 1, {4, 1, 32, 9}) == ErrorCode::shape_mismatch);

    CacheSet<KvCache<>> set;
    CHECK(set.layers() == 0);
    CHECK(code_of([&] { set.follow(0); }) == ErrorCode::invalid_argument);
    set.add(KvCache<>({4, 2, 16, 16}, 8));
    set.follow(0);
    CHECK(code_of([&] { set.follow(1); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { set.follow(-1); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { set.leader(2); }) == ErrorCode::invalid_argument);
    CHECK(set.layers() == 2);

    // A window that the leader's keep does not serve.
    auto layers = sharing_layers();
    layers[3].mask = Mask::causal();
    const SharingModel model = sharing_model(layers);
    CHECK(code_of([&] { sharing_session(model, "contiguous:f16:h2o=20"); }) ==
          ErrorCode::unsupported);

    // Keys that whoever reads them makes: the leader's would be another layer's.
    for (const char* spec : {"contiguous:f32+bare", "paged:f16+inputs"})
        CHECK(code_of([&] { sharing_session(sharing_model(), spec); }) == ErrorCode::unsupported);

    // A block that hides its leader attends a cache in which nothing was staged.
    DecoderWeights<ShySharing, NoPositions> weights;
    SharingFrame frame;
    weights.embedding = Embedding(WeightMatrix::from(frame.table, ElementType::f32));
    for (int layer = 1; layer < 3; ++layer) weights.blocks.emplace_back(sharing_model(), layer);
    weights.final_norm = std::move(frame.norm);
    const Decoder<ShySharing, NoPositions> shy(std::move(weights));
    auto session = shy.session<KvCache<>>(20);
    CHECK(code_of([&] { session.decode(1); }) == ErrorCode::bad_state);
    CHECK(session.position() == 0);
}

TEST_CASE("a model of any blocks knows who follows whom", "[cache_set]") {
    const AnyModel model = any_model(sharing_weights());
    Random random(36);
    const auto tokens = random_tokens(random, 40, sharing_words);
    Session<AnyModel, KvCache<>> session(model, 50);
    std::vector<float> logits(tokens.size() * sharing_words);
    session.score(tokens, logits.data());
    CHECK(same_bits(logits, sharing_forward(tokens, "contiguous:f32")));
    CHECK(model.fingerprint() == sharing_model().fingerprint());
    CHECK(session.caches().leader(2) == 1);
}

TEST_CASE("an audit counts a shared cache once", "[cache_set]") {
    const SharingModel model = sharing_model();
    Random random(35);
    const auto tokens = random_tokens(random, 60, sharing_words);
    const auto audited = [&](const char* spec) {
        return audit_cache(
            model, tokens,
            [&](int layer, const HeadLayout& layout, int rows) {
                return CacheSpec::parse(spec).make(layout, rows, layer);
            },
            0, Serial::instance(), [](int, int) {});
    };
    const Audit exact = audited("contiguous:f32");
    CHECK(exact.logits.kl == 0.0);
    for (const auto& error : exact.attention) CHECK(error.difference == 0.0);
    const Audit lossy = audited("contiguous:q4_0");
    for (const std::size_t layer : {0U, 1U, 3U}) CHECK(lossy.attention[layer].value() > 0.0);
    CHECK(lossy.attention[2].size == 0.0);
    CHECK(lossy.bytes < exact.bytes);
}

TEST_CASE("an audit counts all rows, however many intervals they come in", "[cache_set]") {
    const SharingModel model = sharing_model();
    Random random(36);
    const auto tokens = random_tokens(random, 60, sharing_words);
    const auto audited = [&](const AnyKeep& keep) {
        return audit_cache(model, tokens, [&](int layer, const HeadLayout& layout, int rows) {
            return AnyCache(layout, rows, Contiguous<Q4_0>{}, keep, layer);
        });
    };
    const Audit whole = audited(KeepAll{});
    const Audit split = audited(SplinterKeep{});
    for (std::size_t age = 0; age < Audit::ages; ++age) {
        CHECK(split.keys[age].size == Approx(whole.keys[age].size));
        CHECK(split.values[age].difference == Approx(whole.values[age].difference));
    }
    CHECK(whole.keys[1].size > 0.0);
}

TEST_CASE("hidden states that became infinite are no embedding", "[cache_set]") {
    auto weights = sharing_weights();
    weights.final_norm = RmsNorm(std::vector<float>(sharing_width, 3e38F), 1e-5F);
    const SharingModel model(std::move(weights));
    auto session = model.session<KvCache<>>(20);
    std::vector<float> hidden(sharing_width, 7.0F);
    CHECK(code_of([&] { session.embed(std::vector<Token>{1}, hidden.data()); }) ==
          ErrorCode::non_finite);
    CHECK(session.position() == 0);
    CHECK(hidden == std::vector<float>(sharing_width, 7.0F));
}
