// The same prompt with the cache and without: the same tokens, and how much longer the second
// takes.
#include <iomanip>
#include <optional>

#include "support.hpp"

using namespace programs;

namespace {

struct Options : ModelOptions {
    std::string prompt = "ROMEO:\n";
    int count = 128;
};

cairn::Generation generate(Program& program, const std::vector<Token>& prompt,
                           const Options& options, cairn::Caching caching) {
    Session session = program.session();
    cairn::Greedy sampler;
    ProgressBar bar(caching == cairn::Caching::cached ? "with cache" : "without cache");
    cairn::Limits limits;
    limits.max_tokens = options.count;
    limits.caching = caching;
    if (options.chunk > 0) limits.prompt_piece = options.chunk;
    int done = 0;
    return cairn::generate(session, prompt, sampler, limits,
                           [&](Token) { bar(++done, options.count); });
}

void compare(const Options& options) {
    Program program(options);
    const std::vector<Token> prompt = program.encode(options.prompt, cairn::SpecialTokens::as_text,
                                                     static_cast<std::size_t>(program.context()));
    const cairn::Generation cached = generate(program, prompt, options, cairn::Caching::cached);
    const cairn::Generation uncached =
        generate(program, prompt, options, cairn::Caching::recompute);
    const bool same = cached.tokens == uncached.tokens;
    const double speedup = uncached.decode_seconds / cached.decode_seconds;
    if (options.json) {
        const cairn::Json result = {{"prompt_tokens", prompt.size()},
                                    {"tokens", cached.tokens.size()},
                                    {"same_tokens", same},
                                    {"cached_tokens_per_second", number(cached.decode_rate())},
                                    {"uncached_tokens_per_second", number(uncached.decode_rate())},
                                    {"speedup", number(speedup)}};
        std::cout << result.dump(2) << '\n';
    } else {
        const auto row = [&](const char* name, const cairn::Generation& g) {
            std::cout << std::left << std::setw(16) << name << std::right << std::fixed
                      << std::setw(9) << std::setprecision(3) << g.decode_seconds << std::setw(14)
                      << std::setprecision(1) << g.decode_rate() << '\n';
        };
        std::cout << prompt.size() << " prompt tokens, " << cached.tokens.size()
                  << " generated, greedy\n\n"
                  << "                 seconds    tokens/s\n";
        row("with cache", cached);
        row("without cache", uncached);
        std::cout << "\nspeedup         " << std::setw(8) << std::setprecision(1) << speedup
                  << "x\ntokens          " << (same ? "identical" : "DIFFERENT") << '\n';
    }
    require(same, ErrorCode::bad_state, "cached and uncached tokens differ");
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags(
        "Generate greedily with the cache and without it, and compare.\n\n"
        "Examples:\n"
        "  compare --model examples/models/shakespeare\n"
        "  compare --model examples/models/shakespeare --cache contiguous:f16 -n 256");
    Options options;
    options.add_to(flags);
    options.add_json(flags);
    flags.add("-p,--prompt", options.prompt, "Text to continue").shown();
    flags.add("-n", options.count, "Tokens to generate").at_least(1).shown();
    return flags.run(argc, argv, [&] { compare(options); });
}
