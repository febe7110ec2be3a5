// Decoding and prefill against the machine's own limits, everything interleaved in rounds of one
// run. Prints a table, or JSON with --json.
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <map>
#include <string>

#include <cairn/cairn.hpp>
#include <nlohmann/json.hpp>

#include "gpt2_shape.hpp"
#include "limits.hpp"
#include "run_options.hpp"

using namespace cairn;
using bench::Samples;
using bench::timed;

namespace {

// Attention of one new token over `positions` rows in `layers` f16 caches, cycled so that nothing
// stays in a processor cache. Returns bytes of keys and values read a second.
class AttentionDecode {
  public:
    AttentionDecode(int kv_heads, int group, int layers, ThreadPool& pool)
        : layout_{kv_heads * group, kv_heads, 64, 64},
          context_(pool),
          out_(static_cast<std::size_t>(layout_.heads) * 64) {
        Random random(1);
        std::vector<float> rows(static_cast<std::size_t>(256 * kv_heads * 64));
        for (float& x : rows) x = static_cast<float>(random.uniform() - 0.5);
        for (int i = 0; i < layers; ++i) {
            caches_.emplace_back(layout_, positions);
            for (int r = 0; r < positions; r += 256)
                caches_.back().append({rows.data(), kv_heads * 64, 256},
                                      {rows.data(), kv_heads * 64, 256});
        }
        q_.assign(out_.size(), 0.1F);
    }
    double run() {
        const double seconds = timed([&] {
            for (auto& cache : caches_)
                attend(cache, {q_.data(), static_cast<std::ptrdiff_t>(q_.size()), 1, positions - 1},
                       {.scale = 0.125F}, layout_.heads, out_.data(),
                       static_cast<std::ptrdiff_t>(out_.size()), context_);
        });
        return static_cast<double>(caches_.size()) *
               static_cast<double>(caches_[0].payload_bytes(positions)) / seconds;
    }

  private:
    static constexpr int positions = 4096;
    HeadLayout layout_;
    Context context_;
    std::vector<KvCache<Contiguous<F16>>> caches_;
    std::vector<float> q_, out_;
};

// The matrix products of one prefill of 256 rows: flops a second.
class Products {
  public:
    Products(const Gpt2& model, ThreadPool& pool) : context_(pool) {
        const int d = model.width();
        for (const auto& [out, in] : {std::pair{3 * d, d}, {d, d}, {4 * d, d}, {d, 4 * d}}) {
            matrices_.emplace_back(out, in, ElementType::f32);
            std::vector<float> row(static_cast<std::size_t>(in), 0.01F);
            for (int n = 0; n < out; ++n) matrices_.back().put(n, 0, 1, in, row.data(), in, 1);
        }
        x_.assign(static_cast<std::size_t>(rows * 4 * d), 0.5F);
        y_.assign(static_cast<std::size_t>(rows * 4 * d), 0.0F);
    }
    double run() {
        double flops = 0.0;
        const double seconds = timed([&] {
            for (int repeat = 0; repeat < 3; ++repeat)
                for (const WeightMatrix& w : matrices_) {
                    multiply(w, nullptr, {x_.data(), w.in(), rows}, {y_.data(), w.out(), rows},
                             context_);
                    flops +=
                        2.0 * rows * static_cast<double>(w.in()) * static_cast<double>(w.out());
                }
        });
        return flops / seconds;
    }

  private:
    static constexpr int rows = 256;
    Context context_;
    std::vector<WeightMatrix> matrices_;
    std::vector<float> x_, y_;
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Decoding and prefill against this machine's read bandwidth and FMA peak.\n\nExamples:\n  "
        "machine --rounds 9\n  machine --json > machine.json"};
    bench::RunOptions options;
    options.add_to(app);
    CLI11_PARSE(app, argc, argv);

    ThreadPool pool(options.threads);
    bench::ReadProbe read(pool);
    bench::FmaProbe fma(pool);
    bench::Int8Probe int8(pool);
    const Gpt2 f32 = random_gpt2(bench::gpt2_124m(), 1, ElementType::f32);
    const Gpt2 f16 = random_gpt2(bench::gpt2_124m(), 1, ElementType::f16);
    Products products(f32, pool);
    AttentionDecode single(12, 1, 12, pool), grouped(12, 4, 12, pool);
    std::vector<Token> prompt(256);
    for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<Token>(i * 97 % 50257);

    auto f32_session = f32.session<KvCache<Contiguous<F16>>>(1024, pool);
    auto f16_session = f16.session<KvCache<Contiguous<F16>>>(1024, pool);
    const auto prefill = [&](auto& session) {
        session.clear();
        return bench::forward_flops(session.model(), 256) / timed([&] { session.prefill(prompt); });
    };
    const auto decode = [&](auto& session) {  // weight bytes a second, at position 32..44
        session.clear();
        session.prefill(Tokens(prompt).first(32));
        constexpr int count = 12;
        return count * static_cast<double>(session.model().decode_bytes()) / timed([&] {
                   for (int i = 0; i < count; ++i)
                       session.decode(prompt[static_cast<std::size_t>(i)]);
               });
    };
    struct Item {
        const char* name;
        const char* limit;
        double bar;
        std::function<double()> run;
    };
    const Item items[] = {
        {"decode GPT-2 124M f32, weights read", "read", 0.80, [&] { return decode(f32_session); }},
        {"decode GPT-2 124M f16, weights read", "read", 0.0, [&] { return decode(f16_session); }},
        {"attention decode, f16 cache of 4096, 1 query head a KV head", "read", 0.60,
         [&] { return single.run(); }},
        {"attention decode, f16 cache of 4096, 4 query heads a KV head", "read", 0.50,
         [&] { return grouped.run(); }},
        {"matrix products of 256 rows, f32", "fma", 0.70, [&] { return products.run(); }},
        {"whole prefill of 256 rows, f32", "fma", 0.60, [&] { return prefill(f32_session); }},
        {"whole prefill of 256 rows, f16 weights", "fma", 0.0,
         [&] { return prefill(f16_session); }},
    };
    std::map<std::string, Samples> absolute, share;
    Samples bandwidth, peak, int8_peak;
    for (int round = 0; round < options.rounds; ++round) {
        int8_peak.add(int8.run());
        for (const Item& item : items) {
            const bool reads = std::string(item.limit) == "read";
            const double limit =
                reads ? read.run() : fma.run();  // beside the thing it is compared to
            (reads ? bandwidth : peak).add(limit);
            absolute[item.name].add(item.run());
        }
        if (::isatty(2) != 0) std::fprintf(stderr, "\rround %d of %d", round + 1, options.rounds);
    }
    if (::isatty(2) != 0) std::fprintf(stderr, "\r\033[K");
    nlohmann::json result;
    result["threads"] = pool.workers();
    result["isa"] = kernels::active().name;
    result["read_bandwidth"] = bandwidth.median();
    result["fma_peak"] = peak.median();
    result["int8_peak"] = int8_peak.median();
    if (!options.json) {
        std::printf("threads %d, kernels %s, medians of %d rounds (least..most)\n", pool.workers(),
                    kernels::active().name, options.rounds);
        std::printf("read bandwidth %26.1f GB/s  (%.1f..%.1f)\n", bandwidth.median() / 1e9,
                    bandwidth.least() / 1e9, bandwidth.most() / 1e9);
        std::printf("FMA peak       %26.1f GFLOP/s  (%.1f..%.1f)\n", peak.median() / 1e9,
                    peak.least() / 1e9, peak.most() / 1e9);
        std::printf("int8 peak      %26.1f GOP/s  (%.1f..%.1f)\n\n", int8_peak.median() / 1e9,
                    int8_peak.least() / 1e9, int8_peak.most() / 1e9);
    }
    for (const Item& item : items) {
        const bool reads = std::string(item.limit) == "read";
        const Samples& s = absolute[item.name];
        const double part = s.median() / (reads ? bandwidth : peak).median();
        result["items"].push_back({{"name", item.name},
                                   {"limit", item.limit},
                                   {"median", s.median()},
                                   {"least", s.least()},
                                   {"most", s.most()},
                                   {"share", part},
                                   {"bar", item.bar}});
        if (!options.json)
            std::printf(
                "%-62s %7.1f %s (%.1f..%.1f)  %3.0f %% of the limit%s\n", item.name,
                s.median() / 1e9, reads ? "GB/s   " : "GFLOP/s", s.least() / 1e9, s.most() / 1e9,
                100 * part,
                item.bar > 0 ? (part >= item.bar ? "  (bar reached)" : "  (BELOW THE BAR)") : "");
    }
    if (options.json) std::printf("%s\n", result.dump(2).c_str());
}
