// The table that articles on KV caching print, with lengths: tokens a second with the cache and
// without, at a prompt of 32 tokens, and the rows projected, by formula. Uncached generation of n
// tokens is the sum of forwards over 32, 33, ... rows; forwards are timed on a ladder of lengths
// and summed along straight lines between.
#include <iostream>

#include <CLI/CLI.hpp>
#include <cairn/io/io.hpp>
#include <cairn/models/gpt_j.hpp>

#include "random_blocks.hpp"
#include "timer.hpp"

using namespace cairn;

namespace {

constexpr int prompt_tokens = 32;

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Cached against uncached generation by length, as one JSON object."};
    std::string path;
    int longest = 256;
    int measured = 256;
    app.add_option("model", path,
                   "GGUF file, model folder, or gpt-j: GPT-J 6B, q8_0, made in memory")
        ->required();
    app.add_option("--longest", longest, "Most generated tokens")->capture_default_str();
    app.add_option(
           "--measured", measured,
           "Most generated tokens whose uncached forwards are timed; beyond, the line through "
           "the last two is followed")
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        ThreadPool pool;
        const auto make = [&] {
            if (path != "gpt-j") return load_model(path, {{}, {}, &pool}).model;
            const GptJConfig config{28, 16, 4096, 0, 64, 2048, 50400};
            const TensorTable table = gpt_j_tensors(config);
            const bench::RandomGptJ source(config, ElementType::q8_0);
            const LoadOptions options{{}, {}, &pool};
            WeightReader reader(table, source, ModelFormat::hugging_face, options);
            return any_model(load_gpt_j_weights(config, reader));
        };
        const AnyModel model = make();
        auto session = model.session<KvCache<Contiguous<F16>>>(
            std::min(model.context(), prompt_tokens + longest + 1), pool);
        Random random(1);
        std::vector<Token> tokens;
        for (int i = 0; i < prompt_tokens + longest; ++i)
            tokens.push_back(
                static_cast<Token>(random.below(static_cast<std::uint64_t>(model.vocabulary()))));
        session.prefill(Tokens(tokens).first(prompt_tokens));  // warm
        session.clear();
        // Cached: one prefill, then single rows.
        std::vector<double> cached{
            bench::timed([&] { session.prefill(Tokens(tokens).first(prompt_tokens)); })};
        for (int n = 1; n < longest; ++n)
            cached.push_back(cached.back() + bench::timed([&] {
                                 session.decode(
                                     tokens[static_cast<std::size_t>(prompt_tokens + n)]);
                             }));
        // Uncached: whole forwards.
        std::vector<std::pair<int, double>> ladder;
        for (int rows = prompt_tokens; rows <= prompt_tokens + measured; rows += rows < 64 ? 16
                                                                                 : rows < 128
                                                                                     ? 32
                                                                                     : 64) {
            session.clear();
            ladder.emplace_back(
                rows, bench::timed([&] {
                    session.prefill(Tokens(tokens).first(static_cast<std::size_t>(rows)));
                }));
        }
        const auto forward_seconds = [&](int rows) {
            std::size_t i = 1;
            while (i + 1 < ladder.size() && ladder[i].first < rows) ++i;
            const auto [x0, y0] = ladder[i - 1];
            const auto [x1, y1] = ladder[i];
            return y0 + (y1 - y0) * (rows - x0) / (x1 - x0);
        };
        Json rows = Json::array();
        double uncached = 0.0;
        for (int n = 1; n <= longest; ++n) {
            uncached += forward_seconds(prompt_tokens + n - 1);
            if (n != longest && (n < 16 || (n & (n - 1)) != 0)) continue;
            const double with = cached[static_cast<std::size_t>(n - 1)];
            const std::int64_t total = prompt_tokens + n - 1;
            const std::int64_t first = prompt_tokens;
            rows.push_back(
                {{"tokens", n},
                 {"cached_tokens_per_second", n / with},
                 {"uncached_tokens_per_second", n / uncached},
                 {"speedup", uncached / with},
                 {"extrapolated", n > measured},
                 // Rows that keys and values are projected for, in one layer.
                 {"projected_rows_cached", total},
                 {"projected_rows_uncached", (total * (total + 1) - first * (first - 1)) / 2}});
        }
        std::cout << Json{{"file", path}, {"prompt", prompt_tokens}, {"rows", rows}}.dump() << '\n';
    } catch (const Error& error) {
        std::cerr << "error[" << code_name(error.code()) << "]: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
