// Table's functions: each goes to the namespace of its instruction set. Included where the kernels
// are compiled: in every program that uses the headers alone, or in the library cairn::kernels.
#pragma once

#include "cairn/kernels/table.hpp"

#define CAIRN_FOLDER floats
#define CAIRN_FILE floats.hpp
#include "cairn/kernels/each.inl"

#define CAIRN_PICK_CASE(set, floats, ...) \
    case Isa::set: return floats::__VA_ARGS__;
#define CAIRN_PICK(...)                                              \
    switch (isa) { CAIRN_KERNEL_SETS(CAIRN_PICK_CASE, __VA_ARGS__) } \
    return portable::__VA_ARGS__
#if defined(CAIRN_KERNELS_IMPLEMENTATION)
#define CAIRN_KERNEL
#else
#define CAIRN_KERNEL inline
#endif

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

namespace internal {

template <ElementType type>
struct Stored;
template <>
struct Stored<ElementType::f32> {
    using Type = float;
};
template <>
struct Stored<ElementType::f16> {
    using Type = half_t;
};
template <>
struct Stored<ElementType::bf16> {
    using Type = brain_t;
};
template <ElementType type>
using stored_t = typename Stored<type>::Type;

}  // namespace internal

template <ElementType type>
void Table::gemv(const FloatProduct& product) const {
    CAIRN_PICK(gemv<internal::stored_t<type>>(product));
}
template <ElementType type>
void Table::gemm(const FloatProduct& product) const {
    CAIRN_PICK(gemm<internal::stored_t<type>>(product));
}
CAIRN_KERNEL void Table::pack_rows(const float* x, std::ptrdiff_t stride, std::ptrdiff_t rows,
                                   std::ptrdiff_t k, float* packed) const {
    CAIRN_PICK(pack_rows(x, stride, rows, k, packed, tile_rows));
}
template <ElementType type>
void Table::gemv_rounded(const FloatProduct& product) const {
    CAIRN_PICK(gemv_rounded<internal::stored_t<type>>(product));
}
template <ElementType type>
void Table::gemm_rounded(const FloatProduct& product) const {
    CAIRN_PICK(gemm_rounded<internal::stored_t<type>>(product));
}
CAIRN_KERNEL void Table::pack_rounded(const float* x, std::ptrdiff_t stride, std::ptrdiff_t rows,
                                      std::ptrdiff_t k, int tile, std::ptrdiff_t first,
                                      float* packed) const {
    CAIRN_PICK(pack_rounded(x, stride, rows, k, tile, first, packed));
}
template <ElementType type>
void Table::scores_tiles(const RowsIn& rows, const float* q, std::ptrdiff_t q_stride, int queries,
                         float* s, std::ptrdiff_t s_stride) const {
    CAIRN_PICK(scores_tiles<internal::stored_t<type>>(rows, q, q_stride, queries, s, s_stride));
}
template <ElementType type>
void Table::scores_rows(const RowsIn& rows, const float* q, std::ptrdiff_t q_stride, int queries,
                        float* s, std::ptrdiff_t s_stride) const {
    CAIRN_PICK(scores_rows<internal::stored_t<type>>(rows, q, q_stride, queries, s, s_stride));
}
template <ElementType type>
void Table::weigh_rows(const RowsIn& rows, const float* p, std::ptrdiff_t p_stride, int queries,
                       float* o, std::ptrdiff_t o_stride) const {
    CAIRN_PICK(weigh_rows<internal::stored_t<type>>(rows, p, p_stride, queries, o, o_stride));
}
CAIRN_KERNEL void Table::scores_rounded(const RowsIn& rows, const float* q, std::ptrdiff_t q_stride,
                                        int queries, float* s, std::ptrdiff_t s_stride) const {
    CAIRN_PICK(scores_rounded(rows, q, q_stride, queries, s, s_stride));
}
CAIRN_KERNEL void Table::weigh_rounded(const RowsIn& rows, const float* p, std::ptrdiff_t p_stride,
                                       int queries, float* o, std::ptrdiff_t o_stride) const {
    CAIRN_PICK(weigh_rounded(rows, p, p_stride, queries, o, o_stride));
}
CAIRN_KERNEL void Table::softmax(float* s, int begin, int end, float* max, float* sum) const {
    CAIRN_PICK(softmax(s, begin, end, max, sum));
}
CAIRN_KERNEL void Table::merge(float* max, float* sum, float* out, float m, float l, const float* o,
                               int dims) const {
    CAIRN_PICK(merge(max, sum, out, m, l, o, dims));
}
CAIRN_KERNEL void Table::soft_cap(float* s, int begin, int end, float cap) const {
    CAIRN_PICK(soft_cap(s, begin, end, cap));
}
CAIRN_KERNEL void Table::layer_norm(const float* x, const float* weight, const float* bias,
                                    float eps, std::ptrdiff_t n, float* y) const {
    CAIRN_PICK(layer_norm(x, weight, bias, eps, n, y));
}
CAIRN_KERNEL void Table::rms_norm(const float* x, const float* weight, float eps, std::ptrdiff_t n,
                                  float* y) const {
    CAIRN_PICK(rms_norm(x, weight, eps, n, y));
}
CAIRN_KERNEL void Table::gelu_erf(float* x, std::ptrdiff_t n) const { CAIRN_PICK(gelu_erf(x, n)); }
CAIRN_KERNEL void Table::gelu_tanh(float* x, std::ptrdiff_t n) const {
    CAIRN_PICK(gelu_tanh(x, n));
}
CAIRN_KERNEL void Table::silu(float* x, std::ptrdiff_t n) const { CAIRN_PICK(silu(x, n)); }
CAIRN_KERNEL void Table::silu_multiply(float* gate, const float* up, std::ptrdiff_t n) const {
    CAIRN_PICK(silu_multiply(gate, up, n));
}
CAIRN_KERNEL void Table::add(const float* x, std::ptrdiff_t n, float* y) const {
    CAIRN_PICK(add_to(x, n, y));
}
CAIRN_KERNEL void Table::axpy(float a, const float* x, std::ptrdiff_t n, float* y) const {
    CAIRN_PICK(axpy(a, x, n, y));
}
CAIRN_KERNEL void Table::scale(float a, std::ptrdiff_t n, float* x) const {
    CAIRN_PICK(scale(a, n, x));
}
CAIRN_KERNEL bool Table::all_finite(const float* x, std::ptrdiff_t n) const {
    CAIRN_PICK(all_finite(x, n));
}
CAIRN_KERNEL void Table::rotate_half(float* x, const float* cosine, const float* sine,
                                     std::ptrdiff_t pairs) const {
    CAIRN_PICK(rotate_half(x, cosine, sine, pairs));
}
CAIRN_KERNEL void Table::rotate_interleaved(float* x, const float* cosine, const float* sine,
                                            std::ptrdiff_t pairs) const {
    CAIRN_PICK(rotate_interleaved(x, cosine, sine, pairs));
}
template <ElementType type>
void Table::encode(const float* x, std::ptrdiff_t n, std::byte* to) const {
    CAIRN_PICK(encode<internal::stored_t<type>>(x, n, to));
}
template <ElementType type>
void Table::decode(const std::byte* from, std::ptrdiff_t n, float* x) const {
    CAIRN_PICK(decode<internal::stored_t<type>>(from, n, x));
}
CAIRN_KERNEL void Table::range(const float* x, std::ptrdiff_t n, float* least, float* most) const {
    CAIRN_PICK(range(x, n, least, most));
}
CAIRN_KERNEL void Table::codes(const float* x, std::ptrdiff_t n, float least, float inverse,
                               float* y) const {
    CAIRN_PICK(codes(x, n, least, inverse, y));
}
CAIRN_KERNEL void Table::exp(float* x, std::ptrdiff_t n) const { CAIRN_PICK(exp_in_place(x, n)); }

}}}  // namespace cairn::kernels

#undef CAIRN_PICK
#undef CAIRN_PICK_CASE
#undef CAIRN_KERNEL
