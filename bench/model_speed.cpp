// Speed of a model from a file: prefill of --prefill tokens and decode of --decode tokens after
// --depth tokens, in rounds. Prints one JSON object; bench/peers runs it beside other programs.
#include <iostream>

#include <CLI/CLI.hpp>
#include <cairn/io/io.hpp>

#include "limits.hpp"

using namespace cairn;

int main(int argc, char** argv) {
    CLI::App app{"Prefill and decode speed of a model, as one JSON object."};
    std::string path;
    std::string cache = "contiguous:f16";
    std::string compute = "fast";
    int prefill = 256;
    int decode = 64;
    int depth = 0;
    int threads = hardware_threads();
    int rounds = 1;
    bool limits = false;
    app.add_option("model", path, "GGUF file or model folder")->required();
    app.add_option("--cache", cache, "Cache SPEC")->capture_default_str();
    app.add_option("--compute", compute, "fast or accurate")->capture_default_str();
    app.add_option("--prefill", prefill, "Tokens of a prompt")->capture_default_str();
    app.add_option("--decode", decode, "Tokens decoded one by one")->capture_default_str();
    app.add_option("--depth", depth, "Tokens in the cache before decoding")->capture_default_str();
    app.add_option("--threads", threads, "Threads")->capture_default_str();
    app.add_option("--rounds", rounds, "Rounds")->capture_default_str();
    app.add_flag("--limits", limits, "Read bandwidth before each decode");
    CLI11_PARSE(app, argc, argv);
    try {
        ThreadPool pool(threads);
        std::optional<LoadedModel> loaded;
        const double load = bench::timed([&] { loaded = load_model(path, {{}, {}, &pool}); });
        const CacheSpec spec = CacheSpec::parse(cache);
        const int room = std::max(prefill, depth + decode + 1);
        Session<AnyModel, AnyCache> session(
            loaded->model, std::min(room, loaded->model.context()), pool,
            [&](int, const HeadLayout& layout, int rows) { return spec.make(layout, rows); });
        session.context().compute = compute == "accurate" ? Compute::accurate : Compute::fast;
        Random random(1);
        const auto tokens = [&](int n) {
            std::vector<Token> result;
            for (int i = 0; i < n; ++i)
                result.push_back(static_cast<Token>(
                    random.below(static_cast<std::uint64_t>(loaded->model.vocabulary()))));
            return result;
        };
        Json prefills = Json::array();
        Json decodes = Json::array();
        Json bandwidths = Json::array();
        std::optional<bench::ReadProbe> probe;
        if (limits) probe.emplace(pool);
        for (int round = -1; round < rounds; ++round) {  // the first warms up
            if (prefill > 0) {
                session.clear();
                const std::vector<Token> prompt = tokens(prefill);
                const double t = bench::timed([&] { session.prefill(prompt); });
                if (round >= 0) prefills.push_back(prefill / t);
            }
            if (decode > 0) {
                session.clear();
                if (depth > 0) session.prefill(tokens(depth));
                Token next = 1;
                Greedy greedy;
                next = greedy(session.decode(next), {});
                if (probe && round >= 0) bandwidths.push_back(probe->run());
                const double t = bench::timed([&] {
                    for (int i = 0; i < decode; ++i) next = greedy(session.decode(next), {});
                });
                if (round >= 0) decodes.push_back(decode / t);
            }
        }
        // Products with weights: of every row in the blocks, of the last one with the output
        // matrix.
        double weights = 0.0;
        for (int layer = 0; layer < loaded->model.layers(); ++layer)
            weights += static_cast<double>(loaded->model.block(layer).parameters());
        const double output = static_cast<double>(loaded->model.width()) *
                              static_cast<double>(loaded->model.vocabulary());
        std::cout << Json{{"load_seconds", load},
                          {"prefill_operations", 2.0 * (prefill * weights + output)},
                          {"prefill_tokens_per_second", prefills},
                          {"decode_tokens_per_second", decodes},
                          {"read_bytes_per_second", bandwidths},
                          {"decode_bytes", loaded->model.decode_bytes()}}
                         .dump()
                  << '\n';
    } catch (const Error& error) {
        std::cerr << "error[" << code_name(error.code()) << "]: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
