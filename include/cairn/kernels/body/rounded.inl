// Products of bf16 weights with activations that are rounded to bf16, denormals taken for zeros. They
// are defined by what vdpbf16ps does; here they are products of floats in an environment of its
// own, and one number at a time where that flushes what vdpbf16ps would not.

inline void pack_rounded(const float* x, std::ptrdiff_t stride, std::ptrdiff_t rows,
                         std::ptrdiff_t k, int tile_rows, std::ptrdiff_t first, float* packed) {
    packed += first * k;
    pack_rows(x, stride, rows, k, packed, tile_rows);
    const std::ptrdiff_t count = (rows + tile_rows - 1) / tile_rows * tile_rows * k;
    for (std::ptrdiff_t i = 0; i < count; ++i) packed[i] = rounded_activation(packed[i]);
}
template <class T>
void gemv_rounded(const FloatProduct& a) {
    const FlushDenormals flush;
    gemv<T>(a);
    if (!flush.as_vdpbf16ps()) rounded_by_definition(a, 1);
}
template <class T>
void gemm_rounded(const FloatProduct& a) {
    const FlushDenormals flush;
    gemm<T>(a);
    if (!flush.as_vdpbf16ps()) rounded_by_definition(a, gemm_rows);
}
