#include <cairn/io/json.hpp>

#include "support.hpp"
#if defined(__GLIBC__)
#include <malloc.h>
#endif
using namespace support;

namespace {

// The message of the Error{limit} that `body` throws.
template <class Body>
std::string limit_message(Body&& body) {
    try {
        body();
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::limit);
        return error.what();
    }
    FAIL("no Error was thrown");
    return {};
}
std::string repeated(const std::string& open, const std::string& piece, std::size_t count,
                     const std::string& close) {
    std::string text = open;
    for (std::size_t i = 0; i < count; ++i) text += (i > 0 ? "," : "") + piece;
    return text + close;
}
std::size_t heap_bytes() {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    const auto info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

}  // namespace

TEST_CASE("a NUL byte is no end of a text", "[json]") {
    const std::string good = R"({"a": 1})";
    CHECK(parse_json(good, ErrorCode::bad_config, "t")["a"] == 1);
    for (const std::string& tail :
         {std::string("\0", 1), std::string("\0 {\"a\": 2}", 10), std::string(" \0\0\0\0", 5)}) {
        CHECK(code_of([&] { parse_json(good + tail, ErrorCode::bad_config, "t"); }) ==
              ErrorCode::bad_config);
        CHECK(code_of([&] { parse_json(tail + good, ErrorCode::bad_config, "t"); }) ==
              ErrorCode::bad_config);
    }
    try {
        parse_json(good + std::string("\0x", 2), ErrorCode::bad_config, "t");
        FAIL("accepted");
    } catch (const Error& error) {
        CHECK(std::string(error.what()) == "t: not JSON at byte 9: a NUL byte");
    }
    // Written as an escape it is a character like others.
    CHECK(parse_json(R"(["\u0000"])", ErrorCode::bad_config, "t")[0] == std::string(1, '\0'));
}

TEST_CASE("values take a bounded multiple of their text", "[json]") {
    FileLimits tight;
    tight.json_values = 0;
    const std::string greedy[] = {repeated("[", "0", 300000, "]"), repeated("[", "[]", 300000, "]"),
                                  repeated("[", "{}", 300000, "]"),
                                  repeated("[", "\"\"", 300000, "]"),
                                  repeated("[", "[[0]]", 300000, "]")};
    for (const std::string& text : greedy) {
        CHECK(parse_json(text, ErrorCode::bad_config, "t").size() == 300000);
        const std::string message =
            limit_message([&] { parse_json(text, ErrorCode::bad_config, "t", tight); });
        CHECK(message.find("FileLimits::json_values is 0") != std::string::npos);
    }
    const std::string modest[] = {repeated("[", "\"abcdefghijklmnop\"", 50000, "]"),
                                  repeated("[", "1234567", 100000, "]"),
                                  "\"" + std::string(1000000, 'x') + "\"",
                                  repeated("[", "{\"abcdefgh\": [1, 2, 3, \"\"]}", 20000, "]"),
                                  repeated("[", "                0", 100000, "]")};
    for (const std::string& text : modest) {
        const std::size_t before = heap_bytes();
        try {
            const Json value = parse_json(text, ErrorCode::bad_config, "t", tight);
            INFO(text.substr(0, 40));
            CHECK(heap_bytes() - before <= 7 * text.size());
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::limit);
        }
    }
    CHECK_NOTHROW(parse_json(modest[2], ErrorCode::bad_config, "t", tight));
    CHECK_NOTHROW(parse_json(modest[4], ErrorCode::bad_config, "t", tight));
}

TEST_CASE("a limit names itself, its value and what was found", "[json]") {
    FileLimits limits;
    limits.json_depth = 3;
    try {
        parse_json("[[[[0]]]]", ErrorCode::bad_config, "t", limits);
        FAIL("accepted");
    } catch (const Error& error) {
        CHECK(std::string(error.what()) ==
              "t: 4 levels of nested values; the limit FileLimits::json_depth is 3");
    }
    limits.json_bytes = 10;
    const std::string path = std::string(CAIRN_TEST_DATA) + "/gpt2-a/config.json";
    const std::string message = limit_message([&] { read_json_file(path, limits); });
    CHECK(message.find("bytes; the limit FileLimits::json_bytes is 10") != std::string::npos);
    CHECK(read_json_file(path).size() > 10);
}
