// Scores of keys of 16 bits in tiles [dim][16 positions]: lanes are positions, so there are no
// horizontal sums.

// Q queries times U tiles of 16 positions; keys [tile][dim][16], the chain runs over dims
// ascending. Not inlined: it is called from four places below, and compile time is part of the
// interface.
template <class T, int Q, int U>
[[gnu::noinline]] void score_tiles_block(const RowsIn& k, const std::byte* unit, const float* q,
                                         std::ptrdiff_t q_stride, float* s,
                                         std::ptrdiff_t s_stride) {
    const std::ptrdiff_t stride = k.stride;
    const std::ptrdiff_t ahead = way_ahead(k);
    V sum[Q][U];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) sum[i][u] = splat(0.0F);
    for (int d = 0; d < k.dims; ++d) {
        const std::ptrdiff_t at = d * key_tile * static_cast<std::ptrdiff_t>(sizeof(T));
        if (at % line_bytes == 0) {
            CAIRN_UNROLL
            for (int u = 0; u < U; ++u) fetch_line(unit + u * stride + at + ahead);
        }
        decltype(load(static_cast<const T*>(nullptr))) key[U];
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u)
            key[u] = load(reinterpret_cast<const T*>(unit + u * stride) + d * key_tile);
        CAIRN_UNROLL
        for (int i = 0; i < Q; ++i) {
            const V value = splat(q[i * q_stride + d]);
            CAIRN_UNROLL
            for (int u = 0; u < U; ++u) sum[i][u] = fma(key[u], value, sum[i][u]);
        }
    }
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) store(s + i * s_stride + u * key_tile, sum[i][u]);
}

template <class T, int Q>
CAIRN_INLINE void score_tiles_queries(const RowsIn& k, const float* q, std::ptrdiff_t q_stride,
                                      float* s, std::ptrdiff_t s_stride) {
    constexpr int U = Q == 1                  ? 1
                      : accumulators / Q >= 4 ? 4
                      : accumulators > Q      ? accumulators / Q
                                              : 1;
    const std::byte* unit = k.unit;
    int at = -k.lane;  // offset of the unit's first position from the first row
    if (k.lane != 0) {
        float part[Q * key_tile];
        score_tiles_block<T, Q, 1>(k, unit, q, q_stride, part, key_tile);
        const int end = k.count + k.lane < key_tile ? k.count + k.lane : key_tile;
        for (int i = 0; i < Q; ++i)
            for (int j = k.lane; j < end; ++j) s[i * s_stride + at + j] = part[i * key_tile + j];
        at += key_tile;
        unit += k.stride;
    }
    if constexpr (U > 1)
        for (; at + U * key_tile <= k.count; at += U * key_tile, unit += U * k.stride)
            score_tiles_block<T, Q, U>(k, unit, q, q_stride, s + at, s_stride);
    for (; at + key_tile <= k.count; at += key_tile, unit += k.stride)
        score_tiles_block<T, Q, 1>(k, unit, q, q_stride, s + at, s_stride);
    if (at < k.count) {
        float part[Q * key_tile];
        score_tiles_block<T, Q, 1>(k, unit, q, q_stride, part, key_tile);
        for (int i = 0; i < Q; ++i)
            for (int j = 0; j < k.count - at; ++j)
                s[i * s_stride + at + j] = part[i * key_tile + j];
    }
}

template <class T>
void scores_tiles(const RowsIn& k, const float* q, std::ptrdiff_t q_stride, int queries, float* s,
                  std::ptrdiff_t s_stride) {
    int i = 0;
    if constexpr (accumulators >= 8)
        for (; i + 8 <= queries; i += 8)
            score_tiles_queries<T, 8>(k, q + i * q_stride, q_stride, s + i * s_stride, s_stride);
    if constexpr (accumulators >= 4) {
        for (; i + 4 <= queries; i += 4)
            score_tiles_queries<T, 4>(k, q + i * q_stride, q_stride, s + i * s_stride, s_stride);
    }
    if constexpr (accumulators >= 8)
        for (; i + 3 <= queries; i += 3)
            score_tiles_queries<T, 3>(k, q + i * q_stride, q_stride, s + i * s_stride, s_stride);
    for (; i < queries; ++i)
        score_tiles_queries<T, 1>(k, q + i * q_stride, q_stride, s + i * s_stride, s_stride);
}
