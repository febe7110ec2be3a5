// The SIMD kernels, compiled once: the target cairn::kernels.
#include "cairn/kernels/cached/dispatch.hpp"
#include "cairn/kernels/quantised/dispatch.hpp"

namespace cairn::inline CAIRN_ABI::kernels::cached {

template const Products& products_for<q8_0>(const kernels::Table&) noexcept;
template const Products& products_for<q5_1>(const kernels::Table&) noexcept;
template const Products& products_for<q5_0>(const kernels::Table&) noexcept;
template const Products& products_for<q4_1>(const kernels::Table&) noexcept;
template const Products& products_for<q4_0>(const kernels::Table&) noexcept;
template const Products& products_for<iq4_nl>(const kernels::Table&) noexcept;
template const Products& products_for<int8>(const kernels::Table&) noexcept;
template const Products& products_for<int2>(const kernels::Table&) noexcept;
template const Products& products_for<fp8_e4m3>(const kernels::Table&) noexcept;
template const Products& products_for<fp8_e5m2>(const kernels::Table&) noexcept;
template const Products& channel_products_for<4>(const kernels::Table&) noexcept;
template const Products& channel_products_for<2>(const kernels::Table&) noexcept;

}  // namespace cairn::inline CAIRN_ABI::kernels::cached
