// Several continuations of one prompt: the best ones by beam search, and independent samples. The
// prompt is fed once, its rows are shared, and all continuations advance in one forward.
//
//   cmake --build build/release --target beams_and_samples
//   build/release/bin/cookbook/beams_and_samples examples/models/shakespeare
#include <iostream>

#include <cairn/cache/store/paged.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/generate/beam.hpp>
#include <cairn/generate/sampler_steps.hpp>
#include <cairn/io/model_file.hpp>

int main(int argc, char** argv) try {
    cairn::ThreadPool threads;
    const auto loaded = cairn::load_model(argc > 1 ? argv[1] : "examples/models/shakespeare");
    // Pages: branches share all blocks but their own last ones.
    auto session = loaded.model.session<cairn::KvCache<cairn::Paged<cairn::F16>>>(256, threads);
    const std::vector<cairn::Token> prompt = loaded.prompt("HAMLET:\nTo be, or not to ");
    const auto text = [&](cairn::Tokens tokens) { return loaded.tokenizer->decode(tokens); };

    const std::vector<cairn::BeamText> best = cairn::beam_search(
        session, prompt,
        {.beams = 4, .best = 2, .max_tokens = 16, .end_of_text = loaded.end_of_text});
    for (const cairn::BeamText& beam : best)
        std::cout << "beam, log p " << beam.log_probability << ": " << text(beam.tokens)
                  << "\n---\n";

    // A session is left as the prompt was fed; the samples begin from an empty one again.
    session.clear();
    const auto chain = [](std::uint64_t seed) {
        return cairn::temperature(0.9F) | cairn::top_k(40) | cairn::draw(seed);
    };
    std::vector samplers{chain(1), chain(2), chain(3)};
    const auto samples =
        cairn::parallel_samples(session, prompt, samplers, loaded.limits({.max_tokens = 16}));
    for (const std::vector<cairn::Token>& sample : samples)
        std::cout << "sample: " << text(sample) << "\n---\n";

    // Each sample is what generate() gives with that sampler alone.
    session.clear();
    auto second = chain(2);
    const auto alone = cairn::generate(session, prompt, second, loaded.limits({.max_tokens = 16}));
    std::cout << "the second sample alone: " << (alone.tokens == samples[1] ? "equal" : "different")
              << '\n';
} catch (const cairn::Error& error) {
    std::cerr << "error[" << cairn::code_name(error.code()) << "]: " << error.what() << '\n';
    return 1;
}
