#include <iostream>
#include <cairn/cairn.hpp>

#include "plain_help.hpp"

int main(int argc, char** argv) {
    if (const auto code = programs::answer_arguments(argc, argv, "README's first program: random weights write 64 random bytes from a cache.\nExamples:\n  hello\n")) return *code;

    using Cache = cairn::KvCache<cairn::Contiguous<cairn::F16>>;  // try cairn::KvCache<>
    const auto model = cairn::TinyGpt::random({.layers = 4, .heads = 4, .width = 128, .vocab = 256}, /*seed=*/42);
    auto session = model.session<Cache>(/*capacity=*/512);
    auto sampler = cairn::temperature(0.8f) | cairn::top_p(0.9f) | cairn::draw(/*seed=*/7);

    cairn::generate(session, cairn::bytes("Once upon a time"), sampler, {.max_tokens = 64},
                    [](cairn::Token t) { std::cout << char(t); });

    std::cout << '\n' << session.position() << " tokens in " << session.cache_bytes() << " bytes\n";
}
