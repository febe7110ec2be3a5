// The SIMD kernels, compiled once: the target cairn::kernels.
#include "cairn/kernels/quantised/dispatch.hpp"
