#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>

#include "support.hpp"
using namespace support;

namespace {

// Whether `body` returns true in a forked child, within 20 seconds. The child leaves without its
// destructors: those of the test are the parent's.
template <class Body>
bool in_child(const Body& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        ::_exit(body() ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
bool adds_up(Executor& executor) {
    std::atomic<int> sum = 0;
    auto task = [&](int i, int) { sum += i; };
    for (int round = 0; round < 50; ++round) executor.run(10, task);
    return sum == 50 * 45;
}

}  // namespace

TEST_CASE("a pool runs each task once, whoever calls, asleep or awake", "[thread_pool]") {
    ThreadPool pool(4);
    CHECK(pool.workers() == 4);
    CHECK(code_of([] { ThreadPool(0); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { ThreadPool(1025); }) == ErrorCode::invalid_argument);
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

TEST_CASE("what a task throws, run throws, and the pool goes on", "[thread_pool]") {
    ThreadPool pool(3);
    for (int bad = 0; bad < 6; ++bad) {
        std::atomic<int> running = 0;
        auto task = [&](int i, int) {
            ++running;
            if (i == bad) --running, throw std::runtime_error("task");
            std::this_thread::yield();
            --running;
        };
        CHECK_THROWS_AS(pool.run(6, task), std::runtime_error);
        CHECK(running == 0);  // nobody still uses what lies on this stack
        CHECK(adds_up(pool));
    }
}

TEST_CASE("a forked child has threads of its own", "[fork]") {
    auto pool = std::make_unique<ThreadPool>(4);
    ThreadPool unused(2);
    CHECK(adds_up(*pool));
    CHECK(in_child([&] {
        const bool good = pool->workers() == 4 && adds_up(*pool) && adds_up(*pool);
        pool.reset();
        return good;
    }));
    CHECK(in_child([&] { return pool.reset(), true; }));  // does not wait for threads it has not
    // A child of a child, and two threads of one that find out at the same time.
    CHECK(in_child([&] {
        std::atomic<int> good = adds_up(*pool) ? 1 : 0;
        good += in_child([&] { return adds_up(*pool) && adds_up(unused); }) ? 1 : 0;
        std::thread other([&] { good += adds_up(unused) ? 1 : 0; });
        good += adds_up(unused) ? 1 : 0;
        other.join();
        return good == 4;
    }));
    // Forked while another thread is in the middle of a run.
    std::atomic<bool> stop = false;
    std::thread busy([&] {
        while (!stop) adds_up(*pool);
    });
    for (int i = 0; i < 10; ++i) CHECK(in_child([&] { return adds_up(*pool); }));
    stop = true;
    busy.join();
    CHECK(adds_up(*pool));
}

TEST_CASE("a pool ends, whenever its threads fall asleep", "[thread_pool]") {
    // The gaps between runs are about as long as a thread spins: it goes to sleep as it is called.
    // A call that is lost leaves it asleep for good, and the destructor with it.
    Random random(11);
    for (int round = 0; round < 60; ++round) {
        ThreadPool pool(2 + round % 3);
        for (int run = 0; run < 10; ++run) {
            CHECK(adds_up(pool));
            const auto gap = std::chrono::microseconds(draw(random, 0, 300));
            const auto until = std::chrono::steady_clock::now() + gap;
            while (std::chrono::steady_clock::now() < until) {
            }
        }
    }
}

TEST_CASE("a fork inside a task is an error in the child", "[fork]") {
    ThreadPool pool(2);
    std::atomic<int> inside = 0;
    std::atomic<bool> forked = false;
    pid_t child = -1;
    const auto task = [&](int, int worker) {
        ++inside;
        while (inside < pool.workers()) std::this_thread::yield();  // all have begun
        if (worker == 0) {
            child = ::fork();
            forked = true;
        }
        while (!forked) std::this_thread::yield();
    };
    const bool told = [&] {
        try {
            pool.run(pool.workers(), task);
        } catch (const Error& error) {
            return error.code() == ErrorCode::bad_state;
        }
        return pool.workers() < 2;
    }();
    if (child == 0) ::_exit(told ? 0 : 1);
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(adds_up(pool));
}
