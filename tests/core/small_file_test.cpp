// Small files read whole: every size around a step, and what cannot be read.
#include <unistd.h>

#include <cairn/core/small_file.hpp>

#include <filesystem>
#include <fstream>

#include "support.hpp"
using namespace support;

TEST_CASE("a small file is read whole, or more than was asked for is seen", "[small_file]") {
    const std::string path = (std::filesystem::temp_directory_path() /
                              ("cairn-small-file-" + std::to_string(::getpid())))
                                 .string();
    for (const std::size_t size : {0U, 1U, 65535U, 65536U, 65537U, 200000U}) {
        std::string text(size, 'a');
        if (size > 0) text.back() = 'z';
        std::ofstream(path, std::ios::binary) << text;
        const std::vector<std::byte> whole = read_small_file(path, 1U << 20);
        REQUIRE(whole.size() == size);
        CHECK((size == 0 || whole.back() == std::byte{'z'}));
        if (size > 1) CHECK(read_small_file(path, size - 1).size() > size - 1);
        CHECK(read_small_file(path, size).size() == size);
    }
    std::filesystem::remove(path);
    CHECK(code_of([&] { read_small_file(path, 100); }) == ErrorCode::io);
    CHECK(code_of([] { read_small_file("/", 100); }) == ErrorCode::io);
}
