// The kernels themselves, written once over the virtual vector V of 16 floats. Included inside the
// namespace of each instruction set, between its target pragmas: no includes, no lambdas, no std::.
// Rule of this file and its siblings: a product that feeds an addition is an fma, written as one.

#include "cairn/kernels/body/common.inl"

#include "cairn/kernels/body/linear.inl"

#include "cairn/kernels/body/attention.inl"

#include "cairn/kernels/body/rows.inl"

inline const Table& table(const char* name) noexcept {
    static const Table instance{
        .name = name,
        .isa = isa,
        .tile_rows = gemm_rows,
        .gemv = {gemv<float>, gemv<half_t>, gemv<brain_t>},
        .gemm = {gemm<float>, gemm<half_t>, gemm<brain_t>},
        .pack_rows = pack_rows,
        .scores_tiles = {nullptr, scores_tiles<half_t>, scores_tiles<brain_t>},
        .scores_rows = {scores_rows<float>, nullptr, nullptr},
        .weigh_rows = {weigh_rows<float>, weigh_rows<half_t>, weigh_rows<brain_t>},
        .softmax = softmax,
        .merge = merge,
        .soft_cap = soft_cap,
        .layer_norm = layer_norm,
        .rms_norm = rms_norm,
        .gelu_erf = gelu_erf,
        .gelu_tanh = gelu_tanh,
        .silu = silu,
        .silu_multiply = silu_multiply,
        .add = add_to,
        .axpy = axpy,
        .scale = scale,
        .all_finite = all_finite,
        .rotate_half = rotate_half,
        .rotate_interleaved = rotate_interleaved,
        .encode = {encode<float>, encode<half_t>, encode<brain_t>},
        .decode = {decode<float>, decode<half_t>, decode<brain_t>},
        .range = range,
        .codes = codes,
        .exp = exp_in_place,
    };
    return instance;
}
