// The kernels one by one, for profiling: Google Benchmark's flags apply (--benchmark_filter=gemm
// ...).
#include <benchmark/benchmark.h>
#include <cairn/cairn.hpp>

using namespace cairn;

namespace {

void product(benchmark::State& state) {
    const auto rows = state.range(0), out = state.range(1), in = state.range(2);
    const auto type = static_cast<ElementType>(state.range(3));
    const WeightMatrix w(out, in, type);
    std::vector<float> x(static_cast<std::size_t>(rows * in), 0.5F),
        y(static_cast<std::size_t>(rows * out));
    ThreadPool pool(static_cast<int>(state.range(4)));
    Context context(pool);
    for (auto _ : state) multiply(w, nullptr, {x.data(), in, rows}, {y.data(), out, rows}, context);
    state.counters["flops"] = benchmark::Counter(2.0 * static_cast<double>(rows * out * in),
                                                 benchmark::Counter::kIsIterationInvariantRate);
    state.counters["bytes"] = benchmark::Counter(static_cast<double>(w.bytes()),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(product)
    ->ArgNames({"rows", "out", "in", "type", "threads"})
    ->ArgsProduct({{1, 2, 3, 8, 64, 256}, {3072}, {768}, {0, 1, 2}, {1, 2}})
    ->UseRealTime();

template <class Codec>
void attention(benchmark::State& state) {
    const auto group = static_cast<int>(state.range(0)), rows = static_cast<int>(state.range(1));
    const HeadLayout layout{4 * group, 4, 64, 64};
    constexpr int positions = 2048;
    KvCache<Contiguous<Codec>> cache(layout, positions);
    std::vector<float> k(static_cast<std::size_t>(positions) * 256, 0.1F),
        q(static_cast<std::size_t>(rows) * static_cast<std::size_t>(layout.heads) * 64, 0.1F),
        out(q.size());
    cache.append({k.data(), 256, positions}, {k.data(), 256, positions});
    Context context;
    for (auto _ : state)
        attend(cache, {q.data(), layout.heads * 64, rows, positions - rows}, {.scale = 0.125F},
               layout.heads, out.data(), layout.heads * 64, context);
    state.counters["bytes"] =
        benchmark::Counter(static_cast<double>(cache.payload_bytes(positions)),
                           benchmark::Counter::kIsIterationInvariantRate);
    state.counters["flops"] = benchmark::Counter(4.0 * 64 * layout.heads * rows * positions,
                                                 benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(attention<F32>)->ArgNames({"group", "rows"})->ArgsProduct({{1, 4}, {1, 128}});
BENCHMARK(attention<F16>)->ArgNames({"group", "rows"})->ArgsProduct({{1, 4}, {1, 128}});

void row_function(benchmark::State& state) {
    const kernels::Table& t = kernels::active();
    using kernels::Table;
    auto function = state.range(0) == 0 ? &Table::gelu_tanh
                                        : (state.range(0) == 1 ? &Table::silu : &Table::exp);
    std::vector<float> x(3072, 0.3F);
    for (auto _ : state) (t.*function)(x.data(), 3072);
    state.SetItemsProcessed(state.iterations() * 3072);
}
BENCHMARK(row_function)->ArgName("gelu_silu_exp")->DenseRange(0, 2);

}  // namespace

BENCHMARK_MAIN();
