// One decoding step of a latent attention layer at V2-Lite's shape, behind a context: absorbed over
// latent rows, direct with keys and values rebuilt of latent rows, and direct over a cache of keys
// and values. Prints a table, or JSON with --json.
#include <cstdio>
#include <string>
#include <vector>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/layers/latent_attention.hpp>
#include <cairn/numeric/random.hpp>
#include <nlohmann/json.hpp>

#include "run_options.hpp"
#include "timer.hpp"

using namespace cairn;
using bench::Samples;
using bench::timed;

namespace {

constexpr int width = 2048;
constexpr LatentShape shape{16, 128, 64, 128, 512};

Linear random_linear(Random& random, int out, int in) {
    RowMatrix m(out, in);
    const double deviation = 1.0 / std::sqrt(static_cast<double>(in));
    for (Eigen::Index i = 0; i < m.size(); ++i)
        m.data()[i] = static_cast<float>(random.normal() * deviation);
    return Linear(WeightMatrix::from(m, ElementType::f16));
}
template <class Form>
LatentAttention<Form> layer() {
    constexpr bool absorbed = std::is_same_v<Form, Absorbed>;
    Random random(1);
    LatentWeights w;
    const int query = shape.plain_dim + shape.rotated_dim;
    w.query = random_linear(random, shape.heads * query, width);
    w.latent = random_linear(random, shape.latent_dim + shape.rotated_dim, width);
    w.latent_norm =
        RmsNorm(std::vector<float>(static_cast<std::size_t>(shape.latent_dim), 1.0F), 1e-6F);
    for (int h = 0; h < shape.heads; ++h) {
        w.key_up.push_back(absorbed ? random_linear(random, shape.latent_dim, shape.plain_dim)
                                    : random_linear(random, shape.plain_dim, shape.latent_dim));
        w.value_up.push_back(random_linear(random, shape.value_dim, shape.latent_dim));
    }
    w.out = random_linear(random, width, shape.heads * shape.value_dim);
    return {shape, std::move(w),
            RotaryInterleaved(RotarySettings{shape.rotated_dim, 10000.0, 1 << 17, {}, {}})};
}

// A layer with a cache that holds a context.
template <class Form>
class Step {
  public:
    Step(const std::string& cache, int rows, ThreadPool& pool)
        : layer_(layer<Form>()),
          cache_(CacheSpec::parse("contiguous:" + cache).make(layer_.layout(), rows + 1)),
          context_(pool) {
        Random random(2);
        for (int at = 0; at < rows;) {
            const int n = std::min(256, rows - at);
            RowMatrix x(n, width);
            for (Eigen::Index i = 0; i < x.size(); ++i)
                x.data()[i] = static_cast<float>(random.normal());
            y_.resize(n, width);
            run(x, at);
            cache_.commit(n);
            at += n;
        }
        x_ = RowMatrix::Constant(1, width, 0.5F);
        y_.resize(1, width);
    }
    /// Seconds of one row, which is not kept.
    double run() {
        const double seconds = timed([&] { run(x_, cache_.committed()); });
        cache_.rollback();
        return seconds;
    }
    double row_bytes() const { return static_cast<double>(cache_.payload_bytes(1)); }

  private:
    void run(RowMatrix& x, int position) {
        const BatchSlice slice{cache_, 0, static_cast<int>(x.rows()), position};
        layer_.forward({x.data(), width, x.rows()}, std::span(&slice, 1),
                       {y_.data(), width, y_.rows()}, context_);
    }
    LatentAttention<Form> layer_;
    AnyCache cache_;
    Context context_;
    RowMatrix x_, y_;
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "One decoding step of latent attention, absorbed and direct.\n\nExamples:\n"
        "  latent_attention --rows 4096 --rounds 5"};
    bench::RunOptions options;
    int rows = 4096;
    options.add_to(app);
    app.add_option("--rows", rows, "Tokens in the cache")->check(CLI::Range(1, 1 << 16));
    CLI11_PARSE(app, argc, argv);

    ThreadPool pool(options.threads);
    Step<Absorbed> absorbed("f16+latent", rows, pool);
    Step<Direct> rebuilt("f16+inputs", rows, pool);
    Step<Direct> stored("f16", rows, pool);
    Samples a, r, s;
    for (int round = 0; round <= options.rounds; ++round) {
        const double times[] = {absorbed.run(), rebuilt.run(), stored.run()};
        if (round == 0) continue;  // touches everything once
        a.add(times[0]);
        r.add(times[1]);
        s.add(times[2]);
    }
    const nlohmann::json result = {
        {"threads", pool.workers()},
        {"isa", kernels::active().name},
        {"rows", rows},
        {"absorbed", {{"seconds", a.median()}, {"row_bytes", absorbed.row_bytes()}}},
        {"rebuilt", {{"seconds", r.median()}, {"row_bytes", rebuilt.row_bytes()}}},
        {"stored", {{"seconds", s.median()}, {"row_bytes", stored.row_bytes()}}}};
    if (options.json) {
        std::printf("%s\n", result.dump(2).c_str());
        return 0;
    }
    std::printf("%d rows, threads %d, kernels %s, medians of %d rounds\n", rows, pool.workers(),
                kernels::active().name, options.rounds);
    std::printf("  absorbed, latent rows       %8.2f ms  %6.0f bytes a token\n", a.median() * 1e3,
                absorbed.row_bytes());
    std::printf("  direct, rebuilt of latents  %8.2f ms  %6.0f bytes a token  (%.1f times)\n",
                r.median() * 1e3, rebuilt.row_bytes(), r.median() / a.median());
    std::printf("  direct, keys and values     %8.2f ms  %6.0f bytes a token  (%.1f times)\n",
                s.median() * 1e3, stored.row_bytes(), s.median() / a.median());
}
