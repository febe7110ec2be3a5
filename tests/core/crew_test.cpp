#include <signal.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "support.hpp"
using namespace support;

namespace {

using namespace std::chrono_literals;
std::atomic<bool> held{false}, release{false};

// As if another process had the core of this thread.
void hold(int) {
    held = true;
    const auto late = std::chrono::steady_clock::now() + 20s;
    while (!release && std::chrono::steady_clock::now() < late) {
    }
    held = false;
}

}  // namespace

TEST_CASE("a thread without a core holds up nobody", "[crew]") {
    ThreadPool pool(2);
    if (pool.workers() < 2) return;  // the system granted no second thread
    struct sigaction action {};
    struct sigaction before {};
    action.sa_handler = hold;
    ::sigaction(SIGUSR1, &action, &before);
    std::atomic<bool> known = false;
    pthread_t worker{};
    auto who = [&](int i, int number) {
        if (number == 1) worker = ::pthread_self(), known = true;
        while (i == 0 && !known) std::this_thread::yield();  // lets the other one come
    };
    pool.run(2, who);
    for (int round = 0; round < 20; ++round) {
        held = release = false;
        ::pthread_kill(worker, SIGUSR1);
        while (!held) std::this_thread::yield();
        std::atomic<int> sum = 0;
        std::atomic<int> strangers = 0;
        for (int i = 0; i < 100; ++i) {
            // What a run used is gone when the thread comes back.
            const auto bounds = std::make_unique<std::vector<int>>(5, 1);
            auto task = [&](int k, int number) {
                sum += (*bounds)[static_cast<std::size_t>(k)];
                strangers += number;
            };
            pool.run(5, task);
        }
        CHECK(held);  // the caller did not wait for it
        CHECK(sum == 500);
        CHECK(strangers == 0);
        release = true;
        while (held) std::this_thread::yield();
        std::atomic<int> after = 0;
        auto task = [&](int, int) { ++after; };
        for (int i = 0; i < 20; ++i) pool.run(3, task);
        CHECK(after == 60);
    }
    ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("tasks go to threads that do not rest, whatever their numbers", "[crew]") {
    ThreadPool pool(3);
    if (pool.workers() < 3) return;  // the system granted fewer
    std::atomic<bool> known = false;
    pthread_t first{};
    auto who = [&](int, int number) {
        if (number == 1) first = ::pthread_self(), known = true;
        const auto late = std::chrono::steady_clock::now() + 5ms;
        while (!known && std::chrono::steady_clock::now() < late) std::this_thread::yield();
    };
    for (int i = 0; i < 200 && !known; ++i) pool.run(3, who);
    if (!known) return;  // a busy machine
    struct sigaction action {};
    struct sigaction before {};
    action.sa_handler = hold;
    ::sigaction(SIGUSR1, &action, &before);
    int rested = 0;
    int shared = 0;
    for (int round = 0; round < 60 && rested < 10; ++round) {
        // Held while it waits for work, it finds that it had no core, and rests.
        auto nothing = [](int, int) {};
        pool.run(3, nothing);
        held = release = false;
        ::pthread_kill(first, SIGUSR1);
        while (!held) std::this_thread::yield();
        std::this_thread::sleep_for(8ms);
        release = true;
        while (held) std::this_thread::yield();
        const auto seen = std::chrono::steady_clock::now() + 2ms;
        while (pool.useful_workers() == 3 && std::chrono::steady_clock::now() < seen) {
        }
        if (pool.useful_workers() != 2) continue;
        std::atomic<int> other = -1;  // who has the second task
        const auto task = [&](int i, int number) {
            if (i == 1) other = number;
            const auto late = std::chrono::steady_clock::now() + 300ms;
            while (other < 0 && std::chrono::steady_clock::now() < late) std::this_thread::yield();
        };
        pool.run(2, task);
        ++rested;
        shared += other > 0 ? 1 : 0;
    }
    ::sigaction(SIGUSR1, &before, nullptr);
    INFO(rested << " rounds in which a thread rested");
    CHECK((rested == 0 || shared > 0));
}

TEST_CASE("a thread that loses its core again and again rests for a while", "[crew]") {
    internal::Crowding crowding;
    CHECK_FALSE(crowding.rests());
    internal::Crowding::Gap gap(crowding);
    const auto lose_core = [&] {
        const auto begin = std::chrono::steady_clock::now();
        gap.lost_core();
        std::this_thread::sleep_for(5ms);
        CHECK(gap.lost_core());
        return std::chrono::steady_clock::now() - begin;
    };
    // Once in a long while is nothing. (Where other programs have the cores, 5 ms may be many
    // more.)
    if (lose_core() < 6ms) CHECK_FALSE(crowding.rests());
    const bool rested = crowding.rests();
    crowding.look_if_asked();
    CHECK(crowding.rests() == rested);
    for (int i = 0; i < 20 && !crowding.rests(); ++i) lose_core();
    CHECK(crowding.rests());
    crowding.look_if_asked();  // nobody asked
    CHECK(crowding.rests());
    // It comes back when it was asked to look and could have a core; on a busy machine not at once.
    int calm = 0;  // rounds in which this thread kept its core for longer than a look takes
    for (int i = 0; i < 1000 && calm < 50 && crowding.rests(); ++i) {
        std::this_thread::sleep_for(20ms);
        REQUIRE(crowding.due(internal::Crowding::now()));
        crowding.ask();
        CHECK_FALSE(crowding.due(internal::Crowding::now()));  // once for each look
        crowding.look_if_asked();
        const auto begin = std::chrono::steady_clock::now();
        auto last = begin, now = begin;
        for (; now - begin < 2ms && now - last < 100us; now = std::chrono::steady_clock::now()) {
            last = now;
            std::this_thread::yield();
        }
        calm += now - last < 100us ? 1 : 0;
    }
    INFO(calm << " calm rounds");
    CHECK((!crowding.rests() || calm < 50));
#if defined(__linux__)
    CHECK(internal::waited_for_core(internal::thread_number()) >= -1);
    CHECK(internal::waited_for_core(-1) == -1);
#endif
}
