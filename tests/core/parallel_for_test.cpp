#include <atomic>
#include <thread>

#include "support.hpp"
using namespace support;

TEST_CASE("parallel_for covers every index once", "[parallel_for]") {
    ThreadPool pool(3);
    for (const std::ptrdiff_t count : {0, 1, 2, 7, 100, 1001}) {
        for (const std::ptrdiff_t grain : {1, 8, 2000}) {
            std::vector<std::atomic<int>> hits(static_cast<std::size_t>(count));
            std::atomic<int> strangers = 0;  // Catch's own checks are for one thread
            parallel_for(pool, count, grain,
                         [&](std::ptrdiff_t begin, std::ptrdiff_t end, int worker) {
                             if (worker < 0 || worker >= pool.workers()) ++strangers;
                             for (std::ptrdiff_t i = begin; i < end; ++i)
                                 ++hits[static_cast<std::size_t>(i)];
                         });
            CHECK(strangers == 0);
            CHECK(std::all_of(hits.begin(), hits.end(), [](const auto& n) { return n == 1; }));
        }
    }
}

TEST_CASE("a slow worker's share is done by the others", "[parallel_for]") {
    ThreadPool pool(2);
    if (pool.workers() < 2) return;  // the system granted no second thread
    constexpr std::ptrdiff_t count = 64;
    std::atomic<std::ptrdiff_t> done = 0;
    std::atomic<bool> alone = false;
    parallel_for(pool, count, 1, [&](std::ptrdiff_t begin, std::ptrdiff_t end, int) {
        if (begin == 0) {
            const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
            while (done < count - end && !alone) {
                std::this_thread::yield();
                if (std::chrono::steady_clock::now() > late) alone = true;
            }
        }
        done += end - begin;
    });
    CHECK_FALSE(alone);
    CHECK(done == count);
}
