// Speed of a model from a file, in rounds: prefill and decode behind --depth tokens, and many
// sequences that decode together. Prints one JSON object; bench/peers runs it beside other
// programs.
#include <iostream>

#include <CLI/CLI.hpp>
#include <cairn/io/io.hpp>
#include <cairn/serve/sequence_pool.hpp>

#include "limits.hpp"

using namespace cairn;
using bench::timed;

namespace {

using Any = Session<AnyModel, AnyCache>;

struct Options {
    std::string path;
    std::string cache = "contiguous:f16";
    std::string compute = "fast";
    std::string attention = "accurate";
    int prefill = 256;
    int decode = 64;
    std::vector<int> depths{0};
    std::vector<int> sequences;
    int threads = hardware_threads();
    int rounds = 1;
    bool made_up = false;
    bool limits = false;

    void add_to(CLI::App& app) {
        app.add_option("model", path, "GGUF file or model folder")->required();
        app.add_option("--cache", cache, "Cache SPEC")->capture_default_str();
        app.add_option("--compute", compute, "fast or accurate")->capture_default_str();
        app.add_option("--attention", attention, "fast or accurate")->capture_default_str();
        app.add_option("--prefill", prefill, "Tokens of a prompt")->capture_default_str();
        app.add_option("--decode", decode, "Tokens decoded one by one")->capture_default_str();
        app.add_option("--depth", depths, "Tokens in the cache before both; D,D in one run")
            ->delimiter(',')
            ->capture_default_str();
        app.add_flag("--made-up", made_up,
                     "Rows before both are random numbers: the time does not depend on them");
        app.add_option("--sequences", sequences,
                       "Decode N sequences of --depth tokens together; N,N in one run, and "
                       "nothing else")
            ->delimiter(',');
        app.add_option("--threads", threads, "Threads")->capture_default_str();
        app.add_option("--rounds", rounds, "Rounds")->capture_default_str();
        app.add_flag("--limits", limits, "Read bandwidth before each decode");
    }
};

class Speed {
  public:
    explicit Speed(const Options& options) : options_(options), threads_(options.threads) {
        load_seconds_ = timed([&] { loaded_ = load_model(options_.path, {{}, {}, &threads_}); });
        if (options_.limits) probe_.emplace(threads_);
    }
    Json run() {
        Json depths = Json::array();
        Json together = Json::array();
        if (!options_.sequences.empty())
            for (const int sequences : options_.sequences) together.push_back(batch(sequences));
        else
            depths = alone();
        return {{"load_seconds", load_seconds_},
                {"prefill_operations", prefill_operations()},
                {"decode_bytes", loaded_->model.decode_bytes()},
                {"read_bytes_per_second", bandwidths_},
                {"depths", depths},
                {"together", together}};
    }

  private:
    Any session(int room) {
        const CacheSpec spec = CacheSpec::parse(options_.cache);
        Any result(loaded_->model, std::min(room, loaded_->model.context()), threads_,
                   [&](int layer, const HeadLayout& layout, int rows) {
                       return spec.make(layout, rows, layer);
                   });
        const auto mode = [](const std::string& word) {
            return word == "accurate" ? Compute::accurate : Compute::fast;
        };
        result.context().compute = mode(options_.compute);
        result.context().attention = mode(options_.attention);
        return result;
    }
    std::vector<Token> tokens(int n) {
        std::vector<Token> result;
        for (int i = 0; i < n; ++i)
            result.push_back(static_cast<Token>(
                random_.below(static_cast<std::uint64_t>(loaded_->model.vocabulary()))));
        return result;
    }
    // Brings a session to `depth` tokens, forgetting or adding as many as that takes.
    void fill(Any& session, int depth) {
        if (session.position() > depth) session.truncate(depth);
        const int missing = depth - session.position();
        if (missing == 0) return;
        if (!options_.made_up) {
            session.prefill(tokens(missing));
            return;
        }
        for (AnyCache& cache : session.caches()) {
            const HeadLayout layout = cache.layout();
            const int k = layout.kv_heads * layout.key_dim;
            const int v = layout.kv_heads * layout.value_dim;
            std::vector<float> rows(static_cast<std::size_t>(256 * std::max(k, v)));
            for (float& x : rows) x = static_cast<float>(random_.normal());
            while (cache.committed() < depth) {
                const int n = std::min({256, depth - cache.committed(), cache.max_rows()});
                cache.append({rows.data(), k, n}, {rows.data(), v, n});
            }
        }
        session.restore(depth, {});
    }
    // Prefill and decode behind each depth. The first round warms up, with fewer tokens.
    Json alone() {
        const int deepest = *std::max_element(options_.depths.begin(), options_.depths.end());
        Any session = this->session(deepest + std::max(options_.prefill, options_.decode + 1));
        Json result = Json::array();
        for (const int depth : options_.depths) {
            std::vector<double> prefills, decodes;
            for (int round = -1; round < options_.rounds; ++round) {
                const auto limited = [&](int n, int most) {
                    return round < 0 ? std::min(n, most) : n;
                };
                if (const int n = limited(options_.prefill, 256); n > 0) {
                    fill(session, depth);
                    const std::vector<Token> prompt = tokens(n);
                    prefills.push_back(n / timed([&] { session.prefill(prompt); }));
                }
                if (const int n = limited(options_.decode, 8); n > 0) {
                    fill(session, depth);
                    Greedy greedy;
                    Token next = greedy(session.decode(1), {});
                    if (probe_ && round >= 0) bandwidths_.push_back(probe_->run());
                    decodes.push_back(n / timed([&] {
                                          for (int i = 0; i < n; ++i)
                                              next = greedy(session.decode(next), {});
                                      }));
                }
                if (round >= 0) continue;
                prefills.clear();
                decodes.clear();
            }
            result.push_back({{"depth", depth},
                              {"prefill_tokens_per_second", prefills},
                              {"decode_tokens_per_second", decodes}});
        }
        return result;
    }
    // Tokens a second of all sequences, each with --depth tokens of its own before.
    Json batch(int sequences) {
        const int depth = options_.depths.front();
        SequencePool<Any> pool(session(depth + options_.decode + 1), {sequences, 0, {}});
        const auto vocabulary = static_cast<std::size_t>(loaded_->model.vocabulary());
        std::vector<float> logits(static_cast<std::size_t>(sequences) * vocabulary);
        std::vector<std::vector<Token>> fed;
        std::vector<PoolSlice> slices;
        for (int i = 0; i < sequences; ++i) {
            fed.push_back(tokens(std::max(depth, 1)));
            const PoolSlice prompt{pool.create(), fed.back(), LogitRows::last, logits.data()};
            pool.forward({&prompt, 1});
            fed.back().resize(1);
            slices.push_back({prompt.sequence, fed.back(), LogitRows::last,
                              logits.data() + static_cast<std::size_t>(i) * vocabulary});
        }
        std::vector<double> rates;
        for (int round = -1; round < options_.rounds; ++round) {
            for (const PoolSlice& slice : slices)
                if (depth > 0) pool.seq_rm(slice.sequence, depth, pool.to_the_end);
            const int steps = round < 0 ? std::min(options_.decode, 8) : options_.decode;
            const double t = timed([&] {
                for (int step = 0; step < steps; ++step) {
                    pool.forward(slices);
                    Greedy greedy;
                    for (std::size_t i = 0; i < slices.size(); ++i)
                        fed[i][0] =
                            greedy(std::span(logits).subspan(i * vocabulary, vocabulary), {});
                }
            });
            if (round >= 0) rates.push_back(sequences * steps / t);
        }
        return {{"sequences", sequences}, {"tokens_per_second", rates}};
    }
    // Products with weights: of every row in the blocks, of the last one with the output matrix.
    double prefill_operations() const {
        double weights = 0.0;
        for (int layer = 0; layer < loaded_->model.layers(); ++layer)
            weights += static_cast<double>(loaded_->model.block(layer).parameters());
        const double output = static_cast<double>(loaded_->model.width()) *
                              static_cast<double>(loaded_->model.vocabulary());
        return 2.0 * (options_.prefill * weights + output);
    }

    Options options_;
    ThreadPool threads_;
    std::optional<LoadedModel> loaded_;
    std::optional<bench::ReadProbe> probe_;
    Random random_{1};
    double load_seconds_ = 0.0;
    std::vector<double> bandwidths_;
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Prefill and decode speed of a model, as one JSON object."};
    Options options;
    options.add_to(app);
    CLI11_PARSE(app, argc, argv);
    try {
        std::cout << Speed(options).run().dump() << '\n';
    } catch (const Error& error) {
        std::cerr << "error[" << code_name(error.code()) << "]: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
