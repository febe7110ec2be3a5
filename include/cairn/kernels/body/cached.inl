// Products with quantised rows of a cache, written once over V (16 floats) and I (16 integers).
// Included inside the namespace of each instruction set. A number is decoded as
// fma(code, scale, least) in a register and used there: its bits equal those of the decoded row.

// The 16 codes of vector `v` of codes that start at `codes`, as floats before scale and least.
template <RowLayout F>
CAIRN_INLINE V code_lanes(const std::byte* codes, int v) {
    if constexpr (F.meaning == Meaning::e4m3) {
        return from_e4m3(codes + 16 * v);
    } else if constexpr (F.meaning == Meaning::e5m2) {
        return from_e5m2(codes + 16 * v);
    } else if constexpr (F.meaning == Meaning::signed_byte) {
        return to_float(signed_bytes(codes + 16 * v));
    } else if constexpr (F.bits == 8) {
        return to_float(unsigned_bytes(codes + 16 * v));
    } else if constexpr (F.bits == 2) {
        return to_float(spread2(codes + 4 * v));
    } else {
        const I low = take(unsigned_bytes(codes + v / 2 * 16), v % 2 * 4, 15);
        if constexpr (F.meaning == Meaning::iq4_nl)
            return lookup(iq4_nl_values, low);
        else
            return to_float(low);
    }
}

// The number of dim d in a tile's block, before the chain.
template <RowLayout F>
CAIRN_INLINE V key_lanes(const std::byte* codes, int d, V scale, V least) {
    V value;
    if constexpr (F.bits == 5)
        value = to_float(add_int(
            take(unsigned_bytes(codes + d / 2 * 16), d % 2 * 4, 15),
            raise4(take(unsigned_bytes(codes + F.group * key_tile / 2 + d / 8 * 16), d % 8, 1))));
    else
        value = code_lanes<F>(codes, d);
    if constexpr (F.scaled()) {
        if constexpr (F.least || F.offset != 0)
            value = fma(value, scale, least);
        else
            value = mul(value, scale);
    }
    return value;
}

// U tiles of 16 positions, Q queries: the chain runs over dims ascending.
template <RowLayout F, int Q, int U>
[[gnu::noinline]] void score_unit(const std::byte* unit, std::ptrdiff_t stride, int dims,
                                  const float* q, std::ptrdiff_t q_stride, float* s,
                                  std::ptrdiff_t s_stride) {
    V sum[Q][U];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) sum[i][u] = splat(0.0F);
    const int blocks = F.blocks(dims);
    for (int b = 0; b < blocks; ++b) {
        const int n = F.block_dims(dims, b);
        [[maybe_unused]] V scale[U];
        [[maybe_unused]] V least[U];
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) {
            scale[u] = least[u] = splat(0.0F);
            if constexpr (F.scaled()) {
                const std::byte* at = unit + u * stride;
                scale[u] = load(reinterpret_cast<const half_t*>(at));
                if constexpr (F.least)
                    least[u] = load(reinterpret_cast<const half_t*>(at + 2 * key_tile));
                else if constexpr (F.offset != 0)
                    least[u] = mul(scale[u], splat(-static_cast<float>(F.offset)));
            }
        }
        const std::byte* codes = unit + F.parameter_bytes() * key_tile;
        const float* query = q + b * F.group;
        int d = 0;
        for (; d + 4 <= n; d += 4) {
            const std::ptrdiff_t ahead = d * key_tile * F.bits / 8;
            if (ahead % line_bytes < 8 * F.bits) CAIRN_UNROLL
            for (int u = 0; u < U; ++u) fetch_line(codes + (U + u) * stride + ahead);
            CAIRN_UNROLL
            for (int x = 0; x < 4; ++x) {
                V value[U];
                CAIRN_UNROLL
                for (int u = 0; u < U; ++u)
                    value[u] = key_lanes<F>(codes + u * stride, d + x, scale[u], least[u]);
                CAIRN_UNROLL
                for (int i = 0; i < Q; ++i) {
                    const V at = splat(query[i * q_stride + d + x]);
                    CAIRN_UNROLL
                    for (int u = 0; u < U; ++u) sum[i][u] = fma(value[u], at, sum[i][u]);
                }
            }
        }
        for (; d < n; ++d) CAIRN_UNROLL
        for (int u = 0; u < U; ++u) {
            const V value = key_lanes<F>(codes + u * stride, d, scale[u], least[u]);
            CAIRN_UNROLL
            for (int i = 0; i < Q; ++i)
                sum[i][u] = fma(value, splat(query[i * q_stride + d]), sum[i][u]);
        }
        unit += F.parameter_bytes() * key_tile + F.tile_code_bytes(dims);
    }
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) store(s + i * s_stride + u * key_tile, sum[i][u]);
}

template <RowLayout F, int Q>
[[gnu::noinline]] void score_rows_of(const RowsIn& k, const float* q, std::ptrdiff_t q_stride,
                                     float* s, std::ptrdiff_t s_stride) {
    constexpr int U = accumulators >= 8 ? 2 : 1;
    const std::byte* unit = k.unit;
    for (int at = -k.lane; at < k.count;) {
        if (U > 1 && at >= 0 && at + U * key_tile <= k.count) {
            score_unit<F, Q, U>(unit, k.stride, k.dims, q, q_stride, s + at, s_stride);
            at += U * key_tile;
            unit += U * k.stride;
            continue;
        }
        if (at >= 0 && at + key_tile <= k.count) {
            score_unit<F, Q, 1>(unit, k.stride, k.dims, q, q_stride, s + at, s_stride);
        } else {
            float part[Q * key_tile];
            score_unit<F, Q, 1>(unit, k.stride, k.dims, q, q_stride, part, key_tile);
            const int begin = at < 0 ? 0 : at;
            const int end = at + key_tile < k.count ? at + key_tile : k.count;
            for (int i = 0; i < Q; ++i)
                for (int j = begin; j < end; ++j)
                    s[i * s_stride + j] = part[i * key_tile + j - at];
        }
        at += key_tile;
        unit += k.stride;
    }
}

template <RowLayout F>
void cached_scores(const RowsIn& k, const float* q, std::ptrdiff_t q_stride, int queries, float* s,
                   std::ptrdiff_t s_stride) {
    int i = 0;
    for (; i + 4 <= queries; i += 4)
        score_rows_of<F, 4>(k, q + i * q_stride, q_stride, s + i * s_stride, s_stride);
    if (i + 3 <= queries) {
        score_rows_of<F, 3>(k, q + i * q_stride, q_stride, s + i * s_stride, s_stride);
        i += 3;
    }
    for (; i < queries; ++i)
        score_rows_of<F, 1>(k, q + i * q_stride, q_stride, s + i * s_stride, s_stride);
}

// Adds Q weighted sums of rows to U vectors of dims from vector `first` of block `b` on.
template <RowLayout F, int Q, int U>
CAIRN_INLINE void weigh_vectors(const RowsIn& v, int b, int first, const float* p,
                                std::ptrdiff_t p_stride, float* o, std::ptrdiff_t o_stride) {
    V sum[Q][U];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u)
        sum[i][u] = load(o + i * o_stride + 16 * u);
    const std::byte* block =
        v.unit + b * (F.parameter_bytes() + F.code_bytes(v.dims));
    for (int j = 0; j < v.count; ++j, block += v.stride) {
        fetch_line(block + rows_ahead * v.stride + 2 * first * F.bits);
        [[maybe_unused]] V scale = splat(1.0F);
        [[maybe_unused]] V least = splat(0.0F);
        if constexpr (F.scaled()) {
            scale = splat_half(block);
            if constexpr (F.least)
                least = splat_half(block + 2);
            else if constexpr (F.offset != 0)
                least = mul(scale, splat(-static_cast<float>(F.offset)));
        }
        const std::byte* codes = block + F.parameter_bytes();
        V value[U];
        [[maybe_unused]] I high;
        if constexpr (F.bits == 5) high = spread2(codes + F.group / 2);
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) {
            if constexpr (F.bits == 5)
                value[u] = to_float(add_int(take(unsigned_bytes(codes), 4 * u, 15),
                                            raise4(take(high, u, 1))));
            else
                value[u] = code_lanes<F>(codes, first + u);
            if constexpr (F.scaled()) {
                if constexpr (F.least || F.offset != 0)
                    value[u] = fma(value[u], scale, least);
                else
                    value[u] = mul(value[u], scale);
            }
        }
        CAIRN_UNROLL
        for (int i = 0; i < Q; ++i) {
            const V weight = splat(p[i * p_stride + j]);
            CAIRN_UNROLL
            for (int u = 0; u < U; ++u) sum[i][u] = fma(value[u], weight, sum[i][u]);
        }
    }
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u)
        store(o + i * o_stride + 16 * u, sum[i][u]);
}

template <RowLayout F, int Q>
[[gnu::noinline]] void weigh_rows_of(const RowsIn& v, const float* p, std::ptrdiff_t p_stride,
                                     float* o, std::ptrdiff_t o_stride) {
    const int blocks = F.blocks(v.dims);
    for (int b = 0; b < blocks; ++b) {
        const int n = F.block_dims(v.dims, b);
        float* at = o + b * F.group;
        int d = 0;
        for (; d + 32 <= n; d += 32)
            weigh_vectors<F, Q, 2>(v, b, d / 16, p, p_stride, at + d, o_stride);
        if (d < n) {
            // The last dims through a buffer: rows of codes are padded, rows of floats are not.
            float part[Q * 32];
            for (int i = 0; i < Q; ++i)
                for (int x = 0; x < 32; ++x)
                    part[i * 32 + x] = d + x < n ? at[i * o_stride + d + x] : 0.0F;
            const int vectors = n - d > 16 ? 2 : 1;
            if (vectors == 2 || F.bits == 5)
                weigh_vectors<F, Q, 2>(v, b, d / 16, p, p_stride, part, 32);
            else
                weigh_vectors<F, Q, 1>(v, b, d / 16, p, p_stride, part, 32);
            for (int i = 0; i < Q; ++i)
                for (int x = 0; d + x < n; ++x) at[i * o_stride + d + x] = part[i * 32 + x];
        }
    }
}

template <RowLayout F>
void cached_weigh(const RowsIn& v, const float* p, std::ptrdiff_t p_stride, int queries, float* o,
                  std::ptrdiff_t o_stride) {
    int i = 0;
    for (; i + 4 <= queries; i += 4)
        weigh_rows_of<F, 4>(v, p + i * p_stride, p_stride, o + i * o_stride, o_stride);
    if (i + 3 <= queries) {
        weigh_rows_of<F, 3>(v, p + i * p_stride, p_stride, o + i * o_stride, o_stride);
        i += 3;
    }
    for (; i < queries; ++i)
        weigh_rows_of<F, 1>(v, p + i * p_stride, p_stride, o + i * o_stride, o_stride);
}

// A unit of 32 positions with a scale and a least a channel.
template <int bits, int Q>
[[gnu::noinline]] void score_channels(const std::byte* unit, int dims, const float* q,
                                      std::ptrdiff_t q_stride, float* s, std::ptrdiff_t s_stride) {
    V sum[Q][2];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) sum[i][0] = sum[i][1] = splat(0.0F);
    const std::byte* codes = unit + 4 * dims;
    for (int d = 0; d < dims; ++d) {
        const V scale = splat_half(unit + 2 * d);
        const V least = splat_half(unit + 2 * (dims + d));
        I low;
        I high;
        if constexpr (bits == 4) {
            const I both = unsigned_bytes(codes + 16 * d);
            low = take(both, 0, 15);
            high = take(both, 4, 15);
        } else {
            const I both = unsigned_bytes(codes + d / 2 * 16);
            low = take(both, d % 2 * 4, 3);
            high = take(both, d % 2 * 4 + 2, 3);
        }
        const V a = fma(to_float(low), scale, least);
        const V b = fma(to_float(high), scale, least);
        CAIRN_UNROLL
        for (int i = 0; i < Q; ++i) {
            const V query = splat(q[i * q_stride + d]);
            sum[i][0] = fma(a, query, sum[i][0]);
            sum[i][1] = fma(b, query, sum[i][1]);
        }
    }
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) {
        store(s + i * s_stride, sum[i][0]);
        store(s + i * s_stride + 16, sum[i][1]);
    }
}

template <int bits, int Q>
CAIRN_INLINE void score_channels_of(const RowsIn& k, const float* q, std::ptrdiff_t q_stride,
                                    float* s, std::ptrdiff_t s_stride) {
    const std::byte* unit = k.unit;
    for (int at = -k.lane; at < k.count; at += channel_group, unit += k.stride) {
        if (at >= 0 && at + channel_group <= k.count) {
            score_channels<bits, Q>(unit, k.dims, q, q_stride, s + at, s_stride);
            continue;
        }
        float part[Q * channel_group];
        score_channels<bits, Q>(unit, k.dims, q, q_stride, part, channel_group);
        const int begin = at < 0 ? 0 : at;
        const int end = at + channel_group < k.count ? at + channel_group : k.count;
        for (int i = 0; i < Q; ++i)
            for (int j = begin; j < end; ++j)
                s[i * s_stride + j] = part[i * channel_group + j - at];
    }
}

template <int bits>
void channel_scores(const RowsIn& k, const float* q, std::ptrdiff_t q_stride, int queries, float* s,
                    std::ptrdiff_t s_stride) {
    int i = 0;
    if constexpr (accumulators >= 4)
        for (; i + 3 <= queries; i += 3)
            score_channels_of<bits, 3>(k, q + i * q_stride, q_stride, s + i * s_stride, s_stride);
    for (; i < queries; ++i)
        score_channels_of<bits, 1>(k, q + i * q_stride, q_stride, s + i * s_stride, s_stride);
}

// The products of a format.
template <RowLayout F>
inline constexpr Products products{cached_scores<F>, cached_weigh<F>};
// Keys by channel: scores only.
template <int bits>
inline constexpr Products channel_products{channel_scores<bits>, nullptr};
