// Products with quantised rows of a cache: those of AVX-512.
#pragma once

#include "cairn/kernels/avx512/cached.hpp"
#include "cairn/kernels/avx512bf16/floats.hpp"
