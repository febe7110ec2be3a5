// Scores in integers: those of AVX-512 with VNNI.
#pragma once

#if defined(__x86_64__)

#include "cairn/kernels/avx512vnni/integer_scores.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::avx512bf16 {

namespace integers = avx512vnni::integers;

}}}  // namespace cairn::kernels::avx512bf16

#endif  // __x86_64__
