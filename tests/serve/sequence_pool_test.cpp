// A pool of sequences: every operation against sequences that live alone, in memory without end.
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <map>
#include <thread>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/serve/sequence_pool.hpp>

#include "sharing_support.hpp"
using namespace support;

namespace {

namespace fs = std::filesystem;
using Model = TinyLlama;
using Any = AnySession;
using Pool = SequencePool<Any>;

Any root_of(const Model& model, const char* text, int blocks,
            Executor& executor = Serial::instance()) {
    CacheSpec spec = CacheSpec::parse(text);
    spec.set_pool_blocks(blocks);
    return session_of(model, spec, 300, executor);
}
int blocks_used(const Any& session) { return session.layer_cache(0).pool_use().used; }
std::size_t at_index(int i) { return static_cast<std::size_t>(i); }

// The allocator of a sanitizer stays locked in a child that was forked while another thread was
// inside of it: there the thread is waited for.
#if defined(CAIRN_TESTS_SANITIZED)
constexpr std::chrono::milliseconds before_fork{500};
#else
constexpr std::chrono::milliseconds before_fork{0};
#endif

}  // namespace

TEST_CASE("sequences of a model whose layers share caches are swapped whole", "[sequence_pool]") {
    const SharingModel model = sharing_model();
    const Folder folder;
    Random random(75);
    const char* spec = "paged=16:f16";
    SequencePool<Session<SharingModel, AnyCache>> pool(root_of(model, spec, 12),
                                                       {6, 0, folder.path.string()});
    std::vector<std::vector<Token>> texts;
    for (int i = 0; i < 4; ++i) {
        texts.push_back(random_tokens(random, 90, sharing_words));
        REQUIRE(pool.create() == i);
    }
    std::vector<std::size_t> fed(texts.size());
    int on_disk = 0;
    for (std::size_t i = 0; fed[i] < 90; i = (i + 1) % 4) {
        std::vector<float> logits(30 * sharing_words);
        const PoolSlice slice{static_cast<int>(i), Tokens(texts[i]).subspan(fed[i], 30),
                              LogitRows::all, logits.data()};
        pool.forward({&slice, 1});
        const auto wanted = sharing_forward(texts[i], spec);
        REQUIRE(same_bits(logits,
                          std::span(wanted).subspan(fed[i] * sharing_words, 30 * sharing_words)));
        fed[i] += 30;
        for (int other = 0; other < 4; ++other) on_disk += pool.in_memory(other) ? 0 : 1;
    }
    CHECK(on_disk > 0);
}

TEST_CASE("random operations on a pool that is too small equal sequences alone",
          "[sequence_pool]") {
    const Model model = tiny_llama();
    const auto vocabulary = static_cast<std::size_t>(model.vocabulary());
    ThreadPool threads(2);
    for (const char* spec : {"paged=16:f16", "paged=32:q8_0", "paged=16:f16:window=40,sinks=4"}) {
        const Folder folder;
        Random random(71);
        int swapped = 0;
        int too_large = 0;
        {
            Pool pool(root_of(model, spec, 24, threads), {8, 0, folder.path.string()});
            std::map<int, Any> alone;
            for (int step = 0; step < 400; ++step) {
                INFO(spec << ", step " << step);
                const auto any = [&] {
                    auto it = alone.begin();
                    std::advance(it, static_cast<long>(random.below(alone.size())));
                    return it->first;
                };
                switch (alone.empty() ? 0 : random.below(9)) {
                    case 0:
                        if (pool.live() < 8)
                            alone.emplace(pool.create(), root_of(model, spec, 0));
                        else
                            REQUIRE(code_of([&] { pool.create(); }) == ErrorCode::capacity);
                        break;
                    case 1:
                        if (pool.live() < 8) {
                            const int from = any();
                            Any branch = alone.at(from).fork();
                            alone.emplace(pool.fork(from), std::move(branch));
                        }
                        break;
                    case 2: {
                        const int id = any();
                        pool.free(id);
                        alone.erase(id);
                        break;
                    }
                    case 3: {
                        const int id = any();
                        const int n = draw(random, 0, alone.at(id).position());
                        if (!alone.at(id).can_truncate(n)) break;
                        pool.seq_rm(id, n, Pool::to_the_end);
                        alone.at(id).truncate(n);
                        break;
                    }
                    case 4: pool.prefetch(any()); break;
                    case 5: pool.swap_out(any()); break;
                    default: {
                        // A ragged batch of different sequences.
                        std::vector<std::vector<Token>> tokens;
                        std::vector<PoolSlice> slices;
                        std::vector<float> logits(8 * vocabulary);
                        for (auto& [id, session] : alone) {
                            if (random.below(2) == 0 || tokens.size() == 3) continue;
                            const int room = std::min(300 - session.position(), 60);
                            if (room < 1) continue;
                            const int n = random.below(2) == 0 ? 1 : draw(random, 1, room);
                            tokens.push_back(random_tokens(random, n, model.vocabulary()));
                            slices.push_back({id, {}, LogitRows::last, nullptr});
                        }
                        for (std::size_t i = 0; i < slices.size(); ++i) {
                            slices[i].tokens = tokens[i];
                            slices[i].logits = logits.data() + i * vocabulary;
                        }
                        if (slices.empty()) break;
                        try {
                            pool.forward(slices);
                        } catch (const Error& error) {
                            REQUIRE(error.code() == ErrorCode::capacity);
                            ++too_large;  // the batch alone
                            break;
                        }
                        for (std::size_t i = 0; i < slices.size(); ++i)
                            REQUIRE(same_bits(std::span(slices[i].logits, vocabulary),
                                              alone.at(slices[i].sequence).prefill(tokens[i])));
                    }
                }
                for (auto& [id, session] : alone) {
                    REQUIRE(static_cast<int>(pool.tokens(id).size()) == session.position());
                    swapped += pool.in_memory(id) ? 0 : 1;
                }
                REQUIRE(blocks_used(pool.root()) <= 24);
            }
            CHECK(swapped > 50);
            CHECK(too_large < 60);
        }
        CHECK(folder.files() == 0);
    }
}

TEST_CASE("a pool without a folder refuses and changes nothing", "[sequence_pool]") {
    const Model model = tiny_llama();
    Pool pool(root_of(model, "paged=16:f16", 4), {4, 0, {}});
    const int a = pool.create();
    const int b = pool.create();
    Random random(72);
    const auto tokens = random_tokens(random, 40, model.vocabulary());
    std::vector<float> logits(2 * static_cast<std::size_t>(model.vocabulary()));
    const PoolSlice first{a, tokens, LogitRows::last, logits.data()};
    pool.forward({&first, 1});
    const PoolSlice both[] = {{a, cairn::Tokens(tokens).first(1), LogitRows::last, logits.data()},
                              {b, tokens, LogitRows::last, logits.data()}};
    CHECK(code_of([&] { pool.forward(both); }) == ErrorCode::capacity);
    CHECK(pool.session(a).position() == 40);
    CHECK(pool.session(b).position() == 0);
    CHECK(pool.tokens(a).size() == 40);
    CHECK(blocks_used(pool.root()) == 3);
    CHECK(code_of([&] { pool.swap_out(a); }) == ErrorCode::bad_state);
    const PoolSlice twice[] = {{a, cairn::Tokens(tokens).first(1), LogitRows::none, nullptr},
                               {a, cairn::Tokens(tokens).first(1), LogitRows::none, nullptr}};
    CHECK(code_of([&] { pool.forward(twice); }) == ErrorCode::concurrent_use);
    const PoolSlice none{7, tokens, LogitRows::none, nullptr};
    CHECK(code_of([&] { pool.forward({&none, 1}); }) == ErrorCode::invalid_argument);
    pool.free(a);
    pool.forward({both + 1, 1});
    CHECK(pool.session(b).position() == 40);
}

TEST_CASE("seq_cp shares blocks, seq_rm and seq_add are a context shift, seq_keep frees",
          "[sequence_pool]") {
    const Model model = tiny_llama();
    Pool pool(root_of(model, "paged=16:f16", 200), {12, 0, {}});
    Random random(73);
    const auto tokens = random_tokens(random, 100, model.vocabulary());
    std::vector<float> logits(static_cast<std::size_t>(model.vocabulary()));
    const int a = pool.create();
    const PoolSlice slice{a, tokens, LogitRows::last, logits.data()};
    pool.forward({&slice, 1});
    CHECK(blocks_used(pool.root()) == 7);
    // Ten users of one prompt hold one copy.
    std::vector<int> users;
    for (int i = 0; i < 10; ++i) {
        users.push_back(pool.create());
        pool.seq_cp(a, users.back(), 0, Pool::to_the_end);
    }
    CHECK(blocks_used(pool.root()) == 7);
    CHECK(code_of([&] { pool.seq_cp(a, users[0], 0, 10); }) == ErrorCode::bad_state);
    CHECK(code_of([&] { pool.seq_cp(a, pool.create(), 50, 50); }) == ErrorCode::invalid_argument);

    // seq_rm + seq_add against Session::shift.
    const auto next = random_tokens(random, 20, model.vocabulary());
    Any shifted = root_of(model, "paged=16:f16", 0);
    shifted.prefill(tokens);
    shifted.shift(8, 40);
    CHECK(code_of([&] { pool.seq_add(a, 48, Pool::to_the_end, -40); }) == ErrorCode::bad_state);
    pool.seq_rm(a, 8, 48);
    CHECK(code_of([&] { pool.seq_add(a, 48, Pool::to_the_end, 40); }) ==
          ErrorCode::invalid_argument);
    CHECK(code_of([&] { pool.seq_add(a, 60, Pool::to_the_end, -40); }) ==
          ErrorCode::invalid_argument);
    CHECK(code_of([&] { pool.seq_add(a, 48, 90, -40); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { pool.seq_add(a, 48, Pool::to_the_end, -41); }) == ErrorCode::bad_state);
    pool.seq_add(a, 48, Pool::to_the_end, -40);
    const PoolSlice more{a, next, LogitRows::last, logits.data()};
    pool.forward({&more, 1});
    CHECK(same_bits(logits, shifted.prefill(next)));

    // The others are as they were.
    Any plain = root_of(model, "paged=16:f16", 0);
    plain.prefill(tokens);
    const PoolSlice other{users[3], next, LogitRows::last, logits.data()};
    pool.forward({&other, 1});
    CHECK(same_bits(logits, plain.prefill(next)));

    pool.seq_keep(users[3]);
    CHECK(pool.live() == 1);
    CHECK(blocks_used(pool.root()) == 8);
    pool.free(users[3]);
    CHECK(blocks_used(pool.root()) == 0);
}

TEST_CASE("a damaged file of a swapped sequence is a typed error; the others go on",
          "[sequence_pool]") {
    const Model model = tiny_llama();
    const Folder folder;
    Pool pool(root_of(model, "paged=16:f16", 40), {4, 0, folder.path.string()});
    Random random(74);
    const auto tokens = random_tokens(random, 40, model.vocabulary());
    const int a = pool.create();
    const int b = pool.create();
    const PoolSlice both[] = {{a, tokens, LogitRows::none, nullptr},
                              {b, tokens, LogitRows::none, nullptr}};
    pool.forward(both);
    pool.swap_out(a);
    REQUIRE(folder.files() == 1);
    const fs::path file = fs::directory_iterator(folder.path)->path();
    fs::resize_file(file, fs::file_size(file) - 9);
    CHECK(code_of([&] { pool.forward({both, 1}); }) == ErrorCode::bad_file);
    pool.prefetch(a);
    CHECK(code_of([&] { pool.forward({both, 1}); }) == ErrorCode::bad_file);
    pool.forward({both + 1, 1});
    CHECK(pool.session(b).position() == 80);
    pool.free(a);
    CHECK(folder.files() == 0);
}

TEST_CASE("a sequence begins with a prefix that an index holds", "[sequence_pool]") {
    const Model model = tiny_llama();
    const auto vocabulary = static_cast<std::size_t>(model.vocabulary());
    const Folder folder;
    Pool pool(root_of(model, "paged=16:f16", 24), {12, 0, folder.path.string()});
    PrefixIndex<Any> index(4);
    Random random(75);
    const auto system = random_tokens(random, 100, model.vocabulary());
    const int first = pool.create();
    const PoolSlice slice{first, system, LogitRows::none, nullptr};
    pool.forward({&slice, 1});
    index.insert(pool.session(first), pool.tokens(first));
    CHECK(code_of([&] { pool.take(index, first, system); }) == ErrorCode::bad_state);
    pool.free(first);
    CHECK(blocks_used(pool.root()) == 7);
    for (int user = 0; user < 10; ++user) {
        auto prompt = system;
        const auto question = random_tokens(random, 5 + user, model.vocabulary());
        prompt.insert(prompt.end(), question.begin(), question.end());
        const int id = pool.create();
        CHECK(pool.take(index, id, prompt).tokens == 100);
        CHECK(pool.tokens(id).size() == 100);
        std::vector<float> logits(vocabulary);
        const PoolSlice rest{id, question, LogitRows::last, logits.data()};
        pool.forward({&rest, 1});
        Any alone = root_of(model, "paged=16:f16", 0);
        CHECK(same_bits(logits, alone.prefill(prompt)));
        CHECK(std::equal(prompt.begin(), prompt.end(), pool.tokens(id).begin()));
        if (user % 3 == 0) pool.swap_out(id);
    }
    CHECK(blocks_used(pool.root()) <= 24);
    const int none = pool.create();
    CHECK(pool.take(index, none, std::vector<Token>{}).tokens == 0);
    CHECK(pool.take(index, none, system, "another salt").tokens == 0);
    CHECK(pool.tokens(none).empty());
    const Model twin = tiny_llama();
    Pool strange(root_of(twin, "paged=16:f16", 24), {2, 0, {}});
    const int id = strange.create();
    CHECK(code_of([&] { strange.take(index, id, system); }) == ErrorCode::model_mismatch);
    CHECK(strange.session(id).position() == 0);
}

TEST_CASE("two threads on one pool: each call works or is told", "[sequence_pool]") {
    const Model model = tiny_llama();
    const Folder folder;
    ThreadPool threads(2);
    Pool pool(root_of(model, "paged=16:f16", 24, threads), {4, 0, folder.path.string()});
    const int a = pool.create();
    const int b = pool.create();
    const std::vector<Token> tokens{1, 2, 3};
    std::atomic<int> others = 0;
    std::atomic<int> done = 0;
    const auto work = [&](int seed) {
        Random random(static_cast<std::uint64_t>(seed));
        for (int i = 0; i < 150; ++i) try {
                const int id = random.below(2) == 0 ? a : b;
                const PoolSlice slice{id, tokens, LogitRows::none, nullptr};
                switch (random.below(9)) {
                    case 0: pool.swap_out(id); break;
                    case 1: pool.prefetch(id); break;
                    case 2: pool.seq_rm(id, 0, Pool::to_the_end); break;
                    case 3: pool.free(pool.fork(id)); break;
                    case 4: pool.free(pool.create()); break;
                    case 5: done += pool.live() + (pool.contains(id) ? 1 : 0); break;
                    case 6: done += pool.in_memory(id) ? 1 : 0; break;
                    default: pool.forward({&slice, 1}); break;
                }
                ++done;
            } catch (const Error& error) {
                if (error.code() != ErrorCode::concurrent_use &&
                    error.code() != ErrorCode::capacity)
                    ++others;
            }
    };
    std::thread other(work, 1);
    work(2);
    other.join();
    CHECK(others == 0);
    CHECK(done > 0);
    pool.seq_keep(a);
    pool.seq_rm(a, 0, Pool::to_the_end);
    Any alone = root_of(model, "paged=16:f16", 0);
    std::vector<float> logits(static_cast<std::size_t>(model.vocabulary()));
    const PoolSlice slice{a, tokens, LogitRows::last, logits.data()};
    pool.forward({&slice, 1});
    CHECK(same_bits(logits, alone.prefill(tokens)));
}

TEST_CASE("a pool that was moved from says so; one that is replaced leaves no files",
          "[sequence_pool]") {
    const Model model = tiny_llama();
    const Folder folder;
    const std::vector<Token> tokens{1, 2, 3};
    const auto filled = [&] {
        Pool pool(root_of(model, "paged=16:f16", 24), {4, 0, folder.path.string()});
        const int id = pool.create();
        const PoolSlice slice{id, tokens, LogitRows::none, nullptr};
        pool.forward({&slice, 1});
        pool.swap_out(id);
        return pool;
    };
    Pool from = filled();
    CHECK(folder.files() == 1);
    Pool to = filled();
    CHECK(folder.files() == 2);
    to = std::move(from);
    CHECK(folder.files() == 1);
    Pool& same = to;
    to = std::move(same);
    CHECK(folder.files() == 1);
    CHECK(to.session(0).position() == 3);
    CHECK(folder.files() == 0);
    to = std::move(same);
    CHECK(to.create() == 1);
    PrefixIndex<Any> prefixes(2);
    prefixes.insert(to.session(0), to.tokens(0));
    PrefixIndex<Any>& same_prefixes = prefixes;
    prefixes = std::move(same_prefixes);
    CHECK(prefixes.match(std::vector<Token>{1, 2, 3, 4}).tokens == 3);
    const auto refused = [&](auto call) { CHECK(code_of(call) == ErrorCode::bad_state); };
    const PoolSlice slice{0, tokens, LogitRows::none, nullptr};
    PrefixIndex<Any> index(1);
    refused([&] { from.create(); });
    refused([&] { from.fork(0); });
    refused([&] { from.free(0); });
    refused([&] { from.take(index, 0, tokens); });
    refused([&] { from.seq_rm(0, 0, 1); });
    refused([&] { from.seq_cp(0, 1, 0, 1); });
    refused([&] { from.seq_keep(0); });
    refused([&] { from.seq_add(0, 1, 2, -1); });
    refused([&] { from.forward({&slice, 1}); });
    refused([&] { from.prefetch(0); });
    refused([&] { from.swap_out(0); });
    refused([&] { from.session(0); });
    CHECK(from.live() == 0);
    CHECK_FALSE(from.contains(0));
}

TEST_CASE("of what is proposed to a pool the first tokens stay, as if the others were never fed",
          "[sequence_pool]") {
    const Model model = tiny_llama();
    const auto words = static_cast<std::size_t>(model.vocabulary());
    Random random(83);
    for (const char* spec : {"paged=16:f16", "paged=16:q8_0:window=64,sinks=2",
                             "paged=16:f16:all:quest=24,page=8,recent=6,full=0"}) {
        const Folder folder;
        Pool pool(root_of(model, spec, 200), {4, 0, folder.path.string()});
        std::vector<std::vector<Token>> texts;
        for (int i = 0; i < 3; ++i) {
            REQUIRE(pool.create() == i);
            texts.push_back(random_tokens(random, 30 + i, model.vocabulary()));
            const PoolSlice slice{i, texts.back(), LogitRows::none, nullptr};
            pool.forward({&slice, 1});
        }
        pool.swap_out(2);
        const auto draft = random_tokens(random, 5, model.vocabulary());
        std::vector<std::vector<float>> logits(3, std::vector<float>(5 * words));
        const auto propose = [&](const auto& keep) {
            std::vector<PoolSlice> slices;
            for (int i = 0; i < 3; ++i)
                slices.push_back({i, draft, LogitRows::all, logits[at_index(i)].data()});
            pool.propose(slices, keep);
        };
        const auto unchanged = [&] {
            for (int i = 0; i < 3; ++i) {
                CHECK(pool.session(i).position() == static_cast<int>(texts[at_index(i)].size()));
                CHECK(pool.tokens(i).size() == texts[at_index(i)].size());
            }
        };
        CHECK(code_of([&] { propose([](std::size_t i) { return i == 2 ? 6 : 5; }); }) ==
              ErrorCode::invalid_argument);
        unchanged();
        CHECK(code_of([&] { propose([](std::size_t) { return -1; }); }) ==
              ErrorCode::invalid_argument);
        const auto inside = [&](std::size_t) { return pool.session(0).position(); };
        CHECK(code_of([&] { propose(inside); }) == ErrorCode::concurrent_use);
        unchanged();
        const int kept[] = {3, 0, 5};
        propose([&](std::size_t i) { return kept[i]; });
        for (int i = 0; i < 3; ++i) {
            auto& text = texts[at_index(i)];
            Any alone = root_of(model, spec, 200);
            const std::size_t before = text.size();
            text.insert(text.end(), draft.begin(), draft.end());
            std::vector<float> wanted(text.size() * words);
            alone.score(text, wanted.data());
            CHECK(same_bits(logits[at_index(i)], std::span(wanted).subspan(before * words)));
            text.resize(before + at_index(kept[i]));
        }
        unchanged();
        CHECK(pool.session(0).logits().empty());
        // What follows sees what stayed, and nothing else.
        for (int i = 0; i < 3; ++i) {
            const Token next = 7;
            std::vector<float> got(words);
            const PoolSlice slice{i, {&next, 1}, LogitRows::last, got.data()};
            pool.forward({&slice, 1});
            Any alone = root_of(model, spec, 200);
            alone.prefill(texts[at_index(i)]);
            CHECK(same_bits(got, alone.decode(next)));
        }
    }
    Pool scored(root_of(model, "paged=16:f16:h2o=40", 200), {2, 0, ""});
    const std::vector<Token> tokens{1, 2, 3};
    const PoolSlice slice{scored.create(), tokens, LogitRows::none, nullptr};
    CHECK(code_of([&] { scored.propose({&slice, 1}, [](std::size_t) { return 3; }); }) ==
          ErrorCode::unsupported);
    CHECK(scored.tokens(slice.sequence).empty());
}

TEST_CASE("a forked child reads its parent's swapped sequences and leaves their files", "[fork]") {
    const Model model = tiny_llama();
    const Folder folder;
    auto pool = std::make_unique<Pool>(root_of(model, "paged=16:f16", 24),
                                       PoolLimits{4, 0, folder.path.string()});
    const std::vector<Token> tokens{1, 2, 3};
    const int a = pool->create();
    const int b = pool->create();
    const PoolSlice slices[] = {{a, tokens, LogitRows::none, nullptr},
                                {b, tokens, LogitRows::none, nullptr}};
    pool->forward(slices);
    pool->swap_out(a);
    pool->swap_out(b);
    pool->prefetch(b);
    std::this_thread::sleep_for(before_fork);
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(20);
        bool good = false;
        try {
            good = pool->session(a).position() == 3 && pool->session(b).position() == 3;
            pool->swap_out(a);
            pool.reset();
        } catch (const Error&) {
            good = false;
        }
        ::_exit(good ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(folder.files() == 2);
    CHECK(pool->session(a).position() == 3);
    CHECK(pool->session(b).position() == 3);
    CHECK(folder.files() == 0);
}

TEST_CASE("a fork while a sequence is read back leaves the child a pool that works", "[fork]") {
    const Model model = tiny_llama();
    Random random(81);
    const auto tokens = random_tokens(random, 100, model.vocabulary());
    for (const char* spec : {"paged=16:f16", "contiguous,disk=32:f16"})
        for (int round = 0; round < (before_fork.count() > 0 ? 2 : 12); ++round) {
            const Folder folder;
            Pool pool(spec[0] == 'p' ? root_of(model, spec, 24)
                                     : session_of(model, CacheSpec::parse(spec), 300),
                      PoolLimits{4, 0, folder.path.string()});
            const int a = pool.create();
            const int b = pool.create();
            const PoolSlice slices[] = {{a, Tokens(tokens).first(40), LogitRows::none, nullptr},
                                        {b, tokens, LogitRows::none, nullptr}};
            for (const PoolSlice& slice : slices) pool.forward({&slice, 1});
            pool.swap_out(b);
            pool.prefetch(b);
            std::this_thread::sleep_for(before_fork + std::chrono::microseconds(40 * round));
            const pid_t child = ::fork();
            if (child == 0) {
                ::alarm(20);
                bool good = false;
                const PoolSlice more[] = {{a, Tokens(tokens).first(8), LogitRows::none, nullptr}};
                try {
                    pool.forward(more);
                    good = pool.session(a).position() == 48;
                } catch (const Error& error) {
                    good = error.code() == ErrorCode::bad_state;
                }
                ::syscall(SYS_exit_group, good ? 0 : 1);  // no tool asks after the other thread
            }
            int status = -1;
            ::waitpid(child, &status, 0);
            CHECK(status == 0);
            CHECK(pool.session(b).position() == 100);
        }
}
