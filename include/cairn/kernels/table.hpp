// What a kernel is: the one table of functions that every instruction set fills. Raw pointers and
// sizes in, no Eigen, no allocation, no exceptions. Every entry does the same floating-point
// operations in the same order on every instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cairn/core/config.hpp"
#include "cairn/numeric/plain_format.hpp"

namespace cairn::inline CAIRN_ABI::kernels {

/// Lanes of the library's one virtual vector, whatever the machine's are: 16 floats.
inline constexpr int lanes = 16;
/// Output features that share one panel of packed weights.
inline constexpr int panel = lanes;
/// Positions that share one tile of keys in the `tiles16` layout.
inline constexpr int key_tile = lanes;

/// y[r][n] = bias[n] + sum over k of x[r][k] * W[n][k], k ascending in one chain of fma per
/// element. Weights are packed [out/16][in][16] in their storage type; lanes past `out` hold zeros.
struct Linear {
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
};

/// The instruction set a table is compiled for.
enum class Isa : std::uint8_t { portable, avx2, avx512, neon };

struct Table {
    const char* name;
    Isa isa;
    int tile_rows;  ///< rows of an activation tile of `gemm`

    /// One row. Indexed by plain ElementType.
    void (*gemv[3])(const Linear&);
    /// Any number of rows, x packed.
    void (*gemm[3])(const Linear&);
    /// [rows][stride] -> [rows / tile_rows][k][tile_rows], missing rows zero.
    void (*pack_rows)(const float* x, std::ptrdiff_t stride, std::ptrdiff_t rows, std::ptrdiff_t k,
                      float* packed, int tile_rows);

    /// s[i][j] = q[i] . key row j in the dim-ascending chain; keys as [pos/16][dim][16];
    /// for f16 and bf16.
    void (*scores_tiles[3])(const RowsIn&, const float* q, std::ptrdiff_t q_stride, int queries,
                            float* s, std::ptrdiff_t s_stride);
    /// The same with keys as rows: 16 virtual lanes and a fixed tree; for f32.
    void (*scores_rows[3])(const RowsIn&, const float* q, std::ptrdiff_t q_stride, int queries,
                           float* s, std::ptrdiff_t s_stride);
    /// o[i][d] += sum over rows j ascending of p[i][j] * value[j][d]; values as rows.
    void (*weigh_rows[3])(const RowsIn&, const float* p, std::ptrdiff_t p_stride, int queries,
                          float* o, std::ptrdiff_t o_stride);

    /// In place s[begin, end) -> exp(s - max); returns max and sum (lanes by offset, fixed tree).
    /// s has room for whole vectors around the interval. All -inf: max -inf, sum 0.
    void (*softmax)(float* s, int begin, int end, float* max, float* sum);
    /// Joins a later segment (m, l, o) to the running state (max, sum, out).
    void (*merge)(float* max, float* sum, float* out, float m, float l, const float* o, int dims);
    /// s[j] = cap * tanh(s[j] / cap).
    void (*soft_cap)(float* s, int begin, int end, float cap);

    /// y = (x - mean) / sqrt(var + eps) * weight + bias, population variance.
    void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps,
                       std::ptrdiff_t n, float* y);
    /// y = x / sqrt(mean(x^2) + eps) * weight.
    void (*rms_norm)(const float* x, const float* weight, float eps, std::ptrdiff_t n, float* y);
    void (*gelu_erf)(float* x, std::ptrdiff_t n);
    void (*gelu_tanh)(float* x, std::ptrdiff_t n);
    void (*silu)(float* x, std::ptrdiff_t n);
    /// gate = silu(gate) * up.
    void (*silu_multiply)(float* gate, const float* up, std::ptrdiff_t n);
    /// y += x.
    void (*add)(const float* x, std::ptrdiff_t n, float* y);
    /// y += a * x.
    void (*axpy)(float a, const float* x, std::ptrdiff_t n, float* y);
    /// x *= a.
    void (*scale)(float a, std::ptrdiff_t n, float* x);
    /// Whether no value is NaN or infinite.
    bool (*all_finite)(const float* x, std::ptrdiff_t n);
    /// Rotates pairs (x[i], x[i + pairs]) (half) or (x[2i], x[2i+1]) (interleaved) by cos, sin.
    void (*rotate_half)(float* x, const float* cosine, const float* sine, std::ptrdiff_t pairs);
    void (*rotate_interleaved)(float* x, const float* cosine, const float* sine,
                               std::ptrdiff_t pairs);
    /// Rows of a cache: f32 -> storage, finite values beyond the range saturated.
    void (*encode[3])(const float* x, std::ptrdiff_t n, std::byte* to);
    void (*decode[3])(const std::byte* from, std::ptrdiff_t n, float* x);
    /// Least and largest of n > 0 finite numbers.
    void (*range)(const float* x, std::ptrdiff_t n, float* least, float* most);
    /// y = nearest((x - least) * inverse), ties to even; |y| below 2^21.
    void (*codes)(const float* x, std::ptrdiff_t n, float least, float inverse, float* y);
    /// The f32 elementary functions, elementwise, for tests and for code outside the kernels.
    void (*exp)(float* x, std::ptrdiff_t n);
};

}  // namespace cairn::inline CAIRN_ABI::kernels
