// What caches are worth to a program that serves many sequences, on one model: requests of uneven
// length under a memory budget, a shared prompt, a stream without end, growth, and blocks in any
// order. A table, or one JSON object.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <iostream>
#include <optional>
#include <sstream>

#include <CLI/CLI.hpp>
#include <cairn/cairn.hpp>
#include <cairn/io/io.hpp>
#include <cairn/numeric/log_probability.hpp>
#include <cairn/serve/prefix_index.hpp>
#include <cairn/serve/sequence_pool.hpp>

#include "timer.hpp"

using namespace cairn;

namespace {

using Any = Session<AnyModel, AnyCache>;

double median(std::vector<double> x) { return bench::Samples{std::move(x)}.median(); }
Any session_of(const LoadedModel& loaded, const char* text, int capacity, Executor& pool,
               int blocks = 0) {
    CacheSpec spec = CacheSpec::parse(text);
    spec.set_pool_blocks(blocks);
    return Any(loaded.model, capacity, pool, [&](int layer, const HeadLayout& layout, int rows) {
        return spec.make(layout, rows, layer);
    });
}
PoolUse blocks_of(const Any& session) { return session.layer_cache(0).pool_use(); }
std::vector<Token> some_tokens(const LoadedModel& loaded, int count, std::uint64_t seed) {
    Random random(seed);
    std::vector<Token> tokens(static_cast<std::size_t>(count));
    for (Token& token : tokens)
        token =
            static_cast<Token>(random.below(static_cast<std::uint64_t>(loaded.model.vocabulary())));
    return tokens;
}

// 64 requests under a budget of four longest ones. `reserve`: a request is let in when its longest
// length is free; otherwise when its prompt fits, and the youngest starts over if blocks run out.
struct Requests {
    int longest = 2048;
    std::vector<int> lengths;  // prompt and answer
    static constexpr int prompt = 32;
    Requests() {
        Random random(7);
        // Log-normal, sigma 0.7, mean an eighth of the longest.
        for (int i = 0; i < 64; ++i) {
            const double x = std::exp(0.7 * random.normal()) * longest / 8 / std::exp(0.245);
            lengths.push_back(std::clamp(static_cast<int>(x), prompt + 8, longest));
        }
    }
    int total() const {
        int sum = 0;
        for (const int n : lengths) sum += n;
        return sum;
    }
};
struct Served {
    double seconds = 0.0;
    double waste = 0.0;  // of the rows in blocks, mean over steps
    double together = 0.0;
    int restarts = 0;
    std::vector<std::vector<Token>> texts;
};
Served serve(const LoadedModel& loaded, const Requests& requests, bool reserve,
             Executor& executor) {
    constexpr int rows = 16;
    const int budget = 4 * requests.longest;
    SequencePool<Any> pool(
        session_of(loaded, "paged=16:f16", requests.longest, executor, budget / rows), {64, 0, {}});
    struct Live {
        int request;
        int sequence;
        std::vector<Token> text;
    };
    const auto vocabulary = static_cast<std::size_t>(loaded.model.vocabulary());
    std::vector<Live> live;
    std::vector<int> waiting;
    for (int i = 63; i >= 0; --i) waiting.push_back(i);
    Served result;
    result.texts.resize(64);
    std::vector<float> logits(64 * vocabulary);
    int steps = 0;
    result.seconds = bench::timed([&] {
        while (!waiting.empty() || !live.empty()) {
            std::vector<PoolSlice> slices;
            std::vector<std::vector<Token>> fed;
            // Room for one block more of each that lives.
            const auto fits = [&] {
                if (reserve) return live.size() < 4;
                const int needed = Requests::prompt / rows + 1 + static_cast<int>(live.size());
                const PoolUse pages = blocks_of(pool.root());
                return pages.blocks - pages.used >= needed;
            };
            const std::size_t before = live.size();
            while (!waiting.empty() && live.size() < 64 && fits() && live.size() < before + 4) {
                live.push_back({waiting.back(), pool.create(),
                                some_tokens(loaded, Requests::prompt,
                                            static_cast<std::uint64_t>(waiting.back()))});
                waiting.pop_back();
            }
            fed.reserve(live.size());
            for (const Live& l : live) {
                const auto held = static_cast<std::size_t>(pool.session(l.sequence).position());
                fed.emplace_back(l.text.begin() + static_cast<long>(held), l.text.end());
            }
            for (std::size_t i = 0; i < live.size(); ++i)
                slices.push_back(
                    {live[i].sequence, fed[i], LogitRows::last, logits.data() + i * vocabulary});
            try {
                pool.forward(slices);
            } catch (const Error& error) {
                if (error.code() != ErrorCode::capacity || live.size() < 2) throw;
                pool.free(live.back().sequence);
                waiting.push_back(live.back().request);
                live.pop_back();
                ++result.restarts;
                continue;
            }
            Greedy greedy;
            for (std::size_t i = live.size(); i-- > 0;) {
                Live& l = live[i];
                l.text.push_back(greedy(std::span(logits).subspan(i * vocabulary, vocabulary), {}));
                if (static_cast<int>(l.text.size()) <
                    requests.lengths[static_cast<std::size_t>(l.request)])
                    continue;
                pool.free(l.sequence);
                result.texts[static_cast<std::size_t>(l.request)] = std::move(l.text);
                live.erase(live.begin() + static_cast<long>(i));
            }
            result.together += static_cast<double>(slices.size());
            int allocated = 0;
            for (const PoolSlice& slice : slices)
                allocated +=
                    reserve ? requests.longest
                    : pool.contains(slice.sequence)
                        ? (pool.session(slice.sequence).position() + rows - 1) / rows * rows
                        : 0;
            int used = 0;
            for (const PoolSlice& slice : slices)
                if (pool.contains(slice.sequence)) used += pool.session(slice.sequence).position();
            if (allocated > 0) result.waste += 1.0 - static_cast<double>(used) / allocated;
            ++steps;
        }
    });
    result.waste /= steps;
    result.together /= steps;
    return result;
}
Json requests(const LoadedModel& loaded, Executor& executor) {
    const Requests load;
    const Served paged = serve(loaded, load, false, executor);
    const Served reserved = serve(loaded, load, true, executor);
    const auto rate = [&](const Served& s) { return load.total() / s.seconds; };
    return {{"tokens", load.total()},
            {"paged_tokens_per_second", rate(paged)},
            {"reserved_tokens_per_second", rate(reserved)},
            {"ratio", rate(paged) / rate(reserved)},
            {"paged_waste", paged.waste},
            {"reserved_waste", reserved.waste},
            {"paged_sequences_together", paged.together},
            {"reserved_sequences_together", reserved.together},
            {"restarts", paged.restarts},
            {"same_texts", paged.texts == reserved.texts}};
}

// Time to the first token of a question behind a long prompt that was seen before.
Json prefix(const LoadedModel& loaded, Executor& executor) {
    const std::vector<Token> system = some_tokens(loaded, 1000, 1);
    Any root = session_of(loaded, "paged=16:f16", 1200, executor);
    PrefixIndex<Any> index(16);
    {
        Any first = root.fork();
        first.prefill(system);
        index.insert(first, system);
    }
    const int one = blocks_of(root).used;
    std::vector<double> cold;
    std::vector<double> warm;
    std::vector<Any> users;
    bool same = true;
    for (int user = 0; user < 10; ++user) {
        std::vector<Token> prompt = system;
        const auto question = some_tokens(loaded, 50, 100 + static_cast<std::uint64_t>(user));
        prompt.insert(prompt.end(), question.begin(), question.end());
        Any with = root.fork();
        warm.push_back(bench::timed([&] {
            const int hit = index.take(prompt, with).tokens;
            with.prefill(Tokens(prompt).subspan(static_cast<std::size_t>(hit)));
        }));
        Any without = session_of(loaded, "paged=16:f16", 1200, executor);
        cold.push_back(bench::timed([&] { without.prefill(prompt); }));
        same = same &&
               std::equal(with.logits().begin(), with.logits().end(), without.logits().begin());
        users.push_back(std::move(with));
    }
    return {{"cold_seconds", median(cold)},
            {"warm_seconds", median(warm)},
            {"ratio", median(cold) / median(warm)},
            {"same_logits", same},
            {"blocks_of_one_prompt", one},
            {"blocks_of_ten_users", blocks_of(root).used},
            {"blocks_without_sharing", 10 * ((1050 + 15) / 16)}};
}

// Perplexity, time a token and bytes of a stream far beyond its window.
Json stream(const LoadedModel& loaded, const std::vector<Token>& text, Executor& executor) {
    constexpr int window = 1024;
    const int count = std::min(static_cast<int>(text.size()), 16384);
    const auto vocabulary = static_cast<std::size_t>(loaded.model.vocabulary());
    const auto tokens = Tokens(text).first(static_cast<std::size_t>(count));
    // Mean nll of tokens [from, to), fed in pieces: pieces change no bit.
    const auto perplexity = [&](Any& session, int at, int to, int from) {
        double nll = 0.0;
        int scored = 0;
        std::vector<float> logits;
        while (at < to) {
            const int n = std::min({to - at, session.max_rows(), 128});
            logits.resize(static_cast<std::size_t>(n) * vocabulary);
            session.score(tokens.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)),
                          logits.data());
            for (int i = 0; i < n; ++i)
                if (at + i >= from && at + i + 1 < count) {
                    nll -=
                        log_probability(std::span(logits).subspan(
                                            static_cast<std::size_t>(i) * vocabulary, vocabulary),
                                        tokens[static_cast<std::size_t>(at + i + 1)]);
                    ++scored;
                }
            at += n;
        }
        return std::exp(nll / std::max(scored, 1));
    };
    const int capacity = count + 600;
    Json result;
    Any sinks = session_of(loaded, "contiguous:f16:window=1020,sinks=4", capacity, executor);
    result["perplexity"] = perplexity(sinks, 0, count, 2048);
    Any without = session_of(loaded, "contiguous:f16:window=1024", capacity, executor);
    result["perplexity_without_sinks"] = perplexity(without, 0, count, 2048);
    // The same tokens with everything kept, in contexts of 2048: the second half of each is scored.
    double sum = 0.0;
    int parts = 0;
    for (int at = 2048; at + 2048 <= count; at += 1024, ++parts) {
        Any full = session_of(loaded, "contiguous:f16", 2048 + 16, executor);
        sum += std::log(perplexity(full, at - 1024, at + 1024, at));
    }
    if (parts > 0) result["perplexity_full_2048"] = std::exp(sum / parts);
    // Time a token at many places of the stream, the whole loop in turns.
    std::vector<double> times;
    Any timed = session_of(loaded, "contiguous:f16:window=1020,sinks=4", capacity, executor);
    std::vector<std::size_t> bytes;
    for (int at = 0; at < count; at += 1024) {
        const int n = std::min(1024, count - at);
        for (int i = 0; i < n - 64;) {
            const int m = std::min({n - 64 - i, timed.max_rows(), 128});
            timed.prefill(
                tokens.subspan(static_cast<std::size_t>(at + i), static_cast<std::size_t>(m)));
            i += m;
        }
        std::vector<double> steps;
        for (int i = std::max(n - 64, 0); i < n; ++i)
            steps.push_back(
                bench::timed([&] { timed.decode(tokens[static_cast<std::size_t>(at + i)]); }));
        times.push_back(median(steps));
        bytes.push_back(timed.cache_bytes());
    }
    result["seconds_a_token"] = times;
    result["bytes"] = bytes;
    std::vector<double> again;
    for (int i = 0; i < 5; ++i) {
        Any fresh = session_of(loaded, "contiguous:f16", window, executor);
        again.push_back(bench::timed([&] { fresh.prefill(tokens.first(window)); }));
    }
    result["seconds_to_recompute_window"] = median(again);
    result["ratio"] = median(again) / median(times);
    return result;
}

// Time of single steps while a cache grows, against one whose memory was touched before.
Json growth(const LoadedModel& loaded, Executor& executor) {
    const auto tokens = some_tokens(loaded, 1500, 3);
    const char* specs[] = {"contiguous:f16", "contiguous:f16", "mapped:f16", "paged=16:f16"};
    std::vector<Any> sessions;
    for (const char* spec : specs) sessions.push_back(session_of(loaded, spec, 1600, executor));
    sessions[0].prefill(tokens);  // touched
    sessions[0].clear();
    std::vector<std::vector<double>> steps(4);
    for (std::size_t i = 0; i < tokens.size(); ++i)
        for (std::size_t turn = 0; turn < 4; ++turn) {
            const std::size_t s = (i + turn) % 4;
            steps[s].push_back(bench::timed([&] { sessions[s].decode(tokens[i]); }));
        }
    Json result = Json::array();
    const char* names[] = {"contiguous, touched before", "contiguous", "mapped", "paged=16"};
    for (std::size_t s = 0; s < 4; ++s) {
        // Against the neighbours: steps grow with the text.
        std::vector<double> relative;
        for (std::size_t i = 10; i + 10 < steps[s].size(); ++i)
            relative.push_back(steps[s][i] /
                               median({steps[s].begin() + static_cast<long>(i) - 10,
                                       steps[s].begin() + static_cast<long>(i) + 11}));
        result.push_back({{"cache", names[s]},
                          {"median_seconds", median(steps[s])},
                          {"p99_over_neighbours", bench::Samples{relative}.quantile(0.99)}});
    }
    return result;
}

// Decoding over blocks in order, in random order, and without blocks.
Json shuffled(const LoadedModel& loaded, Executor& executor) {
    constexpr int depth = 4096;
    constexpr int rows = 16;
    const auto tokens = some_tokens(loaded, depth, 4);
    Any plain = session_of(loaded, "contiguous:f16", depth + 200, executor);
    Any mapped = session_of(loaded, "mapped:f16", depth + 200, executor);
    Any paged = session_of(loaded, "paged=16:f16", depth + 200, executor);
    Any root = session_of(loaded, "paged=16:f16", depth + 200, executor);
    // One-block sequences hold all blocks; each block that is needed is freed at random.
    std::vector<Any> holders;
    {
        Any first = root.fork();
        first.prefill(Tokens(tokens).first(rows));
        for (int i = 0; i < depth / rows + 12; ++i) holders.push_back(first.copy());
    }
    Any mixed = root.fork();
    Random random(5);
    for (int at = 0; at < depth; at += rows) {
        const std::size_t pick = random.below(holders.size());
        std::swap(holders[pick], holders.back());
        holders.pop_back();
        mixed.prefill(Tokens(tokens).subspan(static_cast<std::size_t>(at), rows));
    }
    std::vector<Any*> all{&plain, &mapped, &paged, &mixed};
    for (Any* s : {&plain, &mapped, &paged}) s->prefill(tokens);
    std::vector<std::vector<double>> steps(4);
    bool same = true;
    for (std::size_t i = 0; i < 160; ++i)
        for (std::size_t turn = 0; turn < 4; ++turn) {
            const std::size_t s = i % 2 == 0 ? turn : 3 - turn;
            steps[s].push_back(bench::timed([&] { all[s]->decode(tokens[i]); }));
            if (turn < 3) continue;
            for (const Any* one : all)
                same = same && std::equal(plain.logits().begin(), plain.logits().end(),
                                          one->logits().begin());
        }
    const double base = median(steps[0]);
    return {{"contiguous_tokens_per_second", 1.0 / base},
            {"mapped_ratio", base / median(steps[1])},
            {"paged_ratio", base / median(steps[2])},
            {"paged_shuffled_ratio", base / median(steps[3])},
            {"same_logits", same}};
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Serving many sequences: blocks, sharing, streams and growth on one model.\n"
        "Examples:\n  serving model.gguf --text english.txt\n"
        "  serving model.gguf --only prefix --json"};
    std::string path;
    std::string text_file;
    std::vector<std::string> only;
    int threads = hardware_threads();
    bool json = false;
    app.add_option("model", path, "GGUF file or model folder")->required();
    app.add_option("--text", text_file, "English text for the stream's perplexity");
    app.add_option("--only", only, "requests, prefix, stream, growth, shuffled; may be repeated");
    app.add_option("--threads", threads, "Threads")->capture_default_str();
    app.add_flag("--json", json, "One JSON object instead of lines");
    CLI11_PARSE(app, argc, argv);
    try {
        ThreadPool pool(threads);
        const LoadedModel loaded = load_model(path, {{}, {}, &pool});
        std::vector<Token> text = some_tokens(loaded, 16384, 6);
        if (!text_file.empty()) {
            std::ifstream in(text_file);
            std::ostringstream all;
            all << in.rdbuf();
            require(!!in && loaded.tokenizer.has_value(), ErrorCode::io, text_file,
                    ": cannot be read, or the model has no tokenizer");
            text = loaded.tokenizer->encode(all.str());
        }
        const std::pair<const char*, std::function<Json()>> parts[] = {
            {"shuffled", [&] { return shuffled(loaded, pool); }},
            {"growth", [&] { return growth(loaded, pool); }},
            {"prefix", [&] { return prefix(loaded, pool); }},
            {"requests", [&] { return requests(loaded, pool); }},
            {"stream", [&] { return stream(loaded, text, pool); }}};
        Json result;
        for (const auto& [name, part] : parts) {
            if (!only.empty() && std::find(only.begin(), only.end(), name) == only.end()) continue;
            result[name] = part();
            if (!json) std::cout << name << ": " << result[name].dump(1) << std::endl;
        }
        if (json) std::cout << result.dump() << '\n';
    } catch (const Error& error) {
        std::cerr << "error[" << code_name(error.code()) << "]: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
