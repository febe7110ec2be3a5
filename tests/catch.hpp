// Catch2, version 2 or 3.
#pragma once

#include <string>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
// A text that has this part: the matcher's name differs between the versions.
inline auto has_text(const std::string& part) { return Catch::Matchers::ContainsSubstring(part); }
#else
#include <catch2/catch.hpp>
inline auto has_text(const std::string& part) { return Catch::Matchers::Contains(part); }
#endif
