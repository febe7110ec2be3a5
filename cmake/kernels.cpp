// The SIMD kernels, compiled once: the target cairn::kernels.
#include "cairn/kernels/dispatch.hpp"
