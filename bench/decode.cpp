// Decodes with a random GPT-2 124M and prints tokens a second: one side of
// bench/transformers_peer.py.
#include <cstdio>

#include <CLI/CLI.hpp>
#include <cairn/cairn.hpp>

#include "gpt2_shape.hpp"
#include "limits.hpp"

using namespace cairn;

int main(int argc, char** argv) {
    CLI::App app{
        "Cached decoding of GPT-2 124M's shape, random weights, prompt of 32 tokens. Reads one "
        "line a round on standard input and answers with tokens a second.\n\nExamples:\n  echo go "
        "| decode --type f32 --tokens 32"};
    int count = 32;
    std::string type = "f32";
    app.add_option("--tokens", count, "Tokens a round")
        ->check(CLI::Range(1, 900))
        ->capture_default_str();
    app.add_option("--type", type, "Weights")
        ->check(CLI::IsMember({"f32", "f16"}))
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    ThreadPool pool;
    const auto model =
        random_gpt2(bench::gpt2_124m(), 1, type == "f32" ? ElementType::f32 : ElementType::f16);
    auto session = model.session<KvCache<>>(1024, pool);
    const std::vector<Token> prompt(32, 11);
    Greedy greedy;
    for (int c = std::getchar(); c != EOF; c = std::getchar()) {
        if (c != '\n') continue;
        session.clear();
        Token token = greedy(session.prefill(prompt), {});
        const double seconds = bench::timed([&] {
            for (int i = 0; i < count; ++i) token = greedy(session.decode(token), {});
        });
        std::printf("%.2f\n", count / seconds);
        std::fflush(stdout);
    }
}
