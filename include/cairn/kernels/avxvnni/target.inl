// From here to body/target_end.inl functions are for AVX2 with AVX-VNNI.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avxvnni,avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC diagnostic push
#pragma GCC push_options
#pragma GCC target("avxvnni,avx2,fma,f16c")
#endif
