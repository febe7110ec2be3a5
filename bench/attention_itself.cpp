// Attention by itself against what it is measured by elsewhere: prefill against the materialised
// product, softmax, product of Eigen (time and extra memory), decoding on all threads against one,
// and query heads over fewer and fewer KV heads. Prints a table, or JSON with --json.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

#include <cairn/attention/attention.hpp>
#include <cairn/cache/kv_cache.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/numeric/random.hpp>
#include <malloc.h>
#include <nlohmann/json.hpp>

#include "run_options.hpp"
#include "timer.hpp"

namespace {

// Bytes that operator new and mmap gave and did not get back, and the most of them at once.
std::atomic<long> live_bytes{0};
std::atomic<long> peak_bytes{0};
void count(long bytes) {
    const long now = live_bytes += bytes;
    long peak = peak_bytes;
    while (now > peak && !peak_bytes.compare_exchange_weak(peak, now)) {
    }
}
void* counted(std::size_t size, std::size_t alignment) {
    void* memory = std::aligned_alloc(alignment, (size + alignment) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    count(static_cast<long>(malloc_usable_size(memory)));
    return memory;
}
void uncounted(void* memory) noexcept {
    if (memory != nullptr) count(-static_cast<long>(malloc_usable_size(memory)));
    std::free(memory);
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) { return counted(size, 16); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
    return counted(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { uncounted(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { uncounted(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
    uncounted(memory);
}
extern "C" void* mmap(void* at, size_t size, int protection, int flags, int file,
                      off_t offset) noexcept {
    count(static_cast<long>(size));
    return reinterpret_cast<void*>(::syscall(SYS_mmap, at, size, protection, flags, file, offset));
}
extern "C" int munmap(void* at, size_t size) noexcept {
    count(-static_cast<long>(size));
    return static_cast<int>(::syscall(SYS_munmap, at, size));
}

using namespace cairn;
using bench::Samples;
using bench::timed;

namespace {

// The most bytes that `body` has at once beyond what was there before.
template <class Body>
double extra_bytes(Body&& body) {
    const long before = live_bytes;
    peak_bytes = before;
    body();
    return static_cast<double>(peak_bytes - before);
}

RowMatrix random_rows(Random& random, int rows, int columns) {
    RowMatrix m(rows, columns);
    for (Eigen::Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(random.normal());
    return m;
}

// One layer's prefill.
class Prefill {
    using Part = Eigen::Block<const RowMatrix, Eigen::Dynamic, Eigen::Dynamic>;

  public:
    Prefill(const HeadLayout& layout, int rows, ThreadPool& pool)
        : layout_(layout),
          rows_(rows),
          pool_(pool),
          context_(pool),
          cache_(layout, rows),
          scores_(static_cast<std::size_t>(pool.workers())) {
        Random random(3);
        q_ = random_rows(random, rows, layout.heads * layout.key_dim);
        k_ = random_rows(random, rows, layout.kv_heads * layout.key_dim);
        v_ = random_rows(random, rows, layout.kv_heads * layout.value_dim);
        out_.resize(rows, layout.heads * layout.value_dim);
        cache_.append(token_rows(k_), token_rows(v_));
    }
    /// The library's: over rows that are in the cache.
    void attend_cached() {
        attend(cache_, {q_.data(), q_.cols(), rows_, 0}, {.scale = scale()}, layout_.heads,
               out_.data(), out_.cols(), context_);
    }
    /// The textbook's: all scores of a head at once, masked, softmax by rows, times the values;
    /// heads on all threads, each of which keeps its matrix for the next head.
    void materialise() {
        auto task = [&](int h, int worker) {
            RowMatrix& scores = scores_[static_cast<std::size_t>(worker)];
            scores.resize(rows_, rows_);
            scores.noalias() = scale() * head(q_, h, layout_.key_dim) * key(h).transpose();
            for (int r = 0; r < rows_; ++r) soften(scores.row(r), r);
            wanted(h).noalias() = scores * value(h);
        };
        pool_.run(layout_.heads, task);
    }
    /// The same with rows in blocks that end where the mask does.
    void materialise_blocks(int block) {
        auto task = [&](int h, int worker) {
            RowMatrix& all = scores_[static_cast<std::size_t>(worker)];
            for (int r = 0; r < rows_; r += block) {
                const int end = std::min(r + block, rows_);
                auto scores = all.block(0, 0, end - r, end);
                scores.noalias() = scale() * head(q_, h, layout_.key_dim).middleRows(r, end - r) *
                                   key(h).topRows(end).transpose();
                for (int i = r; i < end; ++i) soften(scores.row(i - r), i);
                wanted(h).middleRows(r, end - r).noalias() = scores * value(h).topRows(end);
            }
        };
        pool_.run(layout_.heads, task);
    }
    /// What these matrices take.
    double materialised_bytes() const {
        double sum = 0.0;
        for (const RowMatrix& scores : scores_)
            sum += static_cast<double>(scores.size()) * sizeof(float);
        return sum;
    }
    void keep_wanted() { expected_ = out_; }
    double difference() const { return (out_ - expected_).cwiseAbs().maxCoeff(); }

  private:
    float scale() const { return 1.0F / std::sqrt(static_cast<float>(layout_.key_dim)); }
    static Part head(const RowMatrix& m, int h, int dims) {
        return m.block(0, h * dims, m.rows(), dims);
    }
    Part key(int h) const { return head(k_, h / layout_.group(), layout_.key_dim); }
    Part value(int h) const { return head(v_, h / layout_.group(), layout_.value_dim); }
    Eigen::Block<RowMatrix, Eigen::Dynamic, Eigen::Dynamic> wanted(int h) {
        return out_.block(0, h * layout_.value_dim, rows_, layout_.value_dim);
    }
    // Softmax of what row `r` sees.
    template <class Row>
    static void soften(Row&& row, int r) {
        auto seen = row.head(r + 1);
        seen = (seen.array() - seen.maxCoeff()).exp().matrix();
        seen /= seen.sum();
        row.tail(row.size() - r - 1).setZero();
    }
    HeadLayout layout_;
    int rows_;
    ThreadPool& pool_;
    Context context_;
    KvCache<Contiguous<F32>> cache_;
    RowMatrix q_, k_, v_, out_, expected_;
    std::vector<RowMatrix> scores_;  // of each worker
};

// One decoding row over so many layers that nothing stays in a processor cache.
template <class Codec>
class Decode {
  public:
    Decode(const HeadLayout& layout, int rows, int layers) : layout_(layout), rows_(rows) {
        Random random(5);
        const RowMatrix some = random_rows(random, 256, layout.kv_heads * layout.key_dim);
        for (int i = 0; i < layers; ++i) {
            caches_.emplace_back(layout, rows);
            for (int r = 0; r < rows; r += 256)
                caches_.back().append(token_rows(some), token_rows(some));
        }
        q_ = random_rows(random, 1, layout.heads * layout.key_dim);
        out_.resize(1, layout.heads * layout.value_dim);
    }
    /// Seconds a layer.
    double run(Context& context) {
        return timed([&] {
                   for (auto& cache : caches_)
                       attend(cache, {q_.data(), q_.cols(), 1, rows_ - 1}, {.scale = 0.1F},
                              layout_.heads, out_.data(), out_.cols(), context);
               }) /
               static_cast<double>(caches_.size());
    }
    double bytes() const { return static_cast<double>(caches_[0].payload_bytes(rows_)); }

  private:
    HeadLayout layout_;
    int rows_;
    std::vector<KvCache<Contiguous<Codec>>> caches_;
    RowMatrix q_, out_;
};

std::string shape_name(const HeadLayout& l, int rows) {
    return std::to_string(l.heads) + "/" + std::to_string(l.kv_heads) + " x " +
           std::to_string(l.key_dim) + ", " + std::to_string(rows) + " rows";
}

void measure_prefill(const bench::RunOptions& options, ThreadPool& pool, nlohmann::json& result) {
    const int rows = 4096;
    for (const HeadLayout& layout : {HeadLayout{9, 3, 64, 64}, HeadLayout{8, 2, 128, 128}}) {
        Prefill prefill(layout, rows, pool);
        Samples ours, theirs, blocks;
        prefill.materialise();
        prefill.keep_wanted();
        const double their_bytes = prefill.materialised_bytes();
        const double our_bytes = extra_bytes([&] { prefill.attend_cached(); });
        const double apart = prefill.difference();
        for (int round = 0; round < options.rounds; ++round) {
            ours.add(timed([&] { prefill.attend_cached(); }));
            theirs.add(timed([&] { prefill.materialise(); }));
            blocks.add(timed([&] { prefill.materialise_blocks(256); }));
        }
        result["prefill"].push_back({{"shape", shape_name(layout, rows)},
                                     {"seconds", ours.median()},
                                     {"materialised_seconds", theirs.median()},
                                     {"materialised_blocks_seconds", blocks.median()},
                                     {"extra_bytes", our_bytes},
                                     {"materialised_extra_bytes", their_bytes},
                                     {"largest_difference", apart}});
        if (!options.json)
            std::printf(
                "prefill %s: %.1f ms; Eigen, all scores of a head: %.1f ms (%.2fx); in blocks of "
                "256 rows up to the mask: %.1f ms (%.2fx)\n  extra memory %.2f MB against %.1f MB "
                "(%.2f %%); largest difference %.1e\n",
                shape_name(layout, rows).c_str(), ours.median() * 1e3, theirs.median() * 1e3,
                theirs.median() / ours.median(), blocks.median() * 1e3,
                blocks.median() / ours.median(), our_bytes / 1e6, their_bytes / 1e6,
                100 * our_bytes / their_bytes, apart);
    }
}

template <class Codec>
void measure_threads(const char* codec, const HeadLayout& layout, int layers,
                     const bench::RunOptions& options, ThreadPool& pool, nlohmann::json& result) {
    const int rows = 16384;
    ThreadPool single(1);
    Context one(single);
    Context all(pool);
    Decode<Codec> decode(layout, rows, layers);
    Samples alone, together;
    for (int round = 0; round <= options.rounds; ++round) {
        const double a = decode.run(one);
        const double b = decode.run(all);
        if (round == 0) continue;  // touches everything once
        alone.add(a);
        together.add(b);
    }
    const double rate = decode.bytes() / together.median();
    result["decode"].push_back({{"shape", shape_name(layout, rows)},
                                {"codec", codec},
                                {"one_seconds", alone.median()},
                                {"all_seconds", together.median()},
                                {"bytes_a_second", rate}});
    if (!options.json)
        std::printf(
            "decode %s %s: one thread %.3f ms, %d threads %.3f ms a layer (%.2fx, %.1f GB/s)\n",
            shape_name(layout, rows).c_str(), codec, alone.median() * 1e3, pool.workers(),
            together.median() * 1e3, alone.median() / together.median(), rate / 1e9);
}

template <class Codec>
void measure_groups(const char* codec, const bench::RunOptions& options, ThreadPool& pool,
                    nlohmann::json& result) {
    const int rows = 8192;
    Context context(pool);
    std::vector<Decode<Codec>> shapes;
    const int kv_heads[] = {32, 8, 4, 1};
    for (const int kv : kv_heads) shapes.emplace_back(HeadLayout{32, kv, 128, 128}, rows, 32 / kv);
    Samples times[4];
    for (int round = 0; round <= options.rounds; ++round)
        for (std::size_t i = 0; i < 4; ++i) {
            const double t = shapes[i].run(context);
            if (round > 0) times[i].add(t);
        }
    for (std::size_t i = 0; i < 4; ++i) {
        const double fall = times[0].median() / times[i].median();
        const double group = 32.0 / kv_heads[i];
        result["groups"].push_back({{"kv_heads", kv_heads[i]},
                                    {"codec", codec},
                                    {"seconds", times[i].median()},
                                    {"fall", fall},
                                    {"of_group", fall / group}});
        if (!options.json)
            std::printf(
                "32 query heads over %2d KV heads, %d rows of %s: %.3f ms a layer, %.2fx "
                "(%.2f of the group's %.0f), %.1f GB/s\n",
                kv_heads[i], rows, codec, times[i].median() * 1e3, fall, fall / group, group,
                shapes[i].bytes() / times[i].median() / 1e9);
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{
        "Attention by itself: prefill against a materialised softmax, threads, groups.\n\n"
        "Examples:\n  attention_itself --rounds 5\n  attention_itself --only groups --json"};
    bench::RunOptions options;
    std::string only;
    options.add_to(app);
    app.add_option("--only", only, "prefill, threads or groups");
    CLI11_PARSE(app, argc, argv);

    ThreadPool pool(options.threads);
    nlohmann::json result = {{"threads", pool.workers()}, {"isa", kernels::active().name}};
    if (!options.json)
        std::printf("threads %d, kernels %s, medians of %d rounds in turns\n", pool.workers(),
                    kernels::active().name, options.rounds);
    if (only.empty() || only == "prefill") measure_prefill(options, pool, result);
    if (only.empty() || only == "threads") {
        measure_threads<F16>("f16", {32, 8, 128, 128}, 4, options, pool, result);
        measure_threads<F32>("f32", {32, 8, 128, 128}, 2, options, pool, result);
        measure_threads<F16>("f16", {9, 3, 64, 64}, 20, options, pool, result);
    }
    if (only.empty() || only == "groups") {
        measure_groups<F16>("f16", options, pool, result);
        measure_groups<F32>("f32", options, pool, result);
    }
    if (options.json) std::printf("%s\n", result.dump(2).c_str());
}
