// A host program that loads a model, and a session of it that goes on where it was saved.
#include <cairn/io/io.hpp>

#include <cstdio>
#include <string>

int main(int count, char** arguments) {
    if (count < 3) return 2;
    const std::string saved = arguments[2];
    const auto loaded = cairn::load_model(arguments[1]);
    const auto owner = cairn::SessionOwner::of(loaded, cairn::Compute::fast);
    auto session = loaded.model.session<cairn::KvCache<cairn::Contiguous<cairn::F16>>>(64);
    cairn::Greedy greedy;
    const auto prompt = loaded.tokenizer->encode("KING RICHARD II:");
    const auto made = cairn::generate(session, prompt, greedy, {.max_tokens = 16});
    cairn::SessionText text{prompt, {}, {1, 2, 3, 4}};
    text.tokens.insert(text.tokens.end(), made.tokens.begin(), made.tokens.end());
    cairn::save_session(saved, session, text, owner);
    auto again = loaded.model.session<cairn::KvCache<cairn::Contiguous<cairn::F16>>>(64);
    const auto read = cairn::load_session(saved, again, owner);
    std::printf("%s\n", loaded.tokenizer->decode(read.tokens).c_str());
    const cairn::Token next = read.tokens.back();
    const auto a = session.decode(next);
    const auto b = again.decode(next);
    return made.tokens.size() == 16 && std::equal(a.begin(), a.end(), b.begin(), b.end()) ? 0 : 1;
}
