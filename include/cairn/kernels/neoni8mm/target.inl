// From here to body/target_end.inl functions are for AArch64 with the matrix instructions for bytes.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("i8mm"))), apply_to = function)
#else
#pragma GCC diagnostic push
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+i8mm")
#endif
