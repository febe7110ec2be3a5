// Products with quantised weights: those of AVX-512 with VNNI.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/avx512vnni/quantised.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512bf16 {

namespace blocks = avx512vnni::blocks;

}}}  // namespace cairn::kernels::avx512bf16

#endif  // __x86_64__
