// Every allocation of loading a model, of a pool of sequences and of a prefix index fails: once, or
// with all that follow. Nothing ends the process, and nothing is half done.
#include "failing_memory.hpp"

#include <filesystem>
#include <string>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/io/model_file.hpp>
#include <cairn/models/tiny_gpt.hpp>
#include <cairn/serve/prefix_index.hpp>
#include <cairn/serve/sequence_pool.hpp>

namespace {

using Any = Session<Gpt2, AnyCache>;
namespace fs = std::filesystem;

TinyGpt tiny() {
    return TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 40, .context = 200}, 3);
}
Any root_of(const TinyGpt& gpt, int blocks) {
    CacheSpec spec = CacheSpec::parse("paged=16:f16");
    spec.set_pool_blocks(blocks);
    return Any(gpt.model(), 200, Serial::instance(),
               [&](int layer, const HeadLayout& layout, int rows) {
                   return spec.make(layout, rows, layer);
               });
}
std::vector<Token> text(int count, int first) {
    std::vector<Token> tokens;
    for (int i = 0; i < count; ++i) tokens.push_back((first + i * 7) % 40);
    return tokens;
}
int files(const fs::path& folder) {
    return static_cast<int>(std::distance(fs::directory_iterator(folder), {}));
}

int index() {
    const TinyGpt gpt = tiny();
    const Any root = root_of(gpt, 0);
    PrefixIndex<Any> prefixes(3, 4);
    int failed = 0;
    std::vector<std::vector<Token>> held;
    const auto all_there = [&] {
        for (const auto& tokens : held)
            check(prefixes.match(tokens).tokens == static_cast<int>(tokens.size()) - 1,
                  "an entry was lost", "index");
        check(prefixes.size() == held.size(), "entries", "index");
    };
    // New ones, one that begins with an older one, and one that makes room.
    for (const auto& tokens : {text(20, 1), text(21, 2), text(30, 1), text(22, 3), text(23, 4)}) {
        Any session = root.fork();
        session.prefill(tokens);
        failed += each_failure([&] { prefixes.insert(session, tokens); }, all_there);
        if (tokens.size() == 30) held.erase(held.begin());  // replaced
        held.insert(held.begin(), tokens);
        if (held.size() > 3) held = {held[0], held[1], held[2]};
        for (std::size_t i = held.size(); i-- > 0;) prefixes.match(held[i]);  // as in `held`
    }
    Any session = root.fork();
    failed += each_failure([&] { prefixes.take(text(40, 4), session); },
                           [&] {
                               check(session.position() == 0, "take: position", "index");
                               all_there();
                           });
    check(session.position() == 23, "take", "index");
    return failed;
}

int pool(const fs::path& folder) {
    const TinyGpt gpt = tiny();
    std::vector<float> logits(40);
    int failed = 0;
    {
        SequencePool<Any> sequences(root_of(gpt, 20), {6, 0, folder.string()});
        const auto tokens = text(50, 1);
        std::vector<int> lengths;
        const auto unchanged = [&] {
            check(sequences.live() == static_cast<int>(lengths.size()), "sequences", "pool");
            for (std::size_t i = 0; i < lengths.size(); ++i)
                check(static_cast<int>(sequences.tokens(static_cast<int>(i)).size()) == lengths[i],
                      "tokens", "pool");
        };
        const auto feed = [&](int id) {
            const PoolSlice slice{id, tokens, LogitRows::last, logits.data()};
            failed += each_failure([&] { sequences.forward({&slice, 1}); }, unchanged);
            lengths[static_cast<std::size_t>(id)] += 50;
        };
        for (int i = 0; i < 3; ++i) {
            failed += each_failure([&] { sequences.create(); }, unchanged);
            lengths.push_back(0);
            feed(i);
        }
        failed += each_failure([&] { sequences.fork(1); }, unchanged);
        lengths.push_back(50);
        for (const int id : {0, 1, 2, 3, 0, 2}) feed(id);  // more than fits: some go to disk
        for (const int id : {0, 1, 2, 3}) {
            failed += each_failure([&] { sequences.swap_out(id); }, unchanged);
            failed += each_failure([&] { sequences.prefetch(id); }, unchanged);
            failed += each_failure([&] { sequences.session(id); }, unchanged);
            feed(id);
        }
        failed += each_failure([&] { sequences.create(); }, unchanged);
        lengths.push_back(0);
        failed += each_failure([&] { sequences.seq_cp(0, 4, 0, 60); }, unchanged);
        lengths[4] = 60;
        failed += each_failure([&] { sequences.seq_rm(4, 40, 60); }, unchanged);
        lengths[4] = 40;
        feed(4);
        Any alone = root_of(gpt, 0);
        auto all = text(50, 1);
        all.resize(40);
        all.insert(all.end(), tokens.begin(), tokens.end());
        // Sequence 0 began with this text twice over, so its first 40 tokens are the text's.
        const auto wanted = alone.prefill(all);
        check(std::equal(wanted.begin(), wanted.end(), logits.begin()), "logits", "pool");
        sequences.swap_out(0);
        check(files(folder) > 0, "nothing on disk", "pool");
        countdown = 0;  // neither freeing nor the end of a pool asks for memory
        for_good = true;
        sequences.free(0);
    }
    countdown = -1;
    for_good = false;
    check(files(folder) == 0, "files were left behind", "pool");
    return failed;
}

void threads() {
    ThreadPool workers(4);
    std::atomic<int> sum = 0;
    auto task = [&](int i, int) { sum += i; };
    workers.run(10, task);
    check(sum == 45, "tasks", "threads");
}

}  // namespace

int main() {
    const fs::path folder =
        fs::temp_directory_path() / ("cairn-memory-" + std::to_string(::getpid()));
    fs::create_directories(folder);
    try {
        int failed = 0;
        for (const bool good : {false, true}) {
            const auto load = [] { load_model(CAIRN_MODELS "/shakespeare"); };
            load();  // first use of anything static
            threads();
            index();
            pool(folder);
            const long before = live;
            failed += every_failure(good, threads, "threads");
            failed += every_failure(good, load, "load");
            for_good = good;
            failed += index() + pool(folder);
            for_good = false;
            check(live == before, "memory was left behind", good ? "for good" : "once");
        }
        std::printf("%d allocations failed, %d checks with them\n", failed, failures);
    } catch (const std::exception& error) {
        countdown = -1;
        check(false, error.what(), "an exception of another kind");
    }
    fs::remove_all(folder);
    return failures == 0 ? 0 : 1;
}
