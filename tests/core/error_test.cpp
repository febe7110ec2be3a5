#include <set>

#include "support.hpp"
using namespace support;

TEST_CASE("every error code has a name of its own", "[error]") {
    std::set<std::string_view> names;
    for (int c = 0; c <= static_cast<int>(ErrorCode::usage); ++c)
        names.insert(code_name(static_cast<ErrorCode>(c)));
    CHECK(names.size() == static_cast<std::size_t>(ErrorCode::usage) + 1);
    CHECK(!names.contains("unknown"));
}
