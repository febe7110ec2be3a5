#include <cairn/core/scratch_file.hpp>

#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include "session_support.hpp"
using namespace support;

namespace {

std::vector<std::byte> pattern(Random& random, std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random.below(256));
    return bytes;
}

}  // namespace

TEST_CASE("slots of a scratch file hold what was written, against a model", "[scratch_file]") {
    Random random(71);
    ScratchFile file;
    struct Held {
        std::vector<std::byte> bytes;
        int references;
    };
    std::map<ScratchFile::Slot, Held> model;
    std::size_t most = 0;
    for (int step = 0; step < 4000; ++step) {
        auto any = model.begin();
        if (!model.empty()) std::advance(any, random.below(model.size()));
        switch (model.empty() ? 0 : random.below(4)) {
            case 0: {
                const std::size_t size = 100 * (1 + random.below(3));
                const ScratchFile::Slot slot = file.take(size);
                REQUIRE(model.count(slot) == 0);
                const auto bytes = pattern(random, size);
                file.write(slot, 0, bytes.data(), 60);
                file.write(slot, 60, bytes.data() + 60, size - 60);
                model[slot] = {bytes, 1};
                break;
            }
            case 1:
                file.share(any->first);
                ++any->second.references;
                break;
            case 2:
                file.let_go(any->first);
                if (--any->second.references == 0) model.erase(any);
                break;
            default: {
                std::vector<std::byte> got(any->second.bytes.size() - 30);
                file.prefetch(any->first, 30, got.size());
                REQUIRE(file.read(any->first, 30, got.data(), got.size()) == 0);
                REQUIRE(std::equal(got.begin(), got.end(), any->second.bytes.begin() + 30));
            }
        }
        std::size_t sum = 0;
        for (const auto& [slot, held] : model) sum += held.bytes.size();
        REQUIRE(file.bytes() == sum);
        most = std::max(most, sum);
    }
    // Free slots are used again: the file is not much longer than what was in use at once.
    const off_t end = ::lseek(file.descriptor(), 0, SEEK_END);
    CHECK(static_cast<std::size_t>(end) <= 2 * most + 1000);
}

TEST_CASE("a scratch file leaves no name, and its faults are typed", "[scratch_file]") {
    const support::Folder folder;
    std::byte bytes[4096]{};
    {
        ScratchFile file(folder.path.string());
        file.write(file.take(10), 0, bytes, 10);
        CHECK(std::filesystem::is_empty(folder.path));
        std::byte back[10];
        CHECK(file.read(file.take(10), 0, back, 10) == EIO);  // never written
    }
    ScratchFile nowhere(folder.path.string() + "/missing");
    const ScratchFile::Slot slot = nowhere.take(10);
    CHECK(code_of([&] { nowhere.write(slot, 0, bytes, 10); }) == ErrorCode::io);
    CHECK(nowhere.descriptor() == -1);
    std::byte back[10];
    CHECK(nowhere.read(slot, 0, back, 10) == EBADF);

    ScratchFile full(folder.path.string());
    const ScratchFile::Slot small = full.take(1000);
    full.write(small, 0, bytes, 1000);
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    rlimit tight = before;
    tight.rlim_cur = 2000;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
    const ScratchFile::Slot big = full.take(4096);
    const auto code = code_of([&] { full.write(big, 0, bytes, 4096); });
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(code == ErrorCode::io);
    CHECK(full.read(small, 0, bytes, 1000) == 0);
}

TEST_CASE("a forked child never writes into its parent's scratch file", "[fork]") {
    const support::Folder folder;
    std::byte bytes[10]{};
    ScratchFile used(folder.path.string());
    ScratchFile fresh(folder.path.string());
    const ScratchFile::Slot slot = used.take(10);
    used.write(slot, 0, bytes, 10);
    const pid_t child = ::fork();
    if (child == 0) {
        std::byte other[10]{std::byte{1}};
        bool good = used.read(slot, 0, other, 10) == ESTALE && used.bytes() == 0;
        used.share(slot);
        used.let_go(slot);
        for (const auto& call : {std::function<void()>([&] { used.take(10); }),
                                 std::function<void()>([&] { used.write(slot, 0, other, 10); })})
            try {
                call();
                good = false;
            } catch (const Error& error) {
                good = good && error.code() == ErrorCode::bad_state;
            }
        fresh.write(fresh.take(10), 0, other, 10);  // it had nothing in it: it is the child's own
        ::_exit(good ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(used.read(slot, 0, bytes, 10) == 0);
    CHECK(bytes[0] == std::byte{0});
    CHECK(used.take(10) != slot);
    CHECK(fresh.descriptor() == -1);
}
