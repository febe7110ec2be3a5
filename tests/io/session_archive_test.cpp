// Archives of caches that lean on more than their own rows: budgets by layer, rows kept with those
// of the layer before, notes of queries, room that was made by closing holes. They come back, and
// what a file must not say of them is refused.
#include <cairn/io/session_archive.hpp>

#include "cache/script_support.hpp"
#include "session_support.hpp"
using namespace support;

namespace {

/// Reads what was stored, with one number in place of another.
class ForgedArchive final : public CacheArchive {
  public:
    ForgedArchive(std::vector<std::byte> stored, std::string what, std::int64_t value)
        : stored_(std::move(stored)), what_(std::move(what)), value_(value) {}
    bool loading() const noexcept override { return true; }
    using CacheArchive::number;
    void number(std::string_view what, std::int64_t& value, std::int64_t least,
                std::int64_t most) override {
        bytes(&value, sizeof value);
        if (what == what_) value = value_;
        require(value >= least && value <= most, ErrorCode::bad_file, what, " ", value);
    }
    void bytes(void* data, std::size_t size) override {
        require(size <= stored_.size() - read_, ErrorCode::bad_file, "the archive ends");
        std::memcpy(data, stored_.data() + read_, size);
        read_ += size;
    }

  private:
    std::vector<std::byte> stored_;
    std::string what_;
    std::int64_t value_;
    std::size_t read_ = 0;
};

std::string refusal_of(AnyCache& cache, CacheArchive& archive) {
    try {
        cache.archive(archive);
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::bad_file);
        CHECK(cache.committed() == 0);
        return error.what();
    }
    return "no error";
}

}  // namespace

TEST_CASE("a typed session whose layers have budgets of their own is saved and loaded",
          "[session_archive]") {
    const Folder folder("-budgets");
    const TinyLlama model = tiny_llama();
    using Pyramid = KvCache<Contiguous<F32>, PyramidKv<100>>;
    Random random(9);
    const auto tokens = random_tokens(random, 220, model.vocabulary());
    auto typed = model.session<Pyramid>(240);
    typed.expect_prompt(200);
    typed.prefill(Tokens(tokens).first(200));
    CHECK(cache_held(typed.layer_cache(0)) == 168);
    CHECK(cache_held(typed.layer_cache(1)) == 32);
    const std::string path = folder.file("a.cairn");
    save_session(path, typed, {.tokens = tokens}, SessionOwner{});
    auto again = model.session<Pyramid>(240);
    load_session(path, again, SessionOwner{});
    auto spoken = session_of(model, CacheSpec::parse("contiguous:f32:pyramidkv=100"), 240);
    load_session(path, spoken, SessionOwner{});
    for (std::size_t i = 200; i < tokens.size(); ++i) {
        const auto wanted = typed.decode(tokens[i]);
        REQUIRE(same_bits(again.decode(tokens[i]), wanted));
        REQUIRE(same_bits(spoken.decode(tokens[i]), wanted));
    }
}

TEST_CASE("pages of rows that lean on the layer before are read, saved and loaded",
          "[session_archive]") {
    const Folder folder("-based");
    const TinyLlama model = tiny_llama();
    Random random(10);
    const auto tokens = random_tokens(random, 150, model.vocabulary());
    for (const char* word : {"contiguous:uniform=4,group=16,across=1:all:quest=48,page=16,full=0",
                             "paged=16:uniform=3,group=16,across=1:all:quest=32,page=16,full=0"}) {
        INFO(word);
        const CacheSpec spec = CacheSpec::parse(word);
        auto straight = session_of(model, spec, 160);
        std::vector<float> wanted(150 * static_cast<std::size_t>(model.vocabulary()));
        straight.score(tokens, wanted.data());
        auto before = session_of(model, spec, 160);
        before.prefill(Tokens(tokens).first(100));
        save_session(folder.file("a.cairn"), before, {.tokens = tokens}, SessionOwner{});
        auto after = session_of(model, spec, 160);
        load_session(folder.file("a.cairn"), after, SessionOwner{});
        std::span<const float> last;
        for (std::size_t i = 100; i < tokens.size(); ++i) last = after.decode(tokens[i]);
        CHECK(same_bits(last, std::span(wanted).last(last.size())));
    }
}

TEST_CASE("rows that lean on rows which the layer before has not are refused",
          "[session_archive]") {
    Random random(11);
    const HeadLayout heads = uneven_heads;
    for (const char* word : {"contiguous:uniform=4,across=1", "paged=16:uniform=4,across=1",
                             "contiguous:xlayers,km=1,vm=1,group=32,recent=32"}) {
        INFO(word);
        const CacheSpec spec = CacheSpec::parse(word);
        const Step all(random, 200);
        CacheSet<AnyCache> saved = cache_set_of(spec, heads, 2);
        std::vector<std::byte> first, second;
        for (const int end : {80, 200}) {
            for (int layer = 0; layer < 2; ++layer) {
                const int begin = saved[layer].committed();
                const auto [k, v] = step_rows(all, begin, end - begin);
                saved[layer].append(k, v);
            }
            if (end == 80) first = archived(saved[0]);
        }
        second = archived(saved[1]);
        // The leader as it was early, its follower as it was late.
        CacheSet<AnyCache> loaded = cache_set_of(spec, heads, 2);
        MemoryArchive early(first);
        loaded[0].archive(early);
        MemoryArchive late(second);
        CHECK_THAT(refusal_of(loaded[1], late), has_text("which has fewer"));
    }
}

TEST_CASE("notes of queries stand in a file only while a prompt is read", "[session_archive]") {
    Random random(12);
    const Step all(random, 120);
    const CacheSpec spec = CacheSpec::parse("contiguous:f32:expected=40,queries=40");
    for (const int rows : {60, 120}) {
        AnyCache cache = spec.make(uneven_heads, 200);
        cache.expect_prompt(100);
        for (int at = 0; at < rows; at += 20) {
            const auto [k, v] = step_rows(all, at, 20);
            cache.append(k, v);
        }
        AnyCache loaded = spec.make(uneven_heads, 200);
        MemoryArchive plain(archived(cache));
        loaded.archive(plain);
        CHECK(archived(loaded) == archived(cache));
        if (rows < 100) continue;
        AnyCache forged = spec.make(uneven_heads, 200);
        ForgedArchive archive(archived(cache), "notes of queries", 1);
        CHECK_THAT(refusal_of(forged, archive), has_text("notes of queries 1"));
    }
}

TEST_CASE("a file's room does not go beyond positions that are learned", "[session_archive]") {
    const Folder folder("-room");
    const auto model =
        TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 50, .context = 64}, 1);
    Random random(13);
    const auto tokens = random_tokens(random, 30, 50);
    auto before = model.session<KvCache<Paged<F32>>>(64);
    before.prefill(tokens);
    for (int layer = 0; layer < 2; ++layer) {  // what a session with such positions refuses
        before.layer_cache(layer).drop(0, 16);
        before.layer_cache(layer).close(16);
    }
    CHECK(before.layer_cache(0).capacity() > 64);
    save_session(folder.file("a.cairn"), before, {.tokens = tokens}, SessionOwner{});
    auto after = model.session<KvCache<Paged<F32>>>(64);
    load_session(folder.file("a.cairn"), after, SessionOwner{});
    CHECK(after.capacity() == 64);
}

TEST_CASE("a session that was saved behind a shift has its room when it is loaded",
          "[session_archive]") {
    const Folder folder("-shift");
    const TinyLlama model = small_llama(13, 64);
    Random random(17);
    const auto tokens = random_tokens(random, 90, 13);
    auto before = model.session<KvCache<Paged<F32>>>(64);
    before.prefill(Tokens(tokens).first(64));
    before.shift(4, 32);
    before.prefill(Tokens(tokens).subspan(64, 10));  // beyond the model's context
    const std::string path = folder.file("a.cairn");
    save_session(path, before, {.tokens = {tokens.begin(), tokens.begin() + 74}}, SessionOwner{});
    auto after = model.session<KvCache<Paged<F32>>>(64);
    load_session(path, after, SessionOwner{});
    CHECK(after.position() == 74);
    CHECK(after.capacity() == 96);
    for (std::size_t i = 74; i < tokens.size(); ++i)
        REQUIRE(same_bits(after.decode(tokens[i]), before.decode(tokens[i])));
}
