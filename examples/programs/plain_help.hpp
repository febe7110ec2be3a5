// --help of programs that take nothing else.
#pragma once

#include <iostream>
#include <optional>
#include <string_view>

namespace programs {

/// The exit code if there is something on the command line: 0 after --help, 2 for anything else.
inline std::optional<int> answer_arguments(int argc, char** argv, std::string_view help) {
    if (argc < 2) return std::nullopt;
    const std::string_view first = argv[1];
    if (first == "--help" || first == "-h") {
        std::cout << help;
        return 0;
    }
    std::cerr << "error[usage]: unknown argument " << first.substr(0, 80) << " (see --help)\n";
    return 2;
}

}  // namespace programs
