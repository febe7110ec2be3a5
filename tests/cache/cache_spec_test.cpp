#include <limits>

#include "cache/cache_support.hpp"
using namespace support;

namespace {

// A whole cache by a word, with a setting: so many rows more than it was asked for.
struct Roomy {
    int more = 3;
    static constexpr std::string_view word = "roomy";
    static constexpr std::string_view help = "room for N rows more";
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "rows more", 1}, self.more);
    }
    AnyCache make(const HeadLayout& layout, int capacity, int) const {
        return KvCache<Contiguous<F16>>(layout, capacity + more);
    }
};

}  // namespace

TEST_CASE("a SPEC names a cache, one way only", "[any_cache]") {
    CHECK(CacheSpec::parse("contiguous").canonical() == "contiguous:f32");
    CHECK(CacheSpec::parse("contiguous:k=bf16,v=f16").canonical() == "contiguous:k=bf16,v=f16");
    CHECK(CacheSpec::parse("contiguous:k=f16,v=f16").canonical() == "contiguous:f16");
    for (const char* bad : {"",
                            "pages",
                            "paged=0",
                            "mapped,disk=64",
                            "contiguous,disk=0",
                            "contiguous,disk",
                            "tiered=8,disc=64",
                            "contiguous,disk=64:f16:window=8",
                            "paged=8:f16",
                            "paged=16:kivi4",
                            "contiguous=4",
                            "contiguous:q9",
                            "contiguous:k=f16",
                            "contiguous:k=f16,v=",
                            "contiguous:f16:most",
                            "contiguous:f16:window",
                            "contiguous::window=0",
                            "contiguous::window=4,recent=3",
                            "contiguous::h2o=4,recent=5",
                            "contiguous::h2o=99999999999",
                            "contiguous::hashevict=14",
                            "contiguous:kivi4:h2o=40",
                            "tiered:kivi2",
                            "tiered::snapkv=50",
                            "contiguous:f16:all:all",
                            ":f16"})
        CHECK(code_of([&] { CacheSpec::parse(bad); }) == ErrorCode::usage);
    Random random(7);
    AnyCache any = CacheSpec::parse("contiguous:k=f16,v=f32").make(uneven_heads, 40);
    KvCache<Contiguous<F16, F32>> typed(uneven_heads, 40);
    const Step step(random, 30);
    append(any, step);
    append(typed, step);
    CHECK(decoded_rows(any) == decoded_rows(typed));
    CHECK(any.bytes() == typed.bytes());
    AnyCache fork = any.fork();
    any.truncate(10);
    CHECK(decoded_rows(fork) == decoded_rows(typed));
    CHECK(any.copy().committed() == 10);
}

TEST_CASE("a whole cache has a word of its own", "[any_cache]") {
    cache_words().cache(Roomy{});
    const CacheSpec spec = CacheSpec::parse("roomy=7");
    CHECK(spec.canonical() == "roomy=7");
    CHECK(CacheSpec::parse("roomy").canonical() == "roomy=3");
    CHECK(spec.make(uneven_heads, 20).capacity() == 27);
    CHECK_FALSE(spec.streaming());
    CHECK(CacheSpec::stores().find("roomy[=N]") != std::string::npos);
    for (const char* wrong : {"roomy=7:f16", "roomy:f16", "roomy=0", "roomy=7,more=1"})
        CHECK(code_of([&] { CacheSpec::parse(wrong); }) == ErrorCode::usage);
    CHECK(code_of([&] { (void)spec.store().facts_now(); }) == ErrorCode::bad_state);
}

TEST_CASE("a pool takes a number of blocks, or says that it does not", "[cache_spec]") {
    CacheSpec paged = CacheSpec::parse("paged=32,blocks=7:f16");
    for (const int bad : {-1, std::numeric_limits<int>::max()}) {
        CHECK(code_of([&] { paged.set_pool_blocks(bad); }) == ErrorCode::usage);
        CHECK(paged.canonical() == "paged=32,blocks=7:f16");
    }
    paged.set_pool_blocks(9);
    CHECK(paged.canonical() == "paged=32,blocks=9:f16");
    paged.set_pool_blocks(0);
    CHECK(paged.canonical() == "paged=32:f16");
    CacheSpec flat = CacheSpec::parse("contiguous:f16");
    flat.set_pool_blocks(9);
    CHECK(flat.canonical() == "contiguous:f16");
}
