// Saves a session to a file and goes on from it later, with another cache and more room: the text
// is the one that would have been written without stopping.
//
//   cmake --build build/release --target save_and_resume
//   build/release/bin/cookbook/save_and_resume examples/models/shakespeare /tmp/romeo.cairn
#include <iostream>

#include <cairn/cache/store/paged.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/generate/generate.hpp>
#include <cairn/io/session_file.hpp>

int main(int argc, char** argv) try {
    cairn::ThreadPool threads;
    const auto loaded = cairn::load_model(argc > 1 ? argv[1] : "examples/models/shakespeare");
    const std::string file = argc > 2 ? argv[2] : "romeo.cairn";
    const std::vector<cairn::Token> prompt = loaded.prompt("ROMEO:\n");
    const cairn::SamplingSettings settings{.temperature = 0.8F, .top_k = 40, .seed = 7};
    // What the file is bound to: it never goes on under another model or tokenizer.
    const auto owner = cairn::SessionOwner::of(loaded, cairn::Compute::fast);

    {  // Today: 20 tokens.
        auto session = loaded.model.session<cairn::KvCache<>>(128, threads);
        auto sampler = cairn::make_sampler(settings);
        const auto result = cairn::generate(session, prompt, sampler, {.max_tokens = 20});
        cairn::SessionText text{prompt, settings, sampler.picker().random().state()};
        text.tokens.insert(text.tokens.end(), result.tokens.begin(), result.tokens.end());
        cairn::save_session(file, session, text, owner);  // whole or not at all
    }
    // Tomorrow: 20 more, on pages and with room for 256.
    auto session = loaded.model.session<cairn::KvCache<cairn::Paged<>>>(256, threads);
    cairn::SessionText text = cairn::load_session(file, session, owner);
    auto sampler = cairn::make_sampler(text.sampling);
    sampler.picker().random().set_state(text.random);
    // The token that was sampled last is part of the text and was not fed yet: it waits.
    const auto more = cairn::generate(session, text.waiting(session.position()), sampler,
                                      text.limits(session.position(), {.max_tokens = 20}));
    text.tokens.insert(text.tokens.end(), more.tokens.begin(), more.tokens.end());
    std::cout << loaded.tokenizer->decode(text.tokens) << '\n';

    // The same without stopping.
    auto one_go = loaded.model.session<cairn::KvCache<>>(128, threads);
    auto fresh = cairn::make_sampler(settings);
    std::vector<cairn::Token> wanted = prompt;
    cairn::generate(one_go, prompt, fresh, {.max_tokens = 40},
                    [&](cairn::Token t) { wanted.push_back(t); });
    std::cout << "without stopping: " << (wanted == text.tokens ? "the same" : "another")
              << " text\n";
} catch (const cairn::Error& error) {
    std::cerr << "error[" << cairn::code_name(error.code()) << "]: " << error.what() << '\n';
    return 1;
}
