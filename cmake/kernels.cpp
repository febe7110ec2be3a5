// The SIMD kernels, compiled once: the target cairn::kernels.
#include "cairn/kernels/cached/products.hpp"
#include "cairn/kernels/quantised/kernels.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

template void Table::gemv<ElementType::f32>(const FloatProduct&) const;
template void Table::gemm<ElementType::f32>(const FloatProduct&) const;
template void Table::gemv<ElementType::f16>(const FloatProduct&) const;
template void Table::gemm<ElementType::f16>(const FloatProduct&) const;
template void Table::gemv<ElementType::bf16>(const FloatProduct&) const;
template void Table::gemm<ElementType::bf16>(const FloatProduct&) const;
template void Table::gemv_rounded<ElementType::bf16>(const FloatProduct&) const;
template void Table::gemm_rounded<ElementType::bf16>(const FloatProduct&) const;
template void Table::scores_rows<ElementType::f32>(const RowsIn&, const float*, std::ptrdiff_t, int,
                                                   float*, std::ptrdiff_t) const;
template void Table::weigh_rows<ElementType::f32>(const RowsIn&, const float*, std::ptrdiff_t, int,
                                                  float*, std::ptrdiff_t) const;
template void Table::scores_tiles<ElementType::f32>(const RowsIn&, const float*, std::ptrdiff_t,
                                                    int, float*, std::ptrdiff_t) const;
template void Table::encode<ElementType::f32>(const float*, std::ptrdiff_t, std::byte*) const;
template void Table::decode<ElementType::f32>(const std::byte*, std::ptrdiff_t, float*) const;
template void Table::scores_tiles<ElementType::f16>(const RowsIn&, const float*, std::ptrdiff_t,
                                                    int, float*, std::ptrdiff_t) const;
template void Table::weigh_rows<ElementType::f16>(const RowsIn&, const float*, std::ptrdiff_t, int,
                                                  float*, std::ptrdiff_t) const;
template void Table::encode<ElementType::f16>(const float*, std::ptrdiff_t, std::byte*) const;
template void Table::decode<ElementType::f16>(const std::byte*, std::ptrdiff_t, float*) const;
template void Table::scores_tiles<ElementType::bf16>(const RowsIn&, const float*, std::ptrdiff_t,
                                                     int, float*, std::ptrdiff_t) const;
template void Table::weigh_rows<ElementType::bf16>(const RowsIn&, const float*, std::ptrdiff_t, int,
                                                   float*, std::ptrdiff_t) const;
template void Table::encode<ElementType::bf16>(const float*, std::ptrdiff_t, std::byte*) const;
template void Table::decode<ElementType::bf16>(const std::byte*, std::ptrdiff_t, float*) const;

}}}  // namespace cairn::kernels

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::cached {

template const Products& products_for<q8_0>(const Table&) noexcept;
template const Products& products_for<q5_1>(const Table&) noexcept;
template const Products& products_for<q5_0>(const Table&) noexcept;
template const Products& products_for<q4_1>(const Table&) noexcept;
template const Products& products_for<q4_0>(const Table&) noexcept;
template const Products& products_for<iq4_nl>(const Table&) noexcept;
template const Products& products_for<int8>(const Table&) noexcept;
template const Products& products_for<int2>(const Table&) noexcept;
template const Products& products_for<fp8_e4m3>(const Table&) noexcept;
template const Products& products_for<fp8_e5m2>(const Table&) noexcept;
template IntegerScores integer_scores_for<q8_0>(const Table&) noexcept;
template IntegerScores integer_scores_for<q4_1>(const Table&) noexcept;
template IntegerScores integer_scores_for<q4_0>(const Table&) noexcept;
template IntegerScores integer_scores_for<int8>(const Table&) noexcept;
template const Products& channel_products_for<8>(const Table&) noexcept;
template const Products& channel_products_for<4>(const Table&) noexcept;
template const Products& channel_products_for<2>(const Table&) noexcept;

}}}  // namespace cairn::kernels::cached
