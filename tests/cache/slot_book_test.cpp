// Keeps by score and everything that takes rows back, away or along: rollback, archives that are
// read, copied or refused, a prompt behind a prompt.
#include <cairn/cache/cache_spec.hpp>

#include "cache/cache_support.hpp"
using namespace support;

namespace {

const HeadLayout even_heads{4, 2, 16, 16};

struct Text {
    RowMatrix q, k, v;
    Text(Random& random, int rows)
        : q(random_matrix(random, rows, 64, 1.5)),
          k(random_matrix(random, rows, 32, 1.5)),
          v(random_matrix(random, rows, 32)) {}
};
template <class C>
RowMatrix feed(C& cache, const Text& t, int begin, int end) {
    RowMatrix out(end - begin, 64);
    Context context;
    prefill(t.q.middleRows(begin, end - begin), t.k.middleRows(begin, end - begin),
            t.v.middleRows(begin, end - begin), cache, {}, out, context);
    return out;
}
template <class C>
void stage(C& cache, const Text& t, int begin, int rows) {
    cache.stage(token_rows(t.k.middleRows(begin, rows)), token_rows(t.v.middleRows(begin, rows)));
}

const char* const every_keep[] = {"h2o=24,recent=8",   "h2o=16,recent=0", "snapkv=40",
                                  "nacl=20",           "nacl=20,seed=3",  "hashevict=24",
                                  "hashevict=24,key=1"};
const char* const every_store[] = {"contiguous:f32", "mapped:f16", "paged=16:q8_0"};

AnyCache make(const std::string& text) { return CacheSpec::parse(text).make(even_heads, 200, 1); }

}  // namespace

TEST_CASE("rows that were taken back are in no archive", "[scored_rows]") {
    Random random(1);
    const Text t(random, 120);
    for (const std::string store : every_store)
        for (const std::string keep : every_keep) {
            INFO(store << ":" << keep);
            AnyCache cache = make(store + ":" + keep);
            AnyCache twin = make(store + ":" + keep);
            for (AnyCache* one : {&cache, &twin}) {
                one->expect_prompt(50);
                feed(*one, t, 0, 20);
            }
            stage(cache, t, 20, 30);  // the rest of the prompt, cancelled
            cache.rollback();
            REQUIRE(archived(cache) == archived(twin));
            for (AnyCache* one : {&cache, &twin}) feed(*one, t, 20, 60);
            stage(cache, t, 60, 1);  // one that fills a hole, cancelled
            cache.rollback();
            REQUIRE(cache.bytes() == twin.bytes());
            AnyCache back = make(store + ":" + keep);
            MemoryArchive archive(archived(cache));
            back.archive(archive);
            const RowMatrix wanted = feed(twin, t, 60, 100);
            REQUIRE(same_bits(feed(back, t, 60, 100), wanted));
            REQUIRE(same_bits(feed(cache, t, 60, 100), wanted));
        }
}

TEST_CASE("rows that were staged one by one are taken back one by one", "[scored_rows]") {
    Random random(2);
    const Text t(random, 60);
    AnyCache cache = make("contiguous:f32:snapkv=40");
    cache.expect_prompt(41);
    feed(cache, t, 0, 41);  // one row went: a hole
    AnyCache twin = cache.copy();
    stage(cache, t, 41, 1);
    stage(cache, t, 42, 1);
    stage(cache, t, 43, 2);
    cache.rollback();
    REQUIRE(archived(cache).size() == archived(twin).size());
    REQUIRE(same_bits(feed(cache, t, 41, 60), feed(twin, t, 41, 60)));
}

TEST_CASE("a branch of a cache that was read is that cache", "[scored_rows]") {
    Random random(3);
    const Text t(random, 120);
    for (const std::string store : every_store)
        for (const std::string keep : every_keep) {
            INFO(store << ":" << keep);
            AnyCache cache = make(store + ":" + keep);
            cache.expect_prompt(50);
            feed(cache, t, 0, 70);
            MemoryArchive archive(archived(cache));
            AnyCache read = make(store + ":" + keep);
            read.archive(archive);
            AnyCache copy = read.copy();
            AnyCache fork = read.fork();
            AnyCache copy_of_fork = fork.copy();
            const RowMatrix wanted = feed(cache, t, 70, 120);
            for (AnyCache* one : {&copy, &fork, &copy_of_fork, &read})
                REQUIRE(same_bits(feed(*one, t, 70, 120), wanted));
        }
}

TEST_CASE("an archive that is refused leaves the cache as it was", "[scored_rows][kv_cache]") {
    Random random(4);
    const Text t(random, 130);
    std::vector<std::string> texts;
    for (const std::string keep : every_keep) texts.push_back("contiguous:f32:" + keep);
    for (const char* text :
         {"mapped:f16:h2o=24", "paged=16:q8_0:snapkv=40", "contiguous:f16", "mapped:kivi2",
          "paged=32:kivi4", "tiered=20:q4_0", "contiguous,disk=40:f16",
          "paged=16:f16:window=30,sinks=4", "contiguous:q8_0:window=20,sinks=3"})
        texts.emplace_back(text);
    for (const std::string& text : texts) {
        INFO(text);
        AnyCache cache = make(text);
        cache.expect_prompt(60);
        feed(cache, t, 0, 90);
        const std::vector<std::byte> whole = archived(cache);
        AnyCache twin = make(text);
        twin.expect_prompt(40);
        const RowMatrix wanted = feed(twin, t, 0, 130);
        for (int round = 0; round < 12; ++round) {
            AnyCache target = make(text);
            target.expect_prompt(40);
            const std::size_t bytes = target.bytes();
            std::vector<std::byte> cut = whole;
            cut.resize(round == 0 ? cut.size() - 1
                                  : static_cast<std::size_t>(random.below(cut.size())));
            MemoryArchive archive(std::move(cut));
            REQUIRE(code_of([&] { target.archive(archive); }) == ErrorCode::bad_file);
            REQUIRE((target.committed() == 0 && target.length() == 0));
            REQUIRE(target.capacity() == 200);
            REQUIRE(target.bytes() == bytes);
            REQUIRE(same_bits(feed(target, t, 0, 130), wanted));
        }
        // Nor does one that comes too late change what is there.
        MemoryArchive late(whole);
        REQUIRE(code_of([&] { twin.archive(late); }) == ErrorCode::bad_state);
        REQUIRE(twin.committed() == 130);
    }
}

TEST_CASE("pins: only those that can be written and read again", "[scored_rows]") {
    using Pinned = KvCache<Contiguous<F32>, H2O<20>>;
    Random random(5);
    const Text t(random, 80);
    Pinned cache(even_heads, 100);
    CHECK(code_of([&] { cache.pin(5, 5); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { cache.pin(-1, 5); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { cache.pin(0, row_limit + 1); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { cache.expect_prompt(row_limit + 1); }) == ErrorCode::invalid_argument);
    cache.pin(2, 6);
    Pinned other(even_heads, 100);
    other.pin(10, 30);
    feed(other, t, 0, 40);
    std::vector<std::byte> cut = archived(other);
    cut.resize(cut.size() / 2);
    MemoryArchive archive(std::move(cut));
    CHECK(code_of([&] { cache.archive(archive); }) == ErrorCode::bad_file);
    Pinned twin(even_heads, 100);
    twin.pin(2, 6);
    CHECK(same_bits(feed(cache, t, 0, 80), feed(twin, t, 0, 80)));
    const auto held = cache.positions(0);
    for (int p = 2; p < 6; ++p) CHECK(std::find(held.begin(), held.end(), p) != held.end());
    for (int i = 1; i < 1 << 16; ++i) twin.pin(i, i + 1);
    CHECK(code_of([&] { twin.pin(0, 1); }) == ErrorCode::limit);
}

TEST_CASE("the cut of a second prompt changes nothing either", "[scored_rows]") {
    Random random(6);
    const Text t(random, 120);
    for (const std::string keep : every_keep) {
        INFO(keep);
        RowMatrix wanted;
        for (int round = 0; round < 6; ++round) {
            AnyCache cache = make("contiguous:f32:" + keep);
            // So many that one row goes at the end, and leaves its slot free.
            const int first = keep.starts_with("snapkv") ? 41 : 30;
            cache.expect_prompt(first);
            feed(cache, t, 0, first);
            for (int at = first; at < 60; ++at) feed(cache, t, at, at + 1);
            cache.expect_prompt(90);
            for (int at = 60; at < 90;) {
                const int n = round == 0 ? 30 : std::min(90 - at, draw(random, 1, 8));
                feed(cache, t, at, at + n);
                at += n;
            }
            const RowMatrix got = feed(cache, t, 90, 120);
            if (round == 0)
                wanted = got;
            else
                REQUIRE(same_bits(got, wanted));
        }
    }
}

TEST_CASE("a cleared cache is a new one, whatever was announced", "[scored_rows]") {
    Random random(7);
    const Text t(random, 60);
    for (const std::string keep : every_keep) {
        INFO(keep);
        AnyCache cache = make("paged=16:f16:" + keep);
        cache.expect_prompt(55);
        if (keep.size() % 2 == 0) feed(cache, t, 0, 30);
        cache.clear();
        AnyCache twin = make("paged=16:f16:" + keep);
        REQUIRE(same_bits(feed(cache, t, 0, 60), feed(twin, t, 0, 60)));
    }
}
