// --help of programs that take nothing else, and their one line about what went wrong.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>
#include <string_view>

#include <cairn/core/error.hpp>

namespace programs {

/// What nobody catches, and output that nobody takes, is one line on standard error and exit
/// code 1.
inline void report_failures() {
    std::set_terminate([] {
        try {
            if (const auto error = std::current_exception()) std::rethrow_exception(error);
        } catch (const cairn::Error& error) {
            std::cerr << "error[" << cairn::code_name(error.code()) << "]: " << error.what()
                      << '\n';
        } catch (const std::exception& error) {
            std::cerr << "error[internal]: " << error.what() << '\n';
        } catch (...) {
        }
        std::_Exit(1);
    });
    std::atexit([] {
        std::cout.flush();
        if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
        std::fputs("error[io]: standard output cannot be written\n", stderr);
        std::_Exit(1);
    });
}

/// The exit code if there is something on the command line: 0 after --help, 2 for anything else.
/// From here on failures are reported.
inline std::optional<int> answer_arguments(int argc, char** argv, std::string_view help) {
    report_failures();
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
