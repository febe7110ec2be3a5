// Many users behind one long prompt: it is computed once, its rows are shared, and all answers
// advance in one forward. Each user gets the bits of being alone.
//
//   cmake --build build/release --target shared_prompt
//   build/release/bin/cookbook/shared_prompt examples/models/shakespeare
#include <algorithm>
#include <iostream>

#include <cairn/cache/store/paged.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/generate/sampler.hpp>
#include <cairn/io/model_file.hpp>
#include <cairn/serve/sequence_pool.hpp>

int main(int argc, char** argv) try {
    cairn::ThreadPool threads;
    const auto loaded = cairn::load_model(argc > 1 ? argv[1] : "examples/models/shakespeare");
    using Cache = cairn::KvCache<cairn::Paged<cairn::F16>>;  // blocks of 16 tokens from one pool
    using Session = cairn::Session<cairn::AnyModel, Cache>;
    cairn::SequencePool<Session> pool(loaded.model.session<Cache>(512, threads), {.sequences = 8});
    cairn::PrefixIndex<Session> index(/*entries=*/8);

    struct User {
        int sequence = -1;
        std::vector<float> logits;
        std::vector<cairn::Token> answer{};
    };
    std::vector<User> users;
    const std::string shared =
        "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\n";
    for (const std::string name : {"ROMEO:", "JULIET:", "GLOUCESTER:"}) {
        User user{pool.create(), std::vector<float>(std::size_t(loaded.model.vocabulary()))};
        const std::vector<cairn::Token> prompt = loaded.prompt(shared + name);
        const cairn::PrefixMatch known = pool.take(index, user.sequence, prompt);
        const auto rest = cairn::Tokens(prompt).subspan(std::size_t(known.tokens));
        const cairn::PoolSlice slice{user.sequence, rest, cairn::LogitRows::last,
                                     user.logits.data()};
        pool.forward({&slice, 1});
        index.insert(pool.session(user.sequence), pool.tokens(user.sequence));
        std::cout << name << ' ' << prompt.size() << " tokens, " << known.tokens
                  << " of them shared\n";
        users.push_back(std::move(user));
    }

    cairn::Greedy greedy;
    for (int step = 0; step < 24; ++step) {
        std::vector<cairn::PoolSlice> batch;
        for (User& user : users) {
            user.answer.push_back(greedy(user.logits, pool.tokens(user.sequence)));
            batch.push_back({user.sequence, cairn::Tokens(user.answer).last(1),
                             cairn::LogitRows::last, user.logits.data()});
        }
        pool.forward(batch);
    }
    for (const User& user : users)
        std::cout << "---" << loaded.tokenizer->decode(user.answer) << '\n';
} catch (const cairn::Error& error) {
    std::cerr << "error[" << cairn::code_name(error.code()) << "]: " << error.what() << '\n';
    return 1;
}
