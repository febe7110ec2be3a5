// What this machine can do at most, measured in the same run as everything else: reading memory,
// fused multiply-adds, and multiply-adds of bytes. Reading is the best of several ways, the others
// touch registers only, so that the shares we print are not flattered.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

#include <cairn/core/context.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/kernels/dispatch.hpp>

#include "timer.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bench {

/// Reads a buffer far larger than the caches with all threads.
class ReadProbe {
  public:
    explicit ReadProbe(cairn::ThreadPool& pool)
        : pool_(pool), memory_(bytes, cairn::Mapping::Pages::huge) {
        for (std::size_t i = 0; i < bytes; i += 64) memory_.data()[i] = std::byte{1};
    }
    /// Bytes a second: the best of one, two and four streams a thread.
    double run() {
        double best = 0.0;
        for (const int streams : {1, 2, 4})
            best = std::max(best, bytes / timed([&] { read(streams); }));
        return best;
    }

  private:
    static constexpr std::size_t bytes = std::size_t{384} << 20;
#if defined(__x86_64__)
    __attribute__((target("avx2"))) static long read_part(const std::byte* from, std::size_t count,
                                                          int streams) {
        const std::size_t part = count / static_cast<std::size_t>(streams);
        __m256i sum[4] = {};
        for (std::size_t i = 0; i < part; i += 64)
            for (int s = 0; s < streams; ++s) {
                const auto* at =
                    reinterpret_cast<const __m256i*>(from + static_cast<std::size_t>(s) * part + i);
                sum[s] = _mm256_xor_si256(
                    sum[s], _mm256_xor_si256(_mm256_load_si256(at), _mm256_load_si256(at + 1)));
            }
        return _mm256_extract_epi64(
            _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3])),
            0);
    }
#else
    static long read_part(const std::byte* from, std::size_t count, int streams) {
        const std::size_t part = count / static_cast<std::size_t>(streams);
        long sum = 0;
        for (std::size_t i = 0; i < part; i += 8)
            for (int s = 0; s < streams; ++s)
                sum ^=
                    *reinterpret_cast<const long*>(from + static_cast<std::size_t>(s) * part + i);
        return sum;
    }
#endif
    void read(int streams) {
        const int workers = pool_.workers();
        const std::size_t part = bytes / static_cast<std::size_t>(workers) / 1024 * 1024;
        auto task = [&](int i, int) {
            volatile long sink =
                read_part(memory_.data() + static_cast<std::size_t>(i) * part, part, streams);
            (void)sink;
        };
        pool_.run(workers, task);
    }
    cairn::ThreadPool& pool_;
    cairn::Mapping memory_;
};

/// Multiply-adds in registers only, on all threads: floating-point operations a second, two for an
/// fma.
class FmaProbe {
  public:
    explicit FmaProbe(cairn::ThreadPool& pool) : pool_(pool) {}
    double run() {
        const int workers = pool_.workers();
        constexpr long rounds = 4'000'000;
        auto task = [&](int, int) {
            volatile float sink = loop(rounds);
            (void)sink;
        };
        const double seconds = timed([&] { pool_.run(workers, task); });
        return static_cast<double>(rounds) * 12 * width() * 2 * workers / seconds;
    }

  private:
#if defined(__x86_64__)
    static bool wide() { return __builtin_cpu_supports("avx512f"); }
    static int width() { return wide() ? 16 : 8; }
    __attribute__((target("avx512f"))) static float loop512(long rounds) {
        __m512 a[12];
        for (int i = 0; i < 12; ++i) a[i] = _mm512_set1_ps(static_cast<float>(i));
        __m512 b = _mm512_set1_ps(0.999F), c = _mm512_set1_ps(0.001F);
        asm volatile("" : "+v"(b), "+v"(c));
        for (long r = 0; r < rounds; ++r)
            for (int i = 0; i < 12; ++i) a[i] = _mm512_fmadd_ps(a[i], b, c);
        __m512 sum = a[0];
        for (int i = 1; i < 12; ++i) sum = _mm512_add_ps(sum, a[i]);
        return _mm512_cvtss_f32(sum);
    }
    __attribute__((target("avx2,fma"))) static float loop256(long rounds) {
        __m256 a[12];
        for (int i = 0; i < 12; ++i) a[i] = _mm256_set1_ps(static_cast<float>(i));
        __m256 b = _mm256_set1_ps(0.999F), c = _mm256_set1_ps(0.001F);
        asm volatile("" : "+x"(b), "+x"(c));
        for (long r = 0; r < rounds; ++r)
            for (int i = 0; i < 12; ++i) a[i] = _mm256_fmadd_ps(a[i], b, c);
        __m256 sum = a[0];
        for (int i = 1; i < 12; ++i) sum = _mm256_add_ps(sum, a[i]);
        return _mm256_cvtss_f32(sum);
    }
    static float loop(long rounds) { return wide() ? loop512(rounds) : loop256(rounds); }
#else
    static int width() { return 4; }
    static float loop(long rounds) {
        typedef float v4 __attribute__((vector_size(16)));
        v4 a[12], b = {0.999F, 0.999F, 0.999F, 0.999F}, c = {0.001F, 0.001F, 0.001F, 0.001F};
        for (int i = 0; i < 12; ++i) a[i] = v4{} + static_cast<float>(i);
        for (long r = 0; r < rounds; ++r)
            for (int i = 0; i < 12; ++i) a[i] = a[i] * b + c;
        for (int i = 1; i < 12; ++i) a[0] += a[i];
        return a[0][0];
    }
#endif
    cairn::ThreadPool& pool_;
};

/// Products of bytes added up in registers only, on all threads, with the instructions of the
/// kernels in use: integer operations a second, two for a multiply-add. 0 where there is no such
/// loop for the instruction set.
class Int8Probe {
  public:
    explicit Int8Probe(cairn::ThreadPool& pool) : pool_(pool) {}
    double run() {
        const int workers = pool_.workers();
        constexpr long rounds = 4'000'000;
        const std::string_view isa = cairn::kernels::active().name;
        const Loop loop = loop_of(isa);
        if (loop.body == nullptr) return 0.0;
        auto task = [&](int, int) {
            volatile int sink = loop.body(rounds);
            (void)sink;
        };
        const double seconds = timed([&] { pool_.run(workers, task); });
        return static_cast<double>(rounds) * 12 * loop.bytes * 2 * workers / seconds;
    }

  private:
    struct Loop {
        int (*body)(long rounds);
        int bytes;  // multiplied by one step
    };
#if defined(__x86_64__)
    static Loop loop_of(std::string_view isa) {
        if (isa == "avx512vnni" || isa == "avx512bf16") return {vnni, 64};
        if (isa == "avx512") return {pairs512, 64};
        if (isa == "avxvnni") return {vnni256, 32};
        return isa == "avx2" ? Loop{pairs256, 32} : Loop{nullptr, 0};
    }
// One chain of twelve accumulators; the empty asm keeps each in its register.
#define CAIRN_BENCH_CHAIN(vector, set, step)                                                  \
    vector a[12];                                                                             \
    _Pragma("GCC unroll 12") for (int i = 0; i < 12; ++i) a[i] = set(static_cast<char>(i));   \
    vector b = set(3), c = set(5);                                                            \
    asm volatile("" : "+v"(b), "+v"(c));                                                      \
    for (long r = 0; r < rounds; ++r) _Pragma("GCC unroll 12") for (int i = 0; i < 12; ++i) { \
            a[i] = step;                                                                      \
            asm("" : "+v"(a[i]));                                                             \
        }                                                                                     \
    _Pragma("GCC unroll 12") for (int i = 1; i < 12; ++i) a[0] ^= a[i];                       \
    return static_cast<int>(a[0][0])
    __attribute__((target("avx512f,avx512vnni"))) static int vnni(long rounds) {
        CAIRN_BENCH_CHAIN(__m512i, _mm512_set1_epi8, _mm512_dpbusd_epi32(a[i], b, c));
    }
    __attribute__((target("avx2,avxvnni"))) static int vnni256(long rounds) {
        CAIRN_BENCH_CHAIN(__m256i, _mm256_set1_epi8, _mm256_dpbusd_avx_epi32(a[i], b, c));
    }
    __attribute__((target("avx512f,avx512bw"))) static int pairs512(long rounds) {
        CAIRN_BENCH_CHAIN(__m512i, _mm512_set1_epi8,
                          _mm512_add_epi16(a[i], _mm512_maddubs_epi16(a[i], c)));
    }
    __attribute__((target("avx2"))) static int pairs256(long rounds) {
        CAIRN_BENCH_CHAIN(__m256i, _mm256_set1_epi8,
                          _mm256_add_epi16(a[i], _mm256_maddubs_epi16(a[i], c)));
    }
#undef CAIRN_BENCH_CHAIN
#else
    static Loop loop_of(std::string_view) { return {nullptr, 0}; }
#endif
    cairn::ThreadPool& pool_;
};

}  // namespace bench
