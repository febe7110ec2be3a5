// Budgets that differ by head and layer: what each head keeps, what it costs, and that it is the
// same whatever the prompt is cut into.
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include <cairn/cache/planner.hpp>

#include "cache/cache_support.hpp"
using namespace support;

namespace {

HeadLayout budget_heads(int layers) {
    HeadLayout layout{6, 3, 16, 16};
    layout.layers = layers;
    return layout;
}
struct Spoken {
    RowMatrix q, k, v;
    Spoken(Random& random, int rows)
        : q(random_matrix(random, rows, 96, 1.5)),
          k(random_matrix(random, rows, 48, 1.0)),
          v(random_matrix(random, rows, 48)) {
        // The first head's queries look at few rows each, the last one's at all alike.
        q.leftCols(32) *= 3.0F;
        q.rightCols(32) *= 0.2F;
    }
};
void speak(AnyCache& cache, const Spoken& t, int begin, int end, int piece = 1 << 20) {
    Context context;
    for (int at = begin; at < end; at += piece) {
        const int n = std::min(piece, end - at);
        RowMatrix out(n, 96);
        prefill(t.q.middleRows(at, n), t.k.middleRows(at, n), t.v.middleRows(at, n), cache,
                {.scale = 0.25F}, out, context);
    }
}
std::vector<std::size_t> counts_of(const AnyCache& cache) {
    std::vector<std::size_t> counts;
    for (int h = 0; h < 3; ++h) counts.push_back(cache.positions(h).size());
    return counts;
}
// A file that is gone with the test.
struct ScoreFile {
    std::string path = (std::filesystem::temp_directory_path() /
                        ("cairn-heads-" + std::to_string(::getpid()) + ".tsv"))
                           .string();
    explicit ScoreFile(const std::string& text) {
        std::FILE* file = std::fopen(path.c_str(), "wb");
        REQUIRE(file != nullptr);
        std::fwrite(text.data(), 1, text.size(), file);
        std::fclose(file);
    }
    ~ScoreFile() { std::remove(path.c_str()); }
};

}  // namespace

TEST_CASE("AdaKV spreads a layer's budget over its heads, and leaves every head its share",
          "[keep]") {
    Random random(81);
    const Spoken t(random, 220);
    for (const int safeguard : {0, 20, 100}) {
        const std::string spec = "paged=16:f32:adakv=60,safeguard=" + std::to_string(safeguard);
        AnyCache cache = CacheSpec::parse(spec).make(budget_heads(0), 220);
        cache.expect_prompt(200);
        speak(cache, t, 0, 200);
        const auto counts = counts_of(cache);
        CHECK(counts[0] + counts[1] + counts[2] == 180);
        for (const std::size_t n : counts)
            CHECK(n >= static_cast<std::size_t>(60 * safeguard / 100));
        if (safeguard == 100) {
            CHECK(counts == std::vector<std::size_t>{60, 60, 60});
            AnyCache snap = CacheSpec::parse("f32:snapkv=60").make(budget_heads(0), 220);
            snap.expect_prompt(200);
            speak(snap, t, 0, 200);
            for (int h = 0; h < 3; ++h) CHECK(cache.positions(h) == snap.positions(h));
        } else {
            CHECK(counts != std::vector<std::size_t>{60, 60, 60});
        }
        // Payload is planned to the byte, memory at most. Later rows all stay.
        CHECK(cache.payload_bytes(200) ==
              plan_cache(CacheSpec::parse(spec), budget_heads(0), {220, 200, 200}).payload);
        speak(cache, t, 200, 220);
        for (int h = 0; h < 3; ++h)
            CHECK(cache.positions(h).size() == counts[static_cast<std::size_t>(h)] + 20);
        const CachePlan plan = plan_cache(CacheSpec::parse(spec), budget_heads(0), {220, 220, 200});
        CHECK(cache.bytes() <= plan.committed);
    }
}

TEST_CASE("AdaKV: budgets whose sum is more than an int are summed up", "[keep]") {
    // Three of these are 2^32 + 2.
    std::vector<int> budgets(3, 1431655766);
    const std::vector<int> positions = {0, 1, 2, 3, 4};
    const std::vector<float> scores = {0.5F, 0.1F, 0.4F, 0.2F, 0.3F};
    std::vector<HeldRows> heads;
    for (int h = 0; h < 3; ++h) heads.push_back({h, 0, 5, 5, budgets[0], positions, scores});
    std::vector<RankedRow> room(15);
    SpreadHeads(std::make_shared<ObservedRows>(2), 20).spread(heads, budgets, room);
    CHECK(budgets == std::vector<int>{5, 5, 5});
}

TEST_CASE("budgets by head and layer: the cut of a prompt changes no bit", "[keep]") {
    Random random(82);
    const Spoken t(random, 150);
    const ScoreFile file("0.9 0.1 0.2\n0.3\t0.8\t0.0\n");
    for (const std::string& spec :
         {std::string("contiguous:f32:adakv=30"), std::string("paged=16:q8_0:adakv=30,law=1"),
          std::string("contiguous:f16:pyramidkv=40,beta=2"),
          "paged=16:f16:duo=20,sinks=3,full=34,heads=" + file.path}) {
        std::vector<std::byte> first;
        for (const int piece : {1000, 1, 23}) {
            AnyCache cache = CacheSpec::parse(spec).make(budget_heads(2), 150, 1);
            cache.expect_prompt(120);
            speak(cache, t, 0, 120, piece);
            speak(cache, t, 120, 150, piece == 1000 ? 1000 : 1);
            if (first.empty()) first = archived(cache);
            CHECK(archived(cache) == first);
            AnyCache loaded = CacheSpec::parse(spec).make(budget_heads(2), 170, 1);
            MemoryArchive archive(first);
            loaded.archive(archive);
            CHECK(archived(loaded) == first);
        }
    }
}

TEST_CASE("PyramidKV's layers keep fewer and fewer rows, the budget on average", "[keep]") {
    Random random(83);
    const Spoken t(random, 600);
    const CacheSpec spec = CacheSpec::parse("contiguous:f32:pyramidkv=100,beta=2");
    std::size_t sum = 0;
    std::size_t before = 1000;
    for (int layer = 0; layer < 5; ++layer) {
        AnyCache cache = spec.make(budget_heads(5), 600, layer);
        cache.expect_prompt(600);
        speak(cache, t, 0, 600);
        const auto counts = counts_of(cache);
        CHECK(counts == std::vector<std::size_t>(3, counts[0]));
        CHECK(counts[0] < before);
        before = counts[0];
        sum += counts[0];
    }
    CHECK(sum == 500);
    CHECK(before == 50);
    const CachePlan plan = plan_model(spec, budget_heads(0), 5, 1, {600, 600, 600});
    CHECK(plan.payload == 500 * 3 * 2 * 16 * sizeof(float));
    // Not told of layers: the average.
    AnyCache alone = spec.make(budget_heads(0), 600, 3);
    alone.expect_prompt(600);
    speak(alone, t, 0, 600);
    CHECK(alone.held() == 100);
}

TEST_CASE("DuoAttention: full heads keep all, the others the first rows and the last", "[keep]") {
    Random random(84);
    const Spoken t(random, 140);
    const ScoreFile file("0.1 0.7 0.2\n0.9 0.3 0.0\n");
    const CacheSpec spec =
        CacheSpec::parse("contiguous:f32:duo=20,sinks=4,full=33,heads=" + file.path);
    CHECK(spec.canonical() == "contiguous:f32:duo=20,sinks=4,full=33,heads=" + file.path);
    for (int layer = 0; layer < 2; ++layer)
        for (const int prompt : {0, 100}) {
            AnyCache cache = spec.make(budget_heads(2), 140, layer);
            if (prompt > 0) cache.expect_prompt(prompt);
            speak(cache, t, 0, 140, prompt > 0 ? 100 : 1);
            for (int h = 0; h < 3; ++h) {
                const bool full = h == (layer == 0 ? 1 : 0);
                std::vector<int> wanted;
                for (int j = 0; j < 140; ++j)
                    if (full || j < 4 || j >= 120) wanted.push_back(j);
                CHECK(cache.positions(h) == wanted);
            }
            CHECK(cache.payload_bytes(140) == (140 + 24 + 24) * 2 * 16 * sizeof(float));
            CHECK(cache.payload_bytes(140) ==
                  plan_cache(spec.store(), spec.keep(), budget_heads(2), {140, 140, prompt}, layer)
                      .payload);
        }
    CHECK(code_of([] { CacheSpec::parse("f32:duo=20"); }) == ErrorCode::usage);
    CHECK(code_of([] { CacheSpec::parse("f32:duo=20,heads="); }) == ErrorCode::usage);
    CHECK(code_of([] { CacheSpec::parse("f32:duo=20,heads=/no/such/file"); }) == ErrorCode::io);
    CHECK_NOTHROW(CacheSpec::parse("f32:duo=20,full=0"));
    CHECK(code_of([&] { spec.make(budget_heads(3), 100); }) == ErrorCode::shape_mismatch);
    CHECK(code_of([&] { spec.make({4, 2, 16, 16}, 100); }) == ErrorCode::shape_mismatch);
    for (const char* text : {"", "\n\n", "1 2\n3\n", "1 x\n", "nan 1\n", "inf 1\n"}) {
        INFO(text);
        const ScoreFile bad(text);
        CHECK(code_of([&] { HeadScores::from_word(bad.path); }) == ErrorCode::bad_file);
    }
}

TEST_CASE("settings of budgets by head and layer", "[keep]") {
    CHECK(CacheSpec::parse("f16:adakv=512").canonical() == "contiguous:f16:adakv=512,safeguard=20");
    CHECK(CacheSpec::parse("f16:adakv=512,law=1").canonical() ==
          "contiguous:f16:adakv=512,safeguard=20,law=1");
    CHECK(CacheSpec::parse("f16:pyramidkv=512").canonical() ==
          "contiguous:f16:pyramidkv=512,beta=20");
    CHECK(CacheSpec::keeps().find("duo=N[,sinks=N][,full=N][,heads=FILE]") != std::string::npos);
    CHECK(code_of([] { CacheSpec::parse("f16:adakv=512,safeguard=101"); }) == ErrorCode::usage);
    CHECK(code_of([] { CacheSpec::parse("f16:pyramidkv=512,beta=0"); }) == ErrorCode::usage);
    CHECK(code_of([] { SpreadHeads(std::make_shared<HeavyHitters>(9, 3), 20); }) ==
          ErrorCode::invalid_argument);
    CHECK(code_of([] { SpreadHeads(nullptr, 20); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { FallingBudgets(std::make_shared<ObservedRows>(9), {.layers = 0}); }) ==
          ErrorCode::invalid_argument);
    CHECK(code_of([] { SplitHeads({true, false, true}, 2, 4, 10); }) ==
          ErrorCode::invalid_argument);
}
