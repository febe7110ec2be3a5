// The options of benches that take medians over rounds.
#pragma once

#include <CLI/CLI.hpp>
#include <cairn/core/hardware_threads.hpp>

namespace bench {

struct RunOptions {
    int rounds = 7;
    int threads = cairn::hardware_threads();
    bool json = false;

    void add_to(CLI::App& app) {
        app.add_option("--rounds", rounds, "Rounds; medians are taken over them")
            ->check(CLI::Range(1, 1000))
            ->capture_default_str();
        app.add_option("--threads", threads, "Threads")
            ->check(CLI::Range(1, 1024))
            ->capture_default_str();
        app.add_flag("--json", json, "Print JSON");
    }
};

}  // namespace bench
