#include <atomic>
#include <thread>

#include "support.hpp"
using namespace support;

TEST_CASE("a pool runs each task once, whoever calls, asleep or awake", "[thread_pool]") {
    ThreadPool pool(4);
    CHECK(pool.workers() == 4);
    CHECK(code_of([] { ThreadPool(0); }) == ErrorCode::invalid_argument);
    std::atomic<int> sum = 0;
    const auto caller = [&] {
        for (int round = 0; round < 200; ++round) {
            auto task = [&](int i, int) { sum += i; };
            pool.run(10, task);
            if (round % 100 == 0)
                std::this_thread::sleep_for(std::chrono::milliseconds(5));  // let it park
        }
    };
    std::thread other(caller);
    caller();
    other.join();
    CHECK(sum == 2 * 200 * 45);
}
