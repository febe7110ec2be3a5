// Completes a text while a reader looks on: characters come when they are whole, the text ends
// exactly before a stop string, and another thread may end it at any time.
//
//   cmake --build build/release --target complete_text
//   build/release/bin/cookbook/complete_text examples/models/shakespeare
#include <iostream>
#include <semaphore>
#include <stop_token>
#include <thread>

#include <cairn/cache/kv_cache.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/generate/generate.hpp>
#include <cairn/generate/sampler_steps.hpp>
#include <cairn/io/model_file.hpp>
#include <cairn/io/text_stream.hpp>

int main(int argc, char** argv) try {
    cairn::ThreadPool threads;
    const auto loaded = cairn::load_model(argc > 1 ? argv[1] : "examples/models/shakespeare");
    using Cache = cairn::KvCache<cairn::Contiguous<cairn::F16>>;
    auto session = loaded.model.session<Cache>(loaded.model.context(), threads);
    auto sampler = cairn::temperature(0.8F) | cairn::top_p(0.9F) | cairn::draw(/*seed=*/7);

    // One speech: an empty line begins the next speaker's. TextStream holds back what could be the
    // start of a stop string, so nothing of it is ever shown.
    cairn::TextStream speech(*loaded.tokenizer, {"\n\n"});
    const auto first = cairn::generate(session, loaded.prompt("ROMEO:\n"), sampler,
                                       loaded.limits({.max_tokens = 120}), [&](cairn::Token t) {
                                           std::cout << speech.feed(t) << std::flush;
                                           return !speech.stopped();  // false ends the generation
                                       });
    std::cout << speech.finish() << "\n[" << cairn::stop_reason_name(first.reason) << "]\n";

    // Another thread, as of a window's cancel button. It is asked for before every layer; the
    // session then holds what was fed before and can go on.
    std::stop_source cancel;
    std::binary_semaphore bored{0};
    std::thread reader([&] {
        bored.acquire();
        cancel.request_stop();
    });
    session.context().cancel = cancel.get_token();
    cairn::TextStream more(*loaded.tokenizer);
    int written = 0;
    const auto second = cairn::generate(session, loaded.prompt("\n\nJULIET:\n"), sampler,
                                        loaded.limits({.max_tokens = 400}), [&](cairn::Token t) {
                                            std::cout << more.feed(t) << std::flush;
                                            if (++written == 10) bored.release(), reader.join();
                                        });
    std::cout << more.finish() << "\n[" << cairn::stop_reason_name(second.reason) << " after "
              << second.tokens.size() << " tokens]\n";
} catch (const cairn::Error& error) {
    std::cerr << "error[" << cairn::code_name(error.code()) << "]: " << error.what() << '\n';
    return 1;
}
