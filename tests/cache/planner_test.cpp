// The planner against the caches themselves, to the byte, and the published figures.
#include <optional>

#include <cairn/cache/planner.hpp>

#include "support.hpp"
using namespace support;

// Bytes a token at 16 bits, and capacities, of published models.
static_assert(payload_bytes<F16>(48, {25, 25, 64, 64}, 1) == 307200);    // GPT-2 XL
static_assert(payload_bytes<F16>(28, {16, 16, 256, 256}, 1) == 458752);  // GPT-J 6B
static_assert(payload_bytes<F16>(32, {32, 8, 128, 128}, 1) == 131072);   // Mistral 7B
static_assert(payload_bytes<F16>(40, {40, 40, 128, 128}, 1) == 819200);  // LLaMA 13B
static_assert(payload_bytes<F16>(30, {9, 3, 64, 64}, 1) == 23040);       // SmolLM2 135M
static_assert(payload_bytes<F16>(32, {32, 32, 128, 128}, 1) == 524288);  // LLaMA 7B
static_assert(payload_bytes<F16>(32, {32, 32, 128, 128}, 1000) == 500ULL << 20);
static_assert(payload_bytes<F16>(32, {32, 32, 128, 128}, 8192) == 4ULL << 30);
static_assert(payload_bytes<F16>(80, {64, 8, 128, 128}, 1) == 327680);    // Llama 2 70B
static_assert(payload_bytes<F16>(80, {64, 64, 128, 128}, 1) == 2621440);  // ... without groups
// LLaMA 13B with 50 GB for the cache: sequences of 1000 tokens (61 of 1024 with 50 * 10^9 bytes is
// 59; the article's 8 to 10 hold for 6000 to 8000 tokens each).
static_assert(50'000'000'000ULL / payload_bytes<F16>(40, {40, 40, 128, 128}, 1000) == 61);

TEST_CASE("the formula at compile time is that of the caches", "[planner]") {
    constexpr HeadLayout layout{6, 3, 80, 48};
    constexpr std::size_t bytes[] = {
        payload_bytes<F32>(2, layout, 7), payload_bytes<BF16>(2, layout, 7),
        payload_bytes<Q8_0>(2, layout, 7), payload_bytes<Q4_1>(2, layout, 7),
        payload_bytes<Fp8E4M3>(2, layout, 7)};
    const char* names[] = {"f32", "bf16", "q8_0", "q4_1", "fp8_e4m3"};
    for (int i = 0; i < 5; ++i) {
        INFO(names[i]);
        CHECK(bytes[i] == 2 * CacheSpec::parse(names[i]).make(layout, 7).payload_bytes(7));
    }
}

TEST_CASE("planned bytes are allocated bytes, whatever the cache", "[planner]") {
    Random random(41);
    const char* stores[] = {"contiguous",        "mapped",    "paged=32",
                            "paged=64",          "tiered=40", "contiguous,disk=32",
                            "tiered=40,disk=100"};
    const char* codecs[] = {"f32",   "f16",   "q8_0",     "q4_0+rot", "k=q5_1,v=int8",
                            "kivi2", "kivi4", "fp8_e4m3", "quantspec"};
    int checked = 0;
    for (int round = 0; round < 600; ++round) {
        std::string text = std::string(stores[random.below(7)]) + ":" + codecs[random.below(9)];
        switch (random.below(8)) {
            case 0:
                text += ":window=" + std::to_string(draw(random, 1, 200)) +
                        ",sinks=" + std::to_string(draw(random, 0, 40));
                break;
            case 1: text += ":h2o=" + std::to_string(draw(random, 2, 90)); break;
            case 2: text += ":snapkv=" + std::to_string(draw(random, 1, 90)); break;
            case 3: text += ":nacl=" + std::to_string(draw(random, 1, 90)); break;
            case 4: text += ":hashevict=" + std::to_string(draw(random, 15, 90)); break;
            case 5: text += ":keydiff=" + std::to_string(draw(random, 1, 90)); break;
            case 6: text += ":expected=" + std::to_string(draw(random, 1, 90)); break;
            default: break;
        }
        std::optional<CacheSpec> spec;
        try {
            spec = CacheSpec::parse(text);
        } catch (const Error&) {
            continue;  // one of the pairs that cannot work
        }
        const int kv = draw(random, 1, 3);
        const HeadLayout layout{kv * 2, kv, draw(random, 1, 70), draw(random, 1, 70)};
        const int tokens = draw(random, 1, 500);
        const int prompt = random.below(3) == 0 ? 0 : draw(random, 1, 500);
        const int capacity = tokens + draw(random, 0, 300);
        AnyCache cache = spec->make(layout, capacity);
        if (prompt > 0) cache.expect_prompt(prompt);
        const RowMatrix q = random_matrix(random, tokens, layout.heads * layout.key_dim);
        const RowMatrix k = random_matrix(random, tokens, layout.kv_heads * layout.key_dim);
        const RowMatrix v = random_matrix(random, tokens, layout.kv_heads * layout.value_dim);
        RowMatrix out(tokens, layout.heads * layout.value_dim);
        Context context;
        std::size_t most = 0;
        for (int at = 0; at < tokens;) {
            const int n = std::min({tokens - at, draw(random, 1, 128), cache.max_rows()});
            prefill(q.middleRows(at, n), k.middleRows(at, n), v.middleRows(at, n), cache, {},
                    out.middleRows(at, n), context);
            at += n;
            most = std::max(most, cache.bytes());
        }
        const CachePlan plan = plan_cache(*spec, layout, {capacity, tokens, prompt});
        INFO(text << ", heads " << kv << ", dims " << layout.key_dim << "/" << layout.value_dim
                  << ", " << tokens << " tokens, prompt " << prompt << ", capacity " << capacity);
        REQUIRE(plan.committed == cache.bytes());
        REQUIRE(plan.payload == cache.payload_bytes(tokens));
        REQUIRE(plan.peak >= most);
        REQUIRE((spec->facts().store.on_disk || plan.committed >= plan.payload));
        ++checked;
    }
    CHECK(checked > 250);
}

TEST_CASE("the inverse questions", "[planner]") {
    const CacheSpec spec = CacheSpec::parse("paged=16:q8_0");
    const HeadLayout layout{9, 3, 64, 64};
    const std::size_t budget = std::size_t{512} << 20;
    const int longest = longest_context(spec, layout, 30, 4, budget, 1 << 20);
    CHECK(plan_model(spec, layout, 30, 4, {longest, longest, longest}).peak <= budget);
    CHECK(plan_model(spec, layout, 30, 4, {longest + 1, longest + 1, longest + 1}).peak > budget);
    const std::size_t most = most_sequences(spec, layout, 30, 1000, budget);
    CHECK(plan_model(spec, layout, 30, static_cast<int>(most), {1000, 1000, 1000}).peak <= budget);
    CHECK(plan_model(spec, layout, 30, static_cast<int>(most) + 1, {1000, 1000, 1000}).peak >
          budget);
    CHECK(longest_context(spec, layout, 30, 1, 10, 1000) == 0);
}

TEST_CASE("the largest numbers of a SPEC are planned and made without overflow", "[planner]") {
    const HeadLayout layout{2, 1, 32, 32};
    const SequencePlan longest{row_limit, row_limit, row_limit};
    const std::string most = std::to_string(row_limit);
    for (const std::string text :
         {"contiguous:f16:window=M,sinks=M", "paged=M:f16:window=M,sinks=M", "paged=M:f32",
          "tiered=M:q8_0", "contiguous,disk=M:f16", "tiered=M,disk=M:q8_0", "paged=16:h2o=M",
          "contiguous:f16:snapkv=M", "mapped:f16:nacl=M,seed=M", "contiguous:f32:hashevict=M",
          "contiguous:f32:keydiff=M,recent=M", "mapped:f16:expected=M,sinks=M,future=M"}) {
        std::string words = text;
        for (std::size_t at = 0; (at = words.find('M', at)) != std::string::npos;)
            words.replace(at, 1, most);
        if (words.find("f16") == std::string::npos && words.starts_with("paged=16:h2o"))
            words.replace(0, 9, "paged=16:f16:");
        INFO(words);
        const CacheSpec spec = CacheSpec::parse(words);
        const CachePlan plan = plan_cache(spec, layout, longest);
        CHECK((plan.payload >= std::size_t{row_limit} * 64 && plan.peak >= plan.payload / 2));
        CHECK(plan_cache(spec, layout, {100, 60, 0}).payload > 0);
        CHECK(longest_context(spec, layout, 1, 1, std::size_t{1} << 60,
                              std::numeric_limits<int>::max()) > 0);
    }
    const CacheSpec spec = CacheSpec::parse("paged=16:f16");
    const auto refused = [&](const HeadLayout& heads, const SequencePlan& sequence) {
        return code_of([&] { plan_cache(spec, heads, sequence); });
    };
    CHECK(refused(layout, {100, -1, 0}) == ErrorCode::invalid_argument);
    CHECK(refused(layout, {100, 1, std::numeric_limits<int>::max()}) ==
          ErrorCode::invalid_argument);
    CHECK(refused({4, 0, 8, 8}, {100, 1, 0}) == ErrorCode::invalid_argument);
    constexpr int huge = std::numeric_limits<int>::max();
    CHECK(refused({huge, huge, huge, huge}, longest) == ErrorCode::limit);
    CHECK(code_of([&] { plan_model(spec, layout, -1, 1, longest); }) ==
          ErrorCode::invalid_argument);
    CHECK(code_of([&] { plan_model(spec, layout, huge, huge, longest); }) == ErrorCode::limit);
    // And a cache under such a keep works.
    Random random(9);
    const RowMatrix k = random_matrix(random, 40, 32);
    const RowMatrix q = random_matrix(random, 40, 64);
    AnyCache endless =
        CacheSpec::parse("paged=16:f16:window=" + most + ",sinks=" + most).make(layout, 60);
    AnyCache plain = spec.make(layout, 60);
    CHECK(endless.span() == std::numeric_limits<int>::max());
    RowMatrix a(40, 64), b(40, 64);
    Context context;
    prefill(q, k, k, endless, {}, a, context);
    prefill(q, k, k, plain, {}, b, context);
    CHECK(same_bits(a, b));
    CHECK(endless.held() == 40);
    CHECK(code_of([&] {
              KvCache<Contiguous<F32>, WindowSinks<1>>(layout, 10, {}, {.window = -1});
          }) == ErrorCode::invalid_argument);
    AnyCache dropped = spec.make(layout, 60);
    prefill(q, k, k, dropped, {}, a, context);
    dropped.drop(2, 6);
    CHECK_FALSE((dropped.can_close(huge) || dropped.can_shift(2, huge)));
    dropped.close(2);
    CHECK_FALSE((dropped.can_close(huge) || dropped.can_close(3)));
    CHECK(dropped.can_close(2));
}
