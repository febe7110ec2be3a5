#include <sys/mman.h>

#include "cache/cache_support.hpp"
using namespace support;

namespace {

// Pages of a mapping that are in memory.
std::size_t resident(const Run& run, std::size_t bytes) {
    std::vector<unsigned char> map(bytes / page_size());
    REQUIRE(::mincore(run.data, bytes, map.data()) == 0);
    std::size_t pages = 0;
    for (const unsigned char page : map) pages += page & 1;
    return pages * page_size();
}

}  // namespace

TEST_CASE("a fork costs no rows until it writes", "[contiguous]") {
    Random random(4);
    KvCache<> cache(uneven_heads, 1000);
    append(cache, Step(random, 500));
    KvCache<> fork = cache.fork();
    RunList a, b, v;
    cache.runs(0, a, v);
    fork.runs(0, b, v);
    CHECK(a[0].data == b[0].data);
    append(cache, Step(random, 1));  // the parent goes on in place
    fork.runs(0, b, v);
    CHECK(a[0].data == b[0].data);
    append(fork, Step(random, 1));  // the child makes its own copy
    fork.runs(0, b, v);
    CHECK(a[0].data != b[0].data);
}

TEST_CASE("rows never move, and bytes are what the system holds", "[contiguous]") {
    Random random(5);
    KvCache<Contiguous<F16, F32>> cache(uneven_heads, 100000);
    RunList keys, values;
    CHECK(cache.bytes() == 0);
    append(cache, Step(random, 1));
    cache.runs(1, keys, values);
    const std::byte* where = keys[0].data;
    for (int i = 0; i < 60; ++i) {
        append(cache, Step(random, draw(random, 1, 90)));
        cache.runs(1, keys, values);
        REQUIRE(keys[0].data == where);
        const int rows = cache.committed();
        const std::size_t key_bytes =
            ContiguousRows::bytes_for(F16::keys(), 2, 20, {1000, 0, 0, 0}, rows);
        const std::size_t value_bytes =
            ContiguousRows::bytes_for(F32::values(), 2, 12, {1000, 0, 0, 0}, rows);
        REQUIRE(cache.bytes() == key_bytes + value_bytes);
        REQUIRE(cache.payload_bytes(rows) ==
                static_cast<std::size_t>(rows) * 2 * (20 * 2 + 12 * 4));
        // Each head's stretch holds exactly its share of pages.
        REQUIRE(resident(keys[0],
                         round_up(static_cast<std::size_t>(rows + 15) / 16 * 16 * 40, page_size()) +
                             page_size()) == key_bytes / 2);
        REQUIRE(resident(values[0], round_up(static_cast<std::size_t>(rows) * 48, page_size()) +
                                        page_size()) == value_bytes / 2);
    }
}
