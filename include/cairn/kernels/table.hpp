// What a kernel is: the list of functions of floats that every instruction set has (quantised/ and
// cached/ have theirs). Raw pointers and sizes in, no Eigen, no allocation, no exceptions. Every
// entry does the same floating-point operations in the same order on every instruction set.
#pragma once

#include <cstddef>

#include "cairn/core/config.hpp"
#include "cairn/kernels/sets.hpp"
#include "cairn/numeric/plain_format.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

/// Lanes of the library's one virtual vector, whatever the machine's are: 16 floats.
inline constexpr int lanes = 16;
/// Output features that share one panel of packed weights.
inline constexpr int panel = lanes;
/// Panels to hand a product of many rows in multiples of: no kernel covers more at once.
inline constexpr int plain_group = 3;
/// The same for one row of plain weights: four streams from memory.
inline constexpr int plain_streams = 4;
/// Positions that share one tile of keys in the `tiles16` layout.
inline constexpr int key_tile = lanes;

/// y[r][n] = bias[n] + sum over k of x[r][k] * W[n][k], k ascending in one chain of fma per
/// element. Weights are packed [out/16][in][16] in their storage type; lanes past `out` hold zeros.
struct FloatProduct {
    const std::byte* weights;  ///< first panel of the matrix
    const float* bias;         ///< [out] or null
    std::ptrdiff_t in;
    std::ptrdiff_t out;
    const float* x;  ///< gemv: one row; gemm: packed by `pack_rows`
    float* y;        ///< [rows][y_stride]
    std::ptrdiff_t y_stride;
    std::ptrdiff_t rows;
    std::ptrdiff_t panel_begin;  ///< the panels this call computes
    std::ptrdiff_t panel_end;
};

/// Keys or values of one KV head, consecutive rows inside one block, and what is done with them.
struct RowsIn {
    const std::byte* unit;  ///< the unit that holds the first row
    std::ptrdiff_t stride;  ///< bytes from unit to unit
    int lane;               ///< place of the first row in its unit
    int count;              ///< rows
    int dims;               ///< numbers in a row
    /// The unit of rows that are read soon after these, asked for meanwhile; may be null.
    const std::byte* ahead = nullptr;
    /// Bytes of another stream that are asked for beside, so many a row; may be null.
    const std::byte* beside = nullptr;
    std::ptrdiff_t beside_bytes = 0;
};

/// The kernels of one instruction set. Each is a function that is compiled only where it is called:
/// a program pays for the layers and the codecs it uses.
struct Table {
    const char* name;  ///< as CAIRN_ISA names it
    Isa isa;
    int tile_rows;  ///< rows of an activation tile of `gemm`

    /// One row. For weights of f32, f16 and bf16.
    template <ElementType type>
    void gemv(const FloatProduct&) const;
    /// Any number of rows, x packed.
    template <ElementType type>
    void gemm(const FloatProduct&) const;
    /// [rows][stride] -> [rows / tile_rows][k][tile_rows], missing rows zero.
    void pack_rows(const float* x, std::ptrdiff_t stride, std::ptrdiff_t rows, std::ptrdiff_t k,
                   float* packed) const;

    /// The same two products for bf16 weights and activations that `pack_rounded` rounded, each fma
    /// with denormals taken for zeros (kernels/rounded.hpp): what bf16 dot products of two terms do
    /// where the processor has them.
    template <ElementType type>
    void gemv_rounded(const FloatProduct&) const;
    template <ElementType type>
    void gemm_rounded(const FloatProduct&) const;
    /// Rows [first, first + rows), which begin at x, to their place among all that lie at `packed`:
    /// in tiles of `tile` rows (1 for gemv, tile_rows for gemm; first is a multiple) and in a form
    /// of the set's own, within the room that `pack_rows` needs.
    void pack_rounded(const float* x, std::ptrdiff_t stride, std::ptrdiff_t rows, std::ptrdiff_t k,
                      int tile, std::ptrdiff_t first, float* packed) const;

    /// s[i][j] = q[i] . key row j in the dim-ascending chain; keys as [pos/16][dim][16];
    /// for f16 and bf16.
    template <ElementType type>
    void scores_tiles(const RowsIn&, const float* q, std::ptrdiff_t q_stride, int queries, float* s,
                      std::ptrdiff_t s_stride) const;
    /// The same with keys as rows: 16 virtual lanes and a fixed tree; for f32.
    template <ElementType type>
    void scores_rows(const RowsIn&, const float* q, std::ptrdiff_t q_stride, int queries, float* s,
                     std::ptrdiff_t s_stride) const;
    /// o[i][d] += sum over rows j ascending of p[i][j] * value[j][d]; values as rows.
    template <ElementType type>
    void weigh_rows(const RowsIn&, const float* p, std::ptrdiff_t p_stride, int queries, float* o,
                    std::ptrdiff_t o_stride) const;

    /// The same two products for keys in tiles and values as rows of bf16, with queries that
    /// `pack_rounded` rounded (tile 1) and weights that are rounded here: each fma as
    /// `gemv_rounded` has it. At most 256 rows of values.
    void scores_rounded(const RowsIn&, const float* q, std::ptrdiff_t q_stride, int queries,
                        float* s, std::ptrdiff_t s_stride) const;
    void weigh_rounded(const RowsIn&, const float* p, std::ptrdiff_t p_stride, int queries,
                       float* o, std::ptrdiff_t o_stride) const;

    /// In place s[begin, end) -> exp(s - max); returns max and sum (lanes by offset, fixed tree).
    /// s has room for whole vectors around the interval. All -inf: max -inf, sum 0.
    void softmax(float* s, int begin, int end, float* max, float* sum) const;
    /// Joins a later segment (m, l, o) to the running state (max, sum, out).
    void merge(float* max, float* sum, float* out, float m, float l, const float* o,
               int dims) const;
    /// s[j] = cap * tanh(s[j] / cap).
    void soft_cap(float* s, int begin, int end, float cap) const;

    /// y = (x - mean) / sqrt(var + eps) * weight + bias, population variance.
    void layer_norm(const float* x, const float* weight, const float* bias, float eps,
                    std::ptrdiff_t n, float* y) const;
    /// y = x / sqrt(mean(x^2) + eps) * weight.
    void rms_norm(const float* x, const float* weight, float eps, std::ptrdiff_t n, float* y) const;
    void gelu_erf(float* x, std::ptrdiff_t n) const;
    void gelu_tanh(float* x, std::ptrdiff_t n) const;
    void silu(float* x, std::ptrdiff_t n) const;
    /// gate = silu(gate) * up.
    void silu_multiply(float* gate, const float* up, std::ptrdiff_t n) const;
    /// y += x.
    void add(const float* x, std::ptrdiff_t n, float* y) const;
    /// y += a * x.
    void axpy(float a, const float* x, std::ptrdiff_t n, float* y) const;
    /// x *= a.
    void scale(float a, std::ptrdiff_t n, float* x) const;
    /// Whether no value is NaN or infinite.
    bool all_finite(const float* x, std::ptrdiff_t n) const;
    /// Rotates pairs (x[i], x[i + pairs]) by cos, sin.
    void rotate_half(float* x, const float* cosine, const float* sine, std::ptrdiff_t pairs) const;
    /// Rotates pairs (x[2i], x[2i + 1]) by cos, sin.
    void rotate_interleaved(float* x, const float* cosine, const float* sine,
                            std::ptrdiff_t pairs) const;
    /// Rows of a cache: f32 -> storage, finite values beyond the range saturated.
    template <ElementType type>
    void encode(const float* x, std::ptrdiff_t n, std::byte* to) const;
    template <ElementType type>
    void decode(const std::byte* from, std::ptrdiff_t n, float* x) const;
    /// Least and largest of n > 0 finite numbers.
    void range(const float* x, std::ptrdiff_t n, float* least, float* most) const;
    /// y = nearest((x - least) * inverse), ties to even; |y| below 2^21.
    void codes(const float* x, std::ptrdiff_t n, float least, float inverse, float* y) const;
    /// e^x in place, elementwise, for tests and for code outside the kernels.
    void exp(float* x, std::ptrdiff_t n) const;
};

}}}  // namespace cairn::kernels
