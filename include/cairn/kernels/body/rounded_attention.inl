// Attention over keys and values of bf16 with queries and weights that are rounded to bf16: the fma
// chains of scores_tiles and weigh_rows in the environment that rounded.inl says.

// q as pack_rounded leaves it, a row a query.
inline void scores_rounded(const RowsIn& k, const float* q, std::ptrdiff_t q_stride, int queries,
                           float* s, std::ptrdiff_t s_stride) {
    const FlushDenormals flush;
    scores_tiles<brain_t>(k, q, q_stride, queries, s, s_stride);
    if (!flush.as_vdpbf16ps()) scores_by_definition(k, q, q_stride, queries, s, s_stride);
}

// 64 dims of values for up to 4 queries, whose weights are rounded.
inline void weigh_rounded_part(const RowsIn& v, const float* p, int queries, float* o,
                               std::ptrdiff_t o_stride) {
    float before[4 * 64];
    for (int i = 0; i < queries; ++i)
        for (int d = 0; d < v.dims; ++d) before[i * 64 + d] = o[i * o_stride + d];
    const FlushDenormals flush;
    weigh_rows<brain_t>(v, p, rounded_rows, queries, o, o_stride);
    if (flush.as_vdpbf16ps()) return;
    for (int i = 0; i < queries; ++i)
        for (int d = 0; d < v.dims; ++d) o[i * o_stride + d] = before[i * 64 + d];
    weigh_by_definition(v, p, queries, o, o_stride);
}
// p is rounded here; at most `rounded_rows` rows.
inline void weigh_rounded(const RowsIn& v, const float* p, std::ptrdiff_t p_stride, int queries,
                          float* o, std::ptrdiff_t o_stride) {
    float rounded[4 * rounded_rows];
    for (int i = 0; i < queries; i += 4) {
        const int n = queries - i < 4 ? queries - i : 4;
        for (int r = 0; r < n; ++r)
            for (int j = 0; j < v.count; ++j)
                rounded[r * rounded_rows + j] = rounded_activation(p[(i + r) * p_stride + j]);
        for (int d = 0; d < v.dims; d += 64) {
            RowsIn part = v;
            part.unit += 2 * d;
            part.dims = v.dims - d < 64 ? v.dims - d : 64;
            part.ahead = i > 0 || v.ahead == nullptr ? nullptr : v.ahead + 2 * d;
            part.beside = i > 0 || d > 0 ? nullptr : v.beside;
            weigh_rounded_part(part, rounded, n, o + i * o_stride + d, o_stride);
        }
    }
}
