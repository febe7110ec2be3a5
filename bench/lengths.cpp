// Tokens a second with the cache and without it, against the number of generated tokens.
//
// A run of 32 prompt tokens and n generated ones costs, with the cache, one forward of 32 rows and
// n - 1 of one row; without it, n forwards of 32, 33, ... rows. Cached runs are timed whole.
// Uncached forwards are timed at a ladder of lengths and summed along the straight lines between
// (the last rungs alone would take ten minutes otherwise); the shipped model's runs are short
// enough to be timed whole.
//
// What the machine allows: a step with the cache reads the weights and the keys and values once,
// (weights + cache bytes) / bandwidth; a step without it is arithmetic, max(flops / peak, weights /
// bandwidth). The predicted ratio is the quotient of the two sums, both limits from the same run.
#include <unistd.h>

#include <cstdio>
#include <map>

#include <CLI/CLI.hpp>
#include <cairn/io/hf_config.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/safetensors_source.hpp>

#include "gpt2_shape.hpp"
#include "limits.hpp"

using namespace cairn;
using bench::Samples;
using bench::timed;

namespace {

constexpr int prompt_length = 32;

struct Subject {
    std::string name;
    Gpt2 model;
    std::vector<int> lengths;  // generated tokens
    std::vector<int> ladder;   // rows of timed uncached forwards
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Cached against uncached tokens a second, by length.\n\nExamples:\n  lengths --model "
        "examples/models/shakespeare\n  lengths --model examples/models/shakespeare --json > "
        "lengths.json"};
    std::string path;
    int rounds = 5;
    bool json = false;
    app.add_option("--model", path, "The small model's folder")->required();
    app.add_option("--rounds", rounds, "Rounds; medians are taken over them")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_flag("--json", json, "Print JSON");
    CLI11_PARSE(app, argc, argv);

    ThreadPool pool;
    bench::ReadProbe read(pool);
    bench::FmaProbe fma(pool);
    const Gpt2Config shape = bench::gpt2_124m();
    const std::vector<int> ladder{32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 991};
    const JsonDocument document(
        parse_json(read_text(path + "/config.json", 1 << 20), ErrorCode::bad_config, path));
    const JsonObject config(*document, ErrorCode::bad_config, path);
    HfNumbers numbers(config, "gpt2");
    const Gpt2Config shipped = read_gpt2_config(numbers);
    std::vector<Subject> subjects;
    subjects.push_back({"shakespeare 3M f16",
                        load_gpt2(shipped, SafetensorsSource(path)),
                        {16, 32, 64, 128, 256, 480},
                        {32, 48, 64, 96, 128, 192, 256, 384, 511}});
    subjects.push_back({"GPT-2 124M f32",
                        random_gpt2(shape, 1, ElementType::f32),
                        {16, 32, 64, 128, 256, 512, 960},
                        ladder});
    subjects.push_back({"GPT-2 124M f16",
                        random_gpt2(shape, 1, ElementType::f16),
                        {16, 32, 64, 128, 256, 512, 960},
                        ladder});

    Samples bandwidth, peak;
    std::map<std::string, std::map<int, Samples>> cached, forward_time;
    for (int round = 0; round < rounds; ++round)
        for (const Subject& subject : subjects) {
            bandwidth.add(read.run());
            peak.add(fma.run());
            auto session =
                subject.model.session<KvCache<Contiguous<F16>>>(subject.model.context(), pool);
            std::vector<Token> tokens;
            Random random(1);
            for (int i = 0; i < subject.model.context(); ++i)
                tokens.push_back(static_cast<Token>(
                    random.below(static_cast<std::uint64_t>(subject.model.vocabulary()))));
            // One long cached run passes through all lengths; uncached rungs are timed around it.
            const auto rungs = [&](bool even) {
                for (std::size_t i = even ? 0 : 1; i < subject.ladder.size(); i += 2) {
                    session.clear();
                    const auto rows = static_cast<std::size_t>(subject.ladder[i]);
                    forward_time[subject.name][subject.ladder[i]].add(
                        timed([&] { session.prefill(Tokens(tokens).first(rows)); }));
                }
            };
            rungs(true);
            session.clear();
            double seconds = timed([&] { session.prefill(Tokens(tokens).first(prompt_length)); });
            int made = 1;
            for (const int length : subject.lengths) {
                seconds += timed([&] {
                    for (; made < length; ++made)
                        session.decode(tokens[static_cast<std::size_t>(prompt_length + made)]);
                });
                cached[subject.name][length].add(seconds);
            }
            rungs(false);
            if (::isatty(2) != 0)
                std::fprintf(stderr, "\rround %d of %d: %s\033[K", round + 1, rounds,
                             subject.name.c_str());
        }
    if (::isatty(2) != 0) std::fprintf(stderr, "\r\033[K");

    Json result{{"threads", pool.workers()},
                {"read_bandwidth", bandwidth.median()},
                {"fma_peak", peak.median()},
                {"prompt", prompt_length}};
    if (!json)
        std::printf(
            "%d threads, read bandwidth %.1f GB/s, FMA peak %.0f GFLOP/s, medians of %d rounds, "
            "prompt of %d tokens, f16 cache\n",
            pool.workers(), bandwidth.median() / 1e9, peak.median() / 1e9, rounds, prompt_length);
    for (const Subject& subject : subjects) {
        const Gpt2& m = subject.model;
        const auto uncached_step = [&](double rows) {
            const auto& times = forward_time[subject.name];
            auto above = times.lower_bound(static_cast<int>(rows));
            if (above == times.begin()) return above->second.median();
            const auto below = std::prev(above);
            const double part = (rows - below->first) / (above->first - below->first);
            return below->second.median() +
                   part * (above->second.median() - below->second.median());
        };
        const auto weights = static_cast<double>(m.decode_bytes());
        const double row_bytes = 2.0 * 2.0 * m.layers() * m.width();
        if (!json)
            std::printf("\n%-20s %9s %12s %10s %10s %12s %8s\n", subject.name.c_str(), "generated",
                        "cached t/s", "uncached", "ratio", "predicted", "reached");
        for (const int length : subject.lengths) {
            double uncached = 0.0, ideal_cached = 0.0, ideal_uncached = 0.0;
            for (int i = 0; i < length; ++i) {
                const double rows = prompt_length + i;
                uncached += uncached_step(rows);
                const double recompute = std::max(bench::forward_flops(m, rows) / peak.median(),
                                                  weights / bandwidth.median());
                ideal_uncached += recompute;
                ideal_cached +=
                    i == 0 ? recompute : (weights + rows * row_bytes) / bandwidth.median();
            }
            const double seconds = cached[subject.name][length].median();
            const double ratio = uncached / seconds;
            const double predicted = ideal_uncached / ideal_cached;
            result["rows"].push_back({{"model", subject.name},
                                      {"generated", length},
                                      {"cached_tokens_per_second", length / seconds},
                                      {"uncached_tokens_per_second", length / uncached},
                                      {"ratio", ratio},
                                      {"predicted", predicted}});
            if (!json)
                std::printf("%-20s %9d %12.1f %10.2f %9.2fx %11.2fx %7.2f\n", "", length,
                            length / seconds, length / uncached, ratio, predicted,
                            ratio / predicted);
        }
    }
    if (json) std::printf("%s\n", result.dump(2).c_str());
}
