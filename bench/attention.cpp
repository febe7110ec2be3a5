// Attention alone over encoded caches: one decoding row, every codec, against the read bandwidth
// measured in the same rounds. Prints a table, or JSON with --json.
#include <unistd.h>

#include <cstdio>
#include <string>

#include <cairn/attention/engine.hpp>
#include <cairn/cache/cache_spec.hpp>
#include <cairn/numeric/random.hpp>
#include <nlohmann/json.hpp>

#include "limits.hpp"
#include "run_options.hpp"

using namespace cairn;
using bench::Samples;
using bench::timed;

namespace {

struct Shape {
    int heads, kv_heads, dims, rows, layers;
    std::string name() const {
        return std::to_string(heads) + "/" + std::to_string(kv_heads) + " x " +
               std::to_string(dims) + ", " + std::to_string(rows) + " rows, " +
               std::to_string(layers) + " layers";
    }
};

// As many layers as one after another find nothing in a processor cache.
class Decode {
  public:
    Decode(const Shape& shape, const std::string& codec, Compute mode, ThreadPool& pool)
        : shape_(shape),
          layout_{shape.heads, shape.kv_heads, shape.dims, shape.dims},
          context_(pool),
          q_(static_cast<std::size_t>(shape.heads * shape.dims)),
          out_(q_.size()) {
        context_.attention = mode;
        const int width = shape.kv_heads * shape.dims;
        Random random(1);
        std::vector<float> rows(static_cast<std::size_t>(256 * width));
        for (float& x : rows) x = static_cast<float>(random.normal());
        for (float& x : q_) x = static_cast<float>(random.normal());
        for (int layer = 0; layer < shape.layers; ++layer) {
            caches_.push_back(
                CacheSpec::parse("contiguous:" + codec).make(layout_, shape.rows, layer));
            for (int r = 0; r < shape.rows;) {
                const int n = std::min({256, shape.rows - r, caches_.back().max_rows()});
                caches_.back().stage({rows.data(), width, n}, {rows.data(), width, n});
                caches_.back().commit(n);
                r += n;
            }
        }
    }
    /// Seconds of all layers.
    double run() {
        const auto width = static_cast<std::ptrdiff_t>(q_.size());
        return timed([&] {
            for (AnyCache& cache : caches_)
                attend(cache, {q_.data(), width, 1, shape_.rows - 1}, {.scale = 0.1F},
                       layout_.heads, out_.data(), width, context_);
        });
    }
    double bytes() const {
        return static_cast<double>(caches_.size()) *
               static_cast<double>(caches_[0].payload_bytes(shape_.rows));
    }

  private:
    Shape shape_;
    HeadLayout layout_;
    Context context_;
    std::vector<AnyCache> caches_;
    std::vector<float> q_, out_;
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Attention of one decoding row over encoded caches, against this machine's read "
        "bandwidth.\n\nExamples:\n  attention --rounds 9\n  attention --codecs q8_0,q4_0 --json"};
    bench::RunOptions options;
    std::vector<std::string> codecs{"f16", "q8_0", "int8", "q4_0", "int4", "kivi4", "fp8_e4m3"};
    options.add_to(app);
    app.add_option("--codecs", codecs, "Codecs as in a cache SPEC")->delimiter(',');
    CLI11_PARSE(app, argc, argv);

    ThreadPool pool(options.threads);
    bench::ReadProbe read(pool);
    const Shape shapes[] = {{9, 3, 64, 4096, 30}, {32, 8, 128, 16384, 4}, {8, 8, 128, 16384, 4}};
    nlohmann::json result = {{"threads", pool.workers()}, {"isa", kernels::active().name}};
    if (!options.json)
        std::printf("threads %d, kernels %s, medians of %d rounds: ms (share of read bandwidth)\n",
                    pool.workers(), kernels::active().name, options.rounds);
    for (const Shape& shape : shapes) {
        if (!options.json) std::printf("\n%s\n", shape.name().c_str());
        for (const std::string& codec : codecs) {
            Decode accurate(shape, codec, Compute::accurate, pool);
            Decode fast(shape, codec, Compute::fast, pool);
            Samples bandwidth, exact, quick;
            for (int round = 0; round <= options.rounds; ++round) {
                const double limit = read.run();
                const double a = accurate.run();
                const double f = fast.run();
                if (round == 0) continue;  // touches everything once
                bandwidth.add(limit);
                exact.add(a);
                quick.add(f);
            }
            const auto share = [&](const Samples& s) {
                return accurate.bytes() / s.median() / bandwidth.median();
            };
            result["items"].push_back({{"shape", shape.name()},
                                       {"codec", codec},
                                       {"bytes", accurate.bytes()},
                                       {"read_bandwidth", bandwidth.median()},
                                       {"accurate_seconds", exact.median()},
                                       {"accurate_share", share(exact)},
                                       {"fast_seconds", quick.median()},
                                       {"fast_share", share(quick)}});
            if (!options.json)
                std::printf(
                    "  %-9s accurate %7.3f (%3.0f %%)   fast %7.3f (%3.0f %%)   %5.1f GB/s read\n",
                    codec.c_str(), exact.median() * 1e3, 100 * share(exact), quick.median() * 1e3,
                    100 * share(quick), bandwidth.median() / 1e9);
        }
    }
    if (options.json) std::printf("%s\n", result.dump(2).c_str());
}
