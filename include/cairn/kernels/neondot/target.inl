// From here to body/target_end.inl functions are for AArch64 with the dot product instructions.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC diagnostic push
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
