// Decode speed of one model on many caches, in turns: each cache is filled to a depth, then all
// decode a few tokens in every round. One JSON object; bench/caches runs it and draws
// docs/caches.md.
#include <iostream>
#include <numeric>

#include <CLI/CLI.hpp>
#include <cairn/cache/planner.hpp>
#include <cairn/io/io.hpp>

#include "timer.hpp"

using namespace cairn;

int main(int argc, char** argv) {
    CLI::App app{"Decode speed on many caches, interleaved, as one JSON object."};
    std::string path;
    std::vector<std::string> words;
    std::vector<int> depths{512, 4096};
    int decode = 12;
    int rounds = 5;
    int threads = hardware_threads();
    bool announce = false;
    app.add_option("model", path, "GGUF file or model folder")->required();
    app.add_option("--cache", words, "Cache SPEC; may be repeated")->required();
    app.add_option("--depth", depths, "Tokens in the cache; ascending")->capture_default_str();
    app.add_option("--decode", decode, "Tokens a round")->capture_default_str();
    app.add_option("--rounds", rounds, "Rounds")->capture_default_str();
    app.add_option("--threads", threads, "Threads")->capture_default_str();
    app.add_flag("--announce", announce, "Announce the tokens up to each depth as a prompt");
    CLI11_PARSE(app, argc, argv);
    try {
        ThreadPool pool(threads);
        const LoadedModel loaded = load_model(path, {{}, {}, &pool});
        const int room =
            depths.back() + (decode + 1) * (rounds + 1) * static_cast<int>(depths.size());
        struct Entry {
            CacheSpec spec;
            Session<AnyModel, AnyCache> session;
            Token next = 1;
            Json result = Json::object();
        };
        std::vector<Entry> entries;
        for (const std::string& word : words) {
            const CacheSpec spec = CacheSpec::parse(word);
            entries.push_back({spec,
                               Session<AnyModel, AnyCache>(
                                   loaded.model, std::min(room, loaded.model.context()), pool,
                                   [&](int layer, const HeadLayout& layout, int rows) {
                                       return spec.make(layout, rows, layer);
                                   }),
                               1,
                               {{"cache", spec.canonical()}, {"depths", Json::array()}}});
        }
        for (const int depth : depths) {
            std::vector<std::vector<double>> rates(entries.size());
            for (Entry& e : entries) {
                Random random(1);
                std::vector<Token> tokens;
                while (static_cast<int>(tokens.size()) + e.session.position() <
                       std::min(depth, loaded.model.context() - (decode + 1) * (rounds + 1)))
                    tokens.push_back(static_cast<Token>(
                        random.below(static_cast<std::uint64_t>(loaded.model.vocabulary()))));
                if (announce) e.session.expect_prompt(tokens.size());
                if (!tokens.empty()) e.session.prefill(tokens);
            }
            for (int round = 0; round < rounds; ++round)
                for (std::size_t i = 0; i < entries.size(); ++i) {
                    Entry& e = entries[i];
                    Greedy greedy;
                    e.next = greedy(e.session.decode(e.next), {});
                    std::vector<double> steps;
                    for (int n = 0; n < decode; ++n)
                        steps.push_back(
                            bench::timed([&] { e.next = greedy(e.session.decode(e.next), {}); }));
                    rates[i].push_back(decode / std::accumulate(steps.begin(), steps.end(), 0.0));
                }
            for (std::size_t i = 0; i < entries.size(); ++i)
                entries[i].result["depths"].push_back({{"depth", depth},
                                                       {"tokens_per_second", rates[i]},
                                                       {"bytes", entries[i].session.cache_bytes()},
                                                       {"rows", entries[i].session.held()}});
        }
        Json result = Json::array();
        for (Entry& e : entries) result.push_back(e.result);
        std::cout << result.dump() << '\n';
    } catch (const Error& error) {
        std::cerr << "error[" << code_name(error.code()) << "]: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
