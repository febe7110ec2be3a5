// The parts of attention over one run of rows inside one segment. Every value of a row is computed
// from that row alone, so how many queries are handled together never shows.

// Keys as rows: lane l sums dims l, l + 16, ... in order, then the lanes meet in one fixed tree.
template <class T, int G>
CAIRN_INLINE void score_rows_block(const std::byte* rows, std::ptrdiff_t stride, int dims,
                                   const float* q, V* sum) {
    CAIRN_UNROLL
    for (int g = 0; g < G; ++g) sum[g] = splat(0.0F);
    int d = 0;
    for (; d + 16 <= dims; d += 16) {
        const V query = load(q + d);
        CAIRN_UNROLL
        for (int g = 0; g < G; ++g)
            sum[g] = fma(load(reinterpret_cast<const T*>(rows + g * stride) + d), query, sum[g]);
    }
    if (d < dims) {
        const V query = load_first(q + d, dims - d);
        CAIRN_UNROLL
        for (int g = 0; g < G; ++g)
            sum[g] = fma(load_first(reinterpret_cast<const T*>(rows + g * stride) + d, dims - d),
                         query, sum[g]);
    }
}

template <class T>
void scores_rows(const RowsIn& k, const float* q, std::ptrdiff_t q_stride, int queries, float* s,
                 std::ptrdiff_t s_stride) {
    int j = 0;
    const std::ptrdiff_t ahead = way_ahead(k);
    const std::ptrdiff_t row_bytes = k.dims * static_cast<std::ptrdiff_t>(sizeof(T));
    for (; j + 16 <= k.count; j += 16) {
        const std::byte* rows = k.unit + j * k.stride;
        for (int g = 0; ahead != 0 && g < 16; ++g)
            for (std::ptrdiff_t at = 0; at < row_bytes; at += line_bytes)
                fetch_line(rows + g * k.stride + ahead + at);
        for (int i = 0; i < queries; ++i) {
            V sum[16];
            CAIRN_UNROLL
            for (int g = 0; g < 16; g += row_group)
                score_rows_block<T, row_group>(rows + g * k.stride, k.stride, k.dims,
                                               q + i * q_stride, sum + g);
            store(s + i * s_stride + j, reduce_each(sum));
        }
    }
    for (; j < k.count; ++j)
        for (int i = 0; i < queries; ++i) {
            V sum[1];
            score_rows_block<T, 1>(k.unit + j * k.stride, k.stride, k.dims, q + i * q_stride, sum);
            s[i * s_stride + j] = reduce_add(sum[0]);
        }
}

// Q queries, U vectors of dims: lanes are dims and the chain runs over rows ascending.
template <class T, int Q, int U>
CAIRN_INLINE void weigh_block(const RowsIn& v, std::ptrdiff_t d, const float* p,
                              std::ptrdiff_t p_stride, float* o, std::ptrdiff_t o_stride) {
    V sum[Q][U];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) sum[i][u] = load(o + i * o_stride + d + 16 * u);
    const std::byte* row = v.unit + d * static_cast<std::ptrdiff_t>(sizeof(T));
    constexpr std::ptrdiff_t row_bytes = 16 * static_cast<std::ptrdiff_t>(sizeof(T));
    const std::ptrdiff_t ahead = way_ahead(v);
    const std::byte* beside = d == 0 ? v.beside : nullptr;
    const std::byte* until = beside;
    for (int j = 0; j < v.count; ++j, row += v.stride) {
        if (beside != nullptr)
            for (until += v.beside_bytes; beside < until; beside += line_bytes) fetch_line(beside);
        CAIRN_UNROLL
        for (std::ptrdiff_t at = 0; at < U * row_bytes; at += line_bytes)
            fetch_line(row + ahead + at);
        V value[U];
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) value[u] = load(reinterpret_cast<const T*>(row) + 16 * u);
        CAIRN_UNROLL
        for (int i = 0; i < Q; ++i) {
            const V weight = splat(p[i * p_stride + j]);
            CAIRN_UNROLL
            for (int u = 0; u < U; ++u) sum[i][u] = fma(value[u], weight, sum[i][u]);
        }
    }
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) store(o + i * o_stride + d + 16 * u, sum[i][u]);
}

template <class T, int Q>
CAIRN_INLINE void weigh_queries(const RowsIn& v, const float* p, std::ptrdiff_t p_stride, float* o,
                                std::ptrdiff_t o_stride) {
    constexpr int U = accumulators / Q >= 4 ? 4 : 1;
    std::ptrdiff_t d = 0;
    for (; d + 16 * U <= v.dims; d += 16 * U) weigh_block<T, Q, U>(v, d, p, p_stride, o, o_stride);
    if constexpr (U > 1)
        for (; d + 16 <= v.dims; d += 16) weigh_block<T, Q, 1>(v, d, p, p_stride, o, o_stride);
}

// The dims past the last whole vector, one query at a time.
template <class T>
[[gnu::noinline]] void weigh_rest(const RowsIn& v, const float* p, std::ptrdiff_t p_stride,
                                  int queries, float* o, std::ptrdiff_t o_stride) {
    const std::ptrdiff_t d = v.dims / 16 * 16;
    const std::ptrdiff_t rest = v.dims - d;
    for (int i = 0; i < queries; ++i) {
        V sum = load_first(o + i * o_stride + d, rest);
        const std::byte* row = v.unit + d * static_cast<std::ptrdiff_t>(sizeof(T));
        for (int j = 0; j < v.count; ++j, row += v.stride)
            sum = fma(load_first(reinterpret_cast<const T*>(row), rest), splat(p[i * p_stride + j]),
                      sum);
        store_first(o + i * o_stride + d, sum, rest);
    }
}

template <class T>
void weigh_rows(const RowsIn& v, const float* p, std::ptrdiff_t p_stride, int queries, float* o,
                std::ptrdiff_t o_stride) {
    int i = 0;
    if constexpr (accumulators >= 4) {
        for (; i + 4 <= queries; i += 4)
            weigh_queries<T, 4>(v, p + i * p_stride, p_stride, o + i * o_stride, o_stride);
    }
    if constexpr (accumulators >= 8)
        for (; i + 3 <= queries; i += 3)
            weigh_queries<T, 3>(v, p + i * p_stride, p_stride, o + i * o_stride, o_stride);
    for (; i < queries; ++i)
        weigh_queries<T, 1>(v, p + i * p_stride, p_stride, o + i * o_stride, o_stride);
    if (v.dims % 16 != 0) weigh_rest<T>(v, p, p_stride, queries, o, o_stride);
}

CAIRN_INLINE V larger(V x, V y) { return select_gt(x, y, x, y); }
inline void softmax(float* s, int begin, int end, float* max, float* sum) {
    const int first = begin / 16 * 16;
    const int last = (end + 15) / 16 * 16;
    const float least = -__builtin_inff();
    for (int j = first; j < begin; ++j) s[j] = least;
    for (int j = end; j < last; ++j) s[j] = least;
    // Four chains: the largest is the largest in any order.
    V most[4] = {splat(least), splat(least), splat(least), splat(least)};
    int at = first;
    for (; at + 64 <= last; at += 64) {
        CAIRN_UNROLL
        for (int u = 0; u < 4; ++u) most[u] = larger(load(s + at + 16 * u), most[u]);
    }
    for (; at < last; at += 16) most[0] = larger(load(s + at), most[0]);
    const float m = reduce_max(larger(larger(most[0], most[1]), larger(most[2], most[3])));
    *max = m;
    *sum = 0.0F;
    if (m == least) {
        // Nothing but -inf. A NaN compares false with everything and must not pass as "nothing".
        for (int j = begin; j < end; ++j)
            if (!(s[j] == s[j])) *sum = s[j];
        for (int j = begin; j < end; ++j) s[j] = s[j] == s[j] ? 0.0F : s[j];
        if (!(*sum == *sum)) *max = *sum;
        return;
    }
    V total = splat(0.0F);
    for (int j = first; j < last; j += 16) {
        const V p = exp_lanes(sub(load(s + j), splat(m)));
        store(s + j, p);
        total = add(total, p);
    }
    *sum = reduce_add(total);
}

inline void merge(float* max, float* sum, float* out, float m, float l, const float* o, int dims) {
    const float most = m > *max ? m : *max;
    const float old_factor = first_lane(exp_lanes(splat(*max - most)));
    const float new_factor = first_lane(exp_lanes(splat(m - most)));
    *sum = fma1(l, new_factor, *sum * old_factor);
    *max = most;
    const V a = splat(old_factor);
    const V b = splat(new_factor);
    int d = 0;
    for (; d + 16 <= dims; d += 16) store(out + d, fma(load(o + d), b, mul(load(out + d), a)));
    if (d < dims)
        store_first(out + d,
                    fma(load_first(o + d, dims - d), b, mul(load_first(out + d, dims - d), a)),
                    dims - d);
}

// cap * tanh(x / cap) = cap - 2 cap / (e^(2x/cap) + 1).
inline void soft_cap(float* s, int begin, int end, float cap) {
    for (int j = begin; j < end; j += 16) {
        const V x = load_upto(s + j, end - j);
        const V e = exp_lanes(mul(x, splat(2.0F / cap)));
        store_upto(s + j, sub(splat(cap), div(splat(2.0F * cap), add(e, splat(1.0F)))), end - j);
    }
}
