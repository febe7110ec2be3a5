// The kernels of AVX-512 but for one: products of bf16 numbers, two fma an instruction.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/avx512/floats.hpp"

#include "cairn/kernels/avx512bf16/target.inl"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512bf16 {

using namespace avx512;

// Columns k and k + 1 of a panel: as many numbers as a pair of activations is multiplied with.
struct pair_t {
    brain_t bits[2];
};
struct Pairs {
    __m512i r;  // column k in the odd places: vdpbf16ps begins with those
};
CAIRN_INLINE Pairs load(const pair_t* x) {
    const __m512i places =
        _mm512_set_epi16(15, 31, 14, 30, 13, 29, 12, 28, 11, 27, 10, 26, 9, 25, 8, 24, 7, 23, 6, 22,
                         5, 21, 4, 20, 3, 19, 2, 18, 1, 17, 0, 16);
    return {_mm512_permutexvar_epi16(places, _mm512_loadu_si512(x))};
}
// fma(x[k + 1], w[k + 1], fma(x[k], w[k], sum)) with denormals taken for zeros. The pairs of
// activations lie in what looks like a float.
CAIRN_INLINE V fma(Pairs weights, V activations, V sum) {
    return {_mm512_dpbf16_ps(sum.r, reinterpret_cast<__m512bh>(weights.r),
                             reinterpret_cast<__m512bh>(activations.r))};
}

namespace pairs {

#include "cairn/kernels/body/linear.inl"
#include "cairn/kernels/body/tile_scores.inl"

// `count` numbers, at most 32, as 16 pairs with the first of each in the upper half; zeros behind.
CAIRN_INLINE __m512i pairs_of(const float* x, std::ptrdiff_t count) {
    const std::uint32_t there = count < 32 ? (1U << count) - 1U : ~0U;
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(there), x);
    const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(there >> 16U), x + 16);
    return _mm512_rol_epi32(reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)), 16);
}
CAIRN_INLINE void put_eight(float* to, __m256i x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), x);
}
// 16 pairs of eight rows -> [pair][row].
CAIRN_INLINE void put_tile(const __m512i* row, float* to) {
    __m512i half[2][4];  // of rows 4 h .. 4 h + 3: pair 4 l + i in lane l
    CAIRN_UNROLL
    for (int h = 0; h < 2; ++h) {
        const __m512i* r = row + 4 * h;
        const __m512i a = _mm512_unpacklo_epi32(r[0], r[1]), b = _mm512_unpacklo_epi32(r[2], r[3]);
        const __m512i c = _mm512_unpackhi_epi32(r[0], r[1]), d = _mm512_unpackhi_epi32(r[2], r[3]);
        half[h][0] = _mm512_unpacklo_epi64(a, b);
        half[h][1] = _mm512_unpackhi_epi64(a, b);
        half[h][2] = _mm512_unpacklo_epi64(c, d);
        half[h][3] = _mm512_unpackhi_epi64(c, d);
    }
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i, to += 8) {
        const __m512i first = _mm512_permutex2var_epi64(half[0][i], low, half[1][i]);
        const __m512i second = _mm512_permutex2var_epi64(half[0][i], high, half[1][i]);
        put_eight(to, _mm512_castsi512_si256(first));
        put_eight(to + 4 * 8, _mm512_extracti64x4_epi64(first, 1));
        put_eight(to + 8 * 8, _mm512_castsi512_si256(second));
        put_eight(to + 12 * 8, _mm512_extracti64x4_epi64(second, 1));
    }
}
static_assert(gemm_rows == 8);

// U times 32 dims of values, of the last 32 those in `last`, for Q queries: rows two by two, the
// first one in the odd places. What stands beside the last of an odd number of rows is -0 times 0,
// which changes no sum.
template <int Q, int U>
[[gnu::noinline]] void weigh_pairs(const RowsIn& v, __mmask32 last, const std::uint32_t* p,
                                   float* o, std::ptrdiff_t o_stride) {
    const __m512i low_places =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high_places = _mm512_add_epi16(low_places, _mm512_set1_epi16(16));
    __m512 sum[Q][2 * U];
    __mmask16 there[2 * U];
    CAIRN_UNROLL
    for (int u = 0; u < 2 * U; ++u)
        there[u] = static_cast<__mmask16>(u < 2 * U - 2 ? 0xFFFFU : last >> (u % 2 * 16));
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < 2 * U; ++u)
        sum[i][u] = _mm512_maskz_loadu_ps(there[u], o + i * o_stride + 16 * u);
    const std::ptrdiff_t ahead = way_ahead(v);
    const std::byte* beside = v.beside;
    const std::byte* until = beside;
    const std::byte* row = v.unit;
    for (int j = 0; j < v.count; j += 2, row += 2 * v.stride, ++p) {
        if (beside != nullptr)
            for (until += 2 * v.beside_bytes; beside < until; beside += line_bytes)
                fetch_line(beside);
        __m512i value[2 * U];
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) {
            fetch_line(row + ahead + 64 * u);
            fetch_line(row + v.stride + ahead + 64 * u);
            const __mmask32 mask = u < U - 1 ? ~__mmask32{0} : last;
            const __m512i first = _mm512_maskz_loadu_epi16(mask, row + 64 * u);
            const __m512i second = j + 1 < v.count
                                       ? _mm512_maskz_loadu_epi16(mask, row + v.stride + 64 * u)
                                       : _mm512_set1_epi16(static_cast<short>(0x8000));
            value[2 * u] = _mm512_permutex2var_epi16(second, low_places, first);
            value[2 * u + 1] = _mm512_permutex2var_epi16(second, high_places, first);
        }
        CAIRN_UNROLL
        for (int i = 0; i < Q; ++i) {
            const __m512i weight = _mm512_set1_epi32(static_cast<int>(p[i * (rounded_rows / 2)]));
            CAIRN_UNROLL
            for (int u = 0; u < 2 * U; ++u)
                sum[i][u] = _mm512_dpbf16_ps(sum[i][u], reinterpret_cast<__m512bh>(value[u]),
                                             reinterpret_cast<__m512bh>(weight));
        }
    }
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < 2 * U; ++u)
        _mm512_mask_storeu_ps(o + i * o_stride + 16 * u, there[u], sum[i][u]);
}
template <int Q>
CAIRN_INLINE void weigh_all_pairs(const RowsIn& v, const std::uint32_t* p, float* o,
                                  std::ptrdiff_t o_stride) {
    for (int d = 0; d < v.dims; d += 64) {
        RowsIn part = v;
        part.unit += 2 * d;
        if (v.ahead != nullptr) part.ahead += 2 * d;
        if (d > 0) part.beside = nullptr;
        const int left = v.dims - d;
        const int over = left > 32 ? left - 32 : left;
        const __mmask32 last = over >= 32 ? ~__mmask32{0} : (__mmask32{1} << over) - 1;
        if (left > 32)
            weigh_pairs<Q, 2>(part, last, p, o + d, o_stride);
        else
            weigh_pairs<Q, 1>(part, last, p, o + d, o_stride);
    }
}

}  // namespace pairs

// The kernels of pairs want an even number of columns; others are multiplied as in AVX-512, whose
// activations are floats.
inline void pack_rounded(const float* x, std::ptrdiff_t stride, std::ptrdiff_t rows,
                         std::ptrdiff_t k, int tile_rows, std::ptrdiff_t first, float* packed) {
    if (k % 2 != 0) return avx512::pack_rounded(x, stride, rows, k, tile_rows, first, packed);
    packed += first * (k / 2);
    for (std::ptrdiff_t row = 0; row < rows; row += tile_rows, x += tile_rows * stride)
        for (std::ptrdiff_t at = 0; at < k; at += 32) {
            const std::ptrdiff_t count = k - at < 32 ? k - at : 32;
            __m512i tile[gemm_rows] = {};
            for (int r = 0; r < tile_rows && row + r < rows; ++r)
                tile[r] = pairs::pairs_of(x + r * stride + at, count);
            float block[16 * gemm_rows];
            if (tile_rows == gemm_rows)
                pairs::put_tile(tile, block);
            else
                _mm512_storeu_si512(block, tile[0]);
            const std::ptrdiff_t size = tile_rows * count / 2;
            __builtin_memcpy(packed, block, sizeof(float) * static_cast<std::size_t>(size));
            packed += size;
        }
}
CAIRN_INLINE FloatProduct of_pairs(FloatProduct product) {
    product.in /= 2;
    return product;
}
template <class T>
void gemv_rounded(const FloatProduct& product) {
    if (product.in % 2 != 0) return avx512::gemv_rounded<T>(product);
    pairs::gemv<pair_t>(of_pairs(product));
}
template <class T>
void gemm_rounded(const FloatProduct& product) {
    if (product.in % 2 != 0) return avx512::gemm_rounded<T>(product);
    pairs::gemm<pair_t>(of_pairs(product));
}

inline void scores_rounded(const RowsIn& k, const float* q, std::ptrdiff_t q_stride, int queries,
                           float* s, std::ptrdiff_t s_stride) {
    if (k.dims % 2 != 0) return avx512::scores_rounded(k, q, q_stride, queries, s, s_stride);
    RowsIn of_pairs = k;
    of_pairs.dims /= 2;
    pairs::scores_tiles<pair_t>(of_pairs, q, q_stride, queries, s, s_stride);
}
inline void weigh_rounded(const RowsIn& v, const float* p, std::ptrdiff_t p_stride, int queries,
                          float* o, std::ptrdiff_t o_stride) {
    std::uint32_t packed[4 * (rounded_rows / 2)];
    RowsIn part = v;
    for (int i = 0; i < queries;) {
        const int n = queries - i >= 4 ? 4 : queries - i == 3 ? 3 : 1;
        for (int r = 0; r < n; ++r)
            for (int j = 0; j < v.count; j += 32)
                _mm512_storeu_si512(packed + r * (rounded_rows / 2) + j / 2,
                                    pairs::pairs_of(p + (i + r) * p_stride + j, v.count - j));
        float* to = o + i * o_stride;
        if (n == 4)
            pairs::weigh_all_pairs<4>(part, packed, to, o_stride);
        else if (n == 3)
            pairs::weigh_all_pairs<3>(part, packed, to, o_stride);
        else
            pairs::weigh_all_pairs<1>(part, packed, to, o_stride);
        part.ahead = part.beside = nullptr;
        i += n;
    }
}

}}}  // namespace cairn::kernels::avx512bf16

#include "cairn/kernels/body/target_end.inl"

#endif  // __x86_64__
