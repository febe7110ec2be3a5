#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "support.hpp"
using namespace support;

TEST_CASE("checked arithmetic refuses to wrap", "[checked]") {
    const std::size_t most = ~std::size_t{0};
    CHECK(checked_mul(most / 2, 2, "x") == most - 1);
    CHECK(code_of([&] { checked_mul(most / 2 + 1, 2, "x"); }) == ErrorCode::limit);
    CHECK(checked_add(most, 0, "x") == most);
    CHECK(code_of([&] { checked_add(most, 1, "x"); }) == ErrorCode::limit);
    CHECK(checked_cast<int>(std::size_t{7}, "x") == 7);
    CHECK(code_of([&] { checked_cast<int>(std::size_t{1} << 31, "x"); }) == ErrorCode::limit);
    CHECK(code_of([&] { checked_cast<std::size_t>(-1, "x"); }) == ErrorCode::limit);
    CHECK(round_up(0, 16) == 0);
    CHECK(round_up(17, 16) == 32);
}

TEST_CASE("every error code has a name of its own", "[error]") {
    std::set<std::string_view> names;
    for (int c = 0; c <= static_cast<int>(ErrorCode::usage); ++c)
        names.insert(code_name(static_cast<ErrorCode>(c)));
    CHECK(names.size() == static_cast<std::size_t>(ErrorCode::usage) + 1);
    CHECK(!names.contains("unknown"));
}

TEST_CASE("head layouts that cannot exist are refused", "[types]") {
    validate(HeadLayout{6, 3, 8, 4});
    CHECK(HeadLayout{6, 3, 8, 4}.group() == 2);
    CHECK(code_of([] { validate(HeadLayout{6, 4, 8, 8}); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { validate(HeadLayout{6, 0, 8, 8}); }) == ErrorCode::invalid_argument);
    CHECK(code_of([] { validate(HeadLayout{6, 3, -8, 8}); }) == ErrorCode::invalid_argument);
}

TEST_CASE("text becomes byte tokens", "[types]") {
    CHECK(bytes("a\xFF") == std::vector<Token>{97, 255});
}

TEST_CASE("a workspace gives memory back in order and keeps it", "[context]") {
    Workspace space;
    float* first = nullptr;
    {
        Workspace::Frame frame(space);
        first = frame.floats(10);
        float* second = frame.floats(1000000);  // a block of its own
        second[999999] = 1.0F;
        CHECK(reinterpret_cast<std::uintptr_t>(first) % 64 == 0);
        CHECK(reinterpret_cast<std::uintptr_t>(second) % 64 == 0);
    }
    const std::size_t held = space.bytes();
    {
        Workspace::Frame frame(space);
        CHECK(frame.floats(10) == first);
        frame.floats(1000000);
    }
    CHECK(space.bytes() == held);
}

TEST_CASE("parallel_for covers every index once", "[context]") {
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

TEST_CASE("a slow worker's share is done by the others", "[context]") {
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

TEST_CASE("this build keeps the promise, and the environment is restored", "[fp_environment]") {
    CHECK(exact());
#if defined(__x86_64__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);  // flush to zero, denormals are zero
    {
        const FpEnvironment environment;
        volatile float tiny = 1e-38F;
        CHECK(tiny * 0.01F > 0.0F);
    }
    CHECK((_mm_getcsr() & 0x8040) == 0x8040);
    CHECK(exact());
    _mm_setcsr(before);
#endif
}

TEST_CASE("mapped memory is zero, page aligned and movable", "[memory]") {
    Mapping a(10000, Mapping::Pages::small);
    CHECK(a.size() % page_size() == 0);
    CHECK(a.data()[9999] == std::byte{0});
    a.data()[1] = std::byte{7};
    Mapping b(std::move(a));
    CHECK(b.data()[1] == std::byte{7});
    CHECK(code_of([] { Mapping(std::size_t{1} << 60, Mapping::Pages::small); }) ==
          ErrorCode::out_of_memory);
}
