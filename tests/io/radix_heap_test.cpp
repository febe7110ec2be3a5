#include <functional>
#include <queue>

#include <cairn/io/radix_heap.hpp>

#include "support.hpp"
using namespace support;

TEST_CASE("a radix heap gives the order of an ordinary one, early numbers too", "[bpe]") {
    Random random(5);
    internal::RadixHeap heap;
    for (int round = 0; round < 200; ++round) {
        heap.clear();  // also one that was not emptied
        std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> plain;
        const int early = draw(random, 0, 2);  // of ten
        std::uint64_t last = 0;
        for (int step = draw(random, 0, 600); step > 0; --step) {
            if (plain.empty() || draw(random, 0, 2) > 0) {
                const std::uint64_t wide = (std::uint64_t{random.below(1U << 16)} << 32) |
                                           random.below(1U << (1 + round % 20));
                const bool back = draw(random, 0, 9) < early;
                const std::uint64_t number = back ? wide : std::max(wide, last);
                heap.push(number);
                plain.push(number);
                continue;
            }
            REQUIRE_FALSE(heap.empty());
            last = plain.top();
            plain.pop();
            REQUIRE(heap.pop() == last);
        }
        REQUIRE(heap.empty() == plain.empty());
        if (round % 2 == 0)
            for (; !plain.empty(); plain.pop()) REQUIRE(heap.pop() == plain.top());
    }
}
