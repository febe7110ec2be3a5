// Parts from outside that break their word: the cache refuses, and is as it was.
#include <stdexcept>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/codec/decoded.hpp>

#include <cairn/cache/codec/latent.hpp>

#include "support.hpp"
using namespace support;

namespace {

const HeadLayout own_heads{2, 2, 8, 8};

// f32 rows, of which one cannot be written.
class Fragile final : public DecodedCodec {
  public:
    Fragile() : DecodedCodec({.name = "fragile"}) {}
    std::size_t unit_bytes(int dims) const override { return static_cast<std::size_t>(dims) * 4; }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        for (int r = 0; r < to.count; ++r) {
            if (x[r * stride] == 1000.0F) throw std::runtime_error("fragile");
            std::memcpy(to.unit + r * to.stride, x + r * stride,
                        static_cast<std::size_t>(dims) * 4);
        }
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        for (int r = 0; r < from.count; ++r)
            std::memcpy(x + r * stride, from.unit + r * from.stride,
                        static_cast<std::size_t>(dims) * 4);
    }
};
struct InFragile {
    StreamPlan plan(const StreamShape&) const { return std::make_shared<const Fragile>(); }
};
// Holds the last eight rows and shows more.
struct Boaster {
    static constexpr KeepFacts facts{.forgets = true};
    Extent extent(int capacity, int chunk) const { return {capacity, 0, 8, chunk}; }
    void intervals(int committed, int length, Intervals& to) const {
        to.push_back({std::max(0, committed - 12), length});
    }
};

}  // namespace

TEST_CASE("a codec that throws leaves the cache as it was", "[own_parts]") {
    Random random(5);
    const RowMatrix good = random_matrix(random, 6, 16);
    RowMatrix bad = good;
    bad(3, 8) = 1000.0F;  // the second head: the first one is written by then
    const auto tried = [&](auto cache, auto same) {
        const auto stage = [&](const RowMatrix& x) { cache.stage(token_rows(x), token_rows(x)); };
        for (int round = 0; round < 3; ++round) {
            CHECK_THROWS_AS(stage(bad), std::runtime_error);
            CHECK(cache.length() == cache.committed());
            for (auto* each : {&cache, &same}) {
                each->stage(token_rows(good), token_rows(good));
                each->commit();
            }
        }
        CHECK(cache.held() == same.held());
        CHECK(cache.payload_bytes(18) == same.payload_bytes(18));
        for (int head = 0; head < 2; ++head) CHECK(cache.positions(head) == same.positions(head));
    };
    const auto both = [&](auto make) { tried(AnyCache(make()), AnyCache(make())); };
    both([] { return KvCache<Contiguous<InFragile>>(own_heads, 40); });
    both([] { return KvCache<Paged<InFragile>>(own_heads, 40); });
    both([] { return KvCache<Contiguous<InFragile>, H2O<30>>(own_heads, 40); });
}

TEST_CASE("a keep that shows rows its extent forgets is refused", "[own_parts]") {
    Random random(6);
    const RowMatrix x = random_matrix(random, 8, 16);
    KvCache<Paged<F32>, Boaster> cache(own_heads, 60);
    const auto feed = [&] {
        cache.stage(token_rows(x), token_rows(x));
        cache.commit();
    };
    feed();
    CHECK(code_of(feed) == ErrorCode::invalid_argument);
    CHECK(cache.length() == 8);
}

namespace {

// All rows; throws in the call for which it was wound up.
struct TickingKeep {
    std::shared_ptr<int> calls = std::make_shared<int>(0);
    static constexpr KeepFacts facts{};
    Extent extent(int capacity, int chunk) const { return {capacity, 0, 0, chunk}; }
    void intervals(int, int length, Intervals& to) const {
        if (*calls > 0 && --*calls == 0) throw std::runtime_error("tick");
        if (length > 0) to.push_back({0, length});
    }
};

}  // namespace

TEST_CASE("a keep that throws where nothing can is an error of the next stage", "[own_parts]") {
    Random random(7);
    const RowMatrix x = random_matrix(random, 4, 16);
    const TickingKeep keep;
    AnyCache cache(own_heads, 60, Contiguous<F32>{}, keep);
    const auto stage = [&] { cache.stage(token_rows(x), token_rows(x)); };
    const auto shown = [&] {
        RunList keys;
        RunList values;
        cache.runs(0, keys, values);
        return keys.size() == 0 ? 0 : keys[0].end;
    };
    stage();
    *keep.calls = 1;
    cache.commit();
    CHECK(cache.committed() == 4);
    CHECK(shown() == 0);
    CHECK(code_of(stage) == ErrorCode::bad_state);
    CHECK(cache.length() == 4);
    cache.truncate(4);
    CHECK(shown() == 4);
    // While a stage asks, the keep's own error comes through; behind that, ours.
    for (int call = 1; call <= 3; ++call) {
        *keep.calls = call;
        if (call < 3)
            CHECK_THROWS_AS(stage(), std::runtime_error);
        else
            CHECK(code_of(stage) == ErrorCode::bad_state);
        CHECK(cache.length() == 4);
        CHECK(shown() == 4);
    }
    stage();
    cache.commit();
    CHECK(shown() == 8);
}

TEST_CASE("settings of a keep are looked at by value too", "[own_parts]") {
    const auto code = [](const auto& keep) {
        return code_of([&] {
            KvCache<Contiguous<F32>, std::decay_t<decltype(keep)>>(own_heads, 40, {}, keep);
        });
    };
    CHECK(code(HashEvict<20>{.budget = 3}) == ErrorCode::invalid_argument);
    CHECK(code(H2O<20>{.budget = 4, .recent = 5}) == ErrorCode::invalid_argument);
    CHECK(code(WindowSinks<8>{.window = 0}) == ErrorCode::invalid_argument);
    CHECK(code_of([] { (void)CacheSpec::parse("paged=16,=5"); }) == ErrorCode::usage);
}

TEST_CASE("wrappers around rows that are no plain rows are refused, with facts or without",
          "[own_parts]") {
    struct Silent {  // says no facts
        StreamPlan plan(const StreamShape& shape) const { return Inputs<F16>{}.plan(shape); }
    };
    const HeadLayout one_head{2, 1, 32, 16, 24};
    const auto code = [&](auto store) {
        return code_of([&] { AnyCache(one_head, 40, AnyStore(store), AnyKeep(KeepAll{})); });
    };
    CHECK(code(Contiguous<Latent<Silent>>{}) == ErrorCode::invalid_argument);
    CHECK(code(Contiguous<BareKeys<Silent>>{}) == ErrorCode::invalid_argument);
}
