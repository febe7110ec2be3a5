// Products with quantised rows of a cache, written once over V (16 floats) and I (16 integers).
// Included inside the namespace of each instruction set. A number is decoded as
// fma(code, scale, least) in a register and used there: its bits equal those of the decoded row.

template <RowLayout F>
CAIRN_INLINE V scaled(V code, [[maybe_unused]] V scale, [[maybe_unused]] V least) {
    if constexpr (!F.scaled())
        return code;
    else if constexpr (F.least || F.offset != 0)
        return fma(code, scale, least);
    else
        return mul(code, scale);
}
template <RowLayout F>
CAIRN_INLINE V least_of(V scale) {
    return mul(scale, splat(-static_cast<float>(F.offset)));
}

// What codes of up to 4 bits mean, before scale and least; fewer bits repeat, so that four may be
// looked up.
template <int bits, Meaning meaning>
CAIRN_INLINE V code_table() {
    alignas(64) static constexpr float four[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                   8, 9, 10, 11, 12, 13, 14, 15};
    alignas(64) static constexpr float two[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
    return load(meaning == Meaning::iq4_nl ? iq4_nl_values : bits == 4 ? four : two);
}
// The codes of up to 4 bits at `shift`, as floats before scale and least.
template <int bits, Meaning meaning>
CAIRN_INLINE V short_lanes(I codes, int shift) {
    if constexpr (short_tables)
        return entries(code_table<bits, meaning>(), codes, shift);
    else if constexpr (meaning == Meaning::iq4_nl)
        return lookup(iq4_nl_values, take(codes, shift, 15));
    else
        return to_float(take(codes, shift, (1 << bits) - 1));
}

// 32 codes of 8 bits, as floats before the scale.
template <RowLayout F>
CAIRN_INLINE void byte_lanes(const std::byte* codes, V* to) {
    if constexpr (F.meaning == Meaning::e4m3) {
        from_e4m3(codes, to);
    } else if constexpr (F.meaning == Meaning::e5m2) {
        from_e5m2(codes, to);
    } else if constexpr (F.meaning == Meaning::signed_byte) {
        to[0] = to_float(signed_bytes(codes));
        to[1] = to_float(signed_bytes(codes + 16));
    } else {
        to[0] = to_float(unsigned_bytes(codes));
        to[1] = to_float(unsigned_bytes(codes + 16));
    }
}

// The numbers of dims d and d + 1 in a tile's block.
template <RowLayout F>
CAIRN_INLINE void key_lanes(const std::byte* codes, int d, V scale, V least, V* to) {
    if constexpr (F.bits == 8) {
        byte_lanes<F>(codes + d * 16, to);
    } else if constexpr (F.bits == 5) {
        const I low = unsigned_bytes(codes + d / 2 * 16);
        const I high = unsigned_bytes(codes + F.group * key_tile / 2 + d / 8 * 16);
        to[0] = to_float(add_int(take(low, 0, 15), raise4(take(high, d % 8, 1))));
        to[1] = to_float(add_int(take(low, 4, 15), raise4(take(high, d % 8 + 1, 1))));
    } else if constexpr (F.bits == 4) {
        const I both = unsigned_bytes(codes + d / 2 * 16);
        to[0] = short_lanes<4, F.meaning>(both, 0);
        to[1] = short_lanes<4, F.meaning>(both, 4);
    } else {
        to[0] = short_lanes<2, F.meaning>(spread2(codes + d * 4), 0);
        to[1] = short_lanes<2, F.meaning>(spread2(codes + d * 4 + 4), 0);
    }
    to[0] = scaled<F>(to[0], scale, least);
    to[1] = scaled<F>(to[1], scale, least);
}

// U tiles of 16 positions, Q queries: the chain runs over dims ascending.
template <RowLayout F, int Q, int U>
[[gnu::noinline]] void score_unit(const RowsIn& k, const std::byte* unit, const float* q,
                                  std::ptrdiff_t q_stride, float* s, std::ptrdiff_t s_stride) {
    const std::ptrdiff_t stride = k.stride;
    const std::ptrdiff_t ahead = way_ahead(k);
    V sum[Q][U];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) sum[i][u] = splat(0.0F);
    const int blocks = F.blocks(k.dims);
    for (int b = 0; b < blocks; ++b) {
        const int n = F.block_dims(k.dims, b);
        V scale[U];
        V least[U];
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) {
            scale[u] = least[u] = splat(0.0F);
            if constexpr (F.scaled()) {
                const std::byte* at = unit + u * stride;
                scale[u] = load(reinterpret_cast<const half_t*>(at));
                if constexpr (F.least)
                    least[u] = load(reinterpret_cast<const half_t*>(at + 2 * key_tile));
                else if constexpr (F.offset != 0)
                    least[u] = least_of<F>(scale[u]);
            }
        }
        const std::byte* codes = unit + F.parameter_bytes() * key_tile;
        const float* query = q + b * F.group;
        for (int d = 0; d < n; d += 2) {
            const std::ptrdiff_t at = d * key_tile * F.bits / 8;
            if (at % line_bytes < 4 * F.bits) CAIRN_UNROLL
            for (int u = 0; u < U; ++u) fetch_line(codes + u * stride + at + ahead);
            V value[U][2];
            CAIRN_UNROLL
            for (int u = 0; u < U; ++u)
                key_lanes<F>(codes + u * stride, d, scale[u], least[u], value[u]);
            CAIRN_UNROLL
            for (int x = 0; x < 2; ++x) {
                if (d + x == n) break;
                CAIRN_UNROLL
                for (int i = 0; i < Q; ++i) {
                    const V at_dim = splat(query[i * q_stride + d + x]);
                    CAIRN_UNROLL
                    for (int u = 0; u < U; ++u) sum[i][u] = fma(value[u][x], at_dim, sum[i][u]);
                }
            }
        }
        unit += F.parameter_bytes() * key_tile + F.tile_code_bytes(k.dims);
    }
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) store(s + i * s_stride + u * key_tile, sum[i][u]);
}

// Units of `rows` positions each, U at a time where all their positions are wanted, one at a time
// through a buffer where not.
template <int rows, int U, int Q, class Unit>
CAIRN_INLINE void score_units(const RowsIn& k, float* s, std::ptrdiff_t s_stride, Unit score) {
    const std::byte* unit = k.unit;
    for (int at = -k.lane; at < k.count;) {
        if (at >= 0 && at + U * rows <= k.count) {
            score.template many<U>(unit, s + at, s_stride);
            at += U * rows;
            unit += U * k.stride;
            continue;
        }
        if (at >= 0 && at + rows <= k.count) {
            score.template many<1>(unit, s + at, s_stride);
        } else {
            float part[Q * rows];
            score.template many<1>(unit, part, rows);
            const int begin = at < 0 ? 0 : at;
            const int end = at + rows < k.count ? at + rows : k.count;
            for (int i = 0; i < Q; ++i)
                for (int j = begin; j < end; ++j) s[i * s_stride + j] = part[i * rows + j - at];
        }
        at += rows;
        unit += k.stride;
    }
}

// Chains of fma that keep the machine busy, in units of `vectors` of them a query.
template <int Q, int vectors>
inline constexpr int units_at_once = accumulators >= 8 ? (Q == 1 ? 8 : 4) / vectors : 1;

template <RowLayout F, int Q>
struct TileScore {
    const RowsIn& k;
    const float* q;
    std::ptrdiff_t q_stride;
    template <int U>
    CAIRN_INLINE void many(const std::byte* unit, float* s, std::ptrdiff_t s_stride) const {
        score_unit<F, Q, U>(k, unit, q, q_stride, s, s_stride);
    }
};
template <RowLayout F, int Q>
[[gnu::noinline]] void score_rows_of(const RowsIn& k, const float* q, std::ptrdiff_t q_stride,
                                     float* s, std::ptrdiff_t s_stride) {
    score_units<key_tile, units_at_once<Q, 1>, Q>(k, s, s_stride, TileScore<F, Q>{k, q, q_stride});
}

// Calls rows_of<Q>(rows, x, y) for 4, 3 or 1 of the queries at x and y until none is left. The
// first call asks for what is read later.
#define CAIRN_EACH_QUERIES(rows_of, first_of, rows, x, x_stride, y, y_stride)                   \
    RowsIn part = rows;                                                                         \
    for (int i = 0; i < queries;) {                                                             \
        const int n = queries - i >= 4 ? 4 : queries - i == 3 ? 3 : 1;                          \
        if (n == 4)                                                                             \
            rows_of<first_of, 4>(part, x + i * x_stride, x_stride, y + i * y_stride, y_stride); \
        else if (n == 3)                                                                        \
            rows_of<first_of, 3>(part, x + i * x_stride, x_stride, y + i * y_stride, y_stride); \
        else                                                                                    \
            rows_of<first_of, 1>(part, x + i * x_stride, x_stride, y + i * y_stride, y_stride); \
        part.ahead = part.beside = nullptr;                                                     \
        i += n;                                                                                 \
    }

template <RowLayout F>
void cached_scores(const RowsIn& k, const float* q, std::ptrdiff_t q_stride, int queries, float* s,
                   std::ptrdiff_t s_stride) {
    CAIRN_EACH_QUERIES(score_rows_of, F, k, q, q_stride, s, s_stride)
}

// Tiles as floats [tile][dim][16 positions], whole ones: a prompt's queries read them many times.
template <RowLayout F>
void unpack_keys(const RowsIn& k, float* to) {
    const std::byte* tile = k.unit;
    for (int at = -k.lane; at < k.count; at += key_tile, tile += k.stride) {
        const std::byte* unit = tile;
        for (int b = 0; b < F.blocks(k.dims); ++b) {
            V scale = splat(0.0F);
            V least = scale;
            if constexpr (F.scaled()) {
                scale = load(reinterpret_cast<const half_t*>(unit));
                if constexpr (F.least)
                    least = load(reinterpret_cast<const half_t*>(unit + 2 * key_tile));
                else if constexpr (F.offset != 0)
                    least = least_of<F>(scale);
            }
            const int n = F.block_dims(k.dims, b);
            for (int d = 0; d < n; d += 2) {
                V value[2];
                key_lanes<F>(unit + F.parameter_bytes() * key_tile, d, scale, least, value);
                for (int x = 0; x < 2 && d + x < n; ++x, to += key_tile) store(to, value[x]);
            }
            unit += F.parameter_bytes() * key_tile + F.tile_code_bytes(k.dims);
        }
    }
}

// U vectors of a row's codes from vector `first` on, which is even where there are several.
template <RowLayout F, int U>
CAIRN_INLINE void value_lanes(const std::byte* codes, int first, V scale, V least, V* to) {
    if constexpr (F.bits == 8) {
        std::byte last[32];
        if constexpr (U == 1) {
            V both[2];
            __builtin_memcpy(last, codes + 16 * first, 16);
            __builtin_memcpy(last + 16, last, 16);
            byte_lanes<F>(last, both);
            to[0] = both[0];
        } else {
            CAIRN_UNROLL
            for (int u = 0; u < U; u += 2) byte_lanes<F>(codes + 16 * (first + u), to + u);
        }
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) to[u] = scaled<F>(to[u], scale, least);
    } else if constexpr (F.bits == 5) {
        const I low = unsigned_bytes(codes);
        const I high = spread2(codes + F.group / 2);
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u)
            to[u] = scaled<F>(to_float(add_int(take(low, 4 * u, 15), raise4(take(high, u, 1)))),
                              scale, least);
    } else {
        // With tables, the numbers of all codes at once: a code then only chooses.
        V numbers = scale;
        if constexpr (short_tables)
            numbers = scaled<F>(code_table<F.bits, F.meaning>(), scale, least);
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) {
            const I code = F.bits == 4 ? unsigned_bytes(codes + (first + u) / 2 * 16)
                                       : spread2(codes + (first + u) * 4);
            const int shift = F.bits == 4 ? (first + u) % 2 * 4 : 0;
            if constexpr (short_tables)
                to[u] = entries(numbers, code, shift);
            else
                to[u] = scaled<F>(short_lanes<F.bits, F.meaning>(code, shift), scale, least);
        }
    }
}

// Adds Q weighted sums of rows to U vectors of dims from `first` on: the beginning of a block,
// unless blocks are whole rows.
template <RowLayout F, int Q, int U>
[[gnu::noinline]] void weigh_vectors(const RowsIn& v, int first, const float* p,
                                     std::ptrdiff_t p_stride, float* o, std::ptrdiff_t o_stride) {
    constexpr bool whole = !F.scaled() || F.group == 0;
    constexpr int per_block = whole || U < 2 ? U : 2;
    constexpr int block_bytes = F.parameter_bytes() + F.group * F.bits / 8;
    const std::byte* row = v.unit + (whole ? 0 : first / 32 * block_bytes);
    const std::ptrdiff_t ahead = way_ahead(v) + (whole ? first * F.bits / 8 : 0);
    V sum[Q][U];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) sum[i][u] = load(o + i * o_stride + 16 * u);
    const std::byte* beside = first == 0 && v.beside != nullptr ? v.beside : nullptr;
    const std::byte* until = beside;
    for (int j = 0; j < v.count; ++j, row += v.stride) {
        if (beside != nullptr)
            for (until += v.beside_bytes; beside < until; beside += line_bytes) fetch_line(beside);
        CAIRN_UNROLL
        for (int at = 0; at < U * 2 * F.bits; at += line_bytes) fetch_line(row + ahead + at);
        V value[U];
        CAIRN_UNROLL
        for (int u = 0; u < U; u += per_block) {
            const std::byte* at = whole ? row : row + u / 2 * block_bytes;
            V scale = splat(1.0F);
            V least = scale;
            if constexpr (F.scaled()) {
                scale = splat_half(at);
                if constexpr (F.least)
                    least = splat_half(at + 2);
                else if constexpr (F.offset != 0)
                    least = least_of<F>(scale);
            }
            value_lanes<F, per_block>(at + F.parameter_bytes(), whole ? first / 16 : 0, scale,
                                      least, value + u);
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
    for (int u = 0; u < U; ++u) store(o + i * o_stride + 16 * u, sum[i][u]);
}

template <RowLayout F, int Q>
[[gnu::noinline]] void weigh_rows_of(const RowsIn& v, const float* p, std::ptrdiff_t p_stride,
                                     float* o, std::ptrdiff_t o_stride) {
    constexpr int U = accumulators >= 8 ? 4 : 2;
    int d = 0;
    for (; d + 16 * U <= v.dims; d += 16 * U)
        weigh_vectors<F, Q, U>(v, d, p, p_stride, o + d, o_stride);
    for (; U > 2 && d + 32 <= v.dims; d += 32)
        weigh_vectors<F, Q, 2>(v, d, p, p_stride, o + d, o_stride);
    if (d == v.dims) return;
    // The last dims through a buffer: rows of codes are padded, rows of floats are not.
    float part[Q * 32];
    for (int i = 0; i < Q; ++i)
        for (int x = 0; x < 32; ++x)
            part[i * 32 + x] = d + x < v.dims ? o[i * o_stride + d + x] : 0.0F;
    if (v.dims - d > 16 || F.bits == 5)
        weigh_vectors<F, Q, 2>(v, d, p, p_stride, part, 32);
    else
        weigh_vectors<F, Q, 1>(v, d, p, p_stride, part, 32);
    for (int i = 0; i < Q; ++i)
        for (int x = 0; d + x < v.dims; ++x) o[i * o_stride + d + x] = part[i * 32 + x];
}

template <RowLayout F>
void cached_weigh(const RowsIn& v, const float* p, std::ptrdiff_t p_stride, int queries, float* o,
                  std::ptrdiff_t o_stride) {
    CAIRN_EACH_QUERIES(weigh_rows_of, F, v, p, p_stride, o, o_stride)
}

// Rows as floats, padded to whole vectors.
template <RowLayout F>
void unpack_values(const RowsIn& v, float* to) {
    constexpr bool whole = !F.scaled() || F.group == 0;
    constexpr int block_bytes = F.parameter_bytes() + F.group * F.bits / 8;
    const std::byte* row = v.unit;
    for (int j = 0; j < v.count; ++j, row += v.stride)
        for (int d = 0; d < v.dims; d += 32) {
            const std::byte* at = whole ? row : row + d / 32 * block_bytes;
            V scale = splat(1.0F);
            V least = scale;
            if constexpr (F.scaled()) {
                scale = splat_half(at);
                if constexpr (F.least)
                    least = splat_half(at + 2);
                else if constexpr (F.offset != 0)
                    least = least_of<F>(scale);
            }
            V value[2];
            const std::byte* codes = at + F.parameter_bytes();
            const int first = whole ? d / 16 : 0;
            const bool both = v.dims - d > 16;
            if (both || F.bits == 5)
                value_lanes<F, 2>(codes, first, scale, least, value);
            else
                value_lanes<F, 1>(codes, first, scale, least, value);
            for (int x = 0; x <= int{both}; ++x, to += 16) store(to, value[x]);
        }
}

// 32 numbers in two planes of 4 bits: the code is 16 * upper + lower, in 16ths of the scale from
// half a scale below the least.
CAIRN_INLINE void plane_lanes(const std::byte* upper, const std::byte* lower, V scale, V least,
                              V* to) {
    const V step = mul(scale, splat(0.0625F));
    const V origin = fma(scale, splat(-0.5F), least);
    const I high = unsigned_bytes(upper);
    const I low = unsigned_bytes(lower);
    to[0] = fma(to_float(add_int(raise4(take(high, 0, 15)), take(low, 0, 15))), step, origin);
    to[1] = fma(to_float(add_int(raise4(take(high, 4, 15)), take(low, 4, 15))), step, origin);
}

// The numbers of dim d in a unit of 32 positions with a scale and a least a channel.
// `plane`: bytes from the upper halves of codes of 8 bits to their lower ones.
template <int bits>
CAIRN_INLINE void channel_lanes(const std::byte* codes, int d, [[maybe_unused]] int plane, V scale,
                                V least, V* to) {
    if constexpr (bits == 8) {
        plane_lanes(codes + d * 16, codes + plane + d * 16, scale, least, to);
        return;
    }
    const I both = unsigned_bytes(codes + (bits == 4 ? d : d / 2) * 16);
    const int low = bits == 4 ? 0 : d % 2 * 4;
    if constexpr (short_tables) {
        const V numbers = fma(code_table<bits, Meaning::plain>(), scale, least);
        to[0] = entries(numbers, both, low);
        to[1] = entries(numbers, both, low + bits);
    } else {
        to[0] = fma(to_float(take(both, low, (1 << bits) - 1)), scale, least);
        to[1] = fma(to_float(take(both, low + bits, (1 << bits) - 1)), scale, least);
    }
}

// U such units, Q queries.
template <int bits, int Q, int U>
[[gnu::noinline]] void score_channels(const RowsIn& k, const std::byte* unit, const float* q,
                                      std::ptrdiff_t q_stride, float* s, std::ptrdiff_t s_stride) {
    constexpr int width = bits == 8 ? 4 : bits;  // of a code in its plane
    const int dims = k.dims;
    const std::ptrdiff_t ahead = way_ahead(k);
    V sum[Q][U][2];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) sum[i][u][0] = sum[i][u][1] = splat(0.0F);
    for (int d = 0; d < dims; ++d) {
        V value[U][2];
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) {
            const std::byte* at = unit + u * k.stride;
            const std::byte* codes = at + 4 * dims;
            if (d % (16 / width) == 0) fetch_line(codes + d * 4 * width + ahead);
            if (bits == 8 && d % 4 == 0) fetch_line(codes + (dims + d) * 16 + ahead);
            if (d % 16 == 0) fetch_line(at + d * 4 + ahead);
            channel_lanes<bits>(codes, d, dims * 16, splat_half(at + 2 * d),
                                splat_half(at + 2 * (dims + d)), value[u]);
        }
        CAIRN_UNROLL
        for (int i = 0; i < Q; ++i) {
            const V query = splat(q[i * q_stride + d]);
            CAIRN_UNROLL
            for (int u = 0; u < U; ++u) {
                sum[i][u][0] = fma(value[u][0], query, sum[i][u][0]);
                sum[i][u][1] = fma(value[u][1], query, sum[i][u][1]);
            }
        }
    }
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) {
        store(s + i * s_stride + u * channel_group, sum[i][u][0]);
        store(s + i * s_stride + u * channel_group + 16, sum[i][u][1]);
    }
}

template <int bits, int Q>
struct ChannelScore {
    const RowsIn& k;
    const float* q;
    std::ptrdiff_t q_stride;
    template <int U>
    CAIRN_INLINE void many(const std::byte* unit, float* s, std::ptrdiff_t s_stride) const {
        score_channels<bits, Q, U>(k, unit, q, q_stride, s, s_stride);
    }
};
template <int bits, int Q>
[[gnu::noinline]] void score_channels_of(const RowsIn& k, const float* q, std::ptrdiff_t q_stride,
                                         float* s, std::ptrdiff_t s_stride) {
    score_units<channel_group, units_at_once<Q, 2>, Q>(k, s, s_stride,
                                                       ChannelScore<bits, Q>{k, q, q_stride});
}

// Units as two tiles of floats each, as unpack_keys leaves them.
template <int bits>
void unpack_channels(const RowsIn& k, float* to) {
    const int dims = k.dims;
    const std::byte* unit = k.unit;
    for (int at = -k.lane; at < k.count; at += channel_group, unit += k.stride) {
        for (int d = 0; d < dims; ++d) {
            V value[2];
            channel_lanes<bits>(unit + 4 * dims, d, dims * 16, splat_half(unit + 2 * d),
                                splat_half(unit + 2 * (dims + d)), value);
            store(to + d * key_tile, value[0]);
            store(to + (dims + d) * key_tile, value[1]);
        }
        to += 2 * dims * key_tile;
    }
}

template <int bits>
void channel_scores(const RowsIn& k, const float* q, std::ptrdiff_t q_stride, int queries, float* s,
                    std::ptrdiff_t s_stride) {
    CAIRN_EACH_QUERIES(score_channels_of, bits, k, q, q_stride, s, s_stride)
}

// Values in two planes, units of 32 rows: rows of q4_1 with the upper halves, then rows of the
// lower ones, 16 bytes for 32 dims. Adds the rows of one unit to U vectors of dims from `first` on.
template <int Q, int U>
[[gnu::noinline]] void weigh_plane_vectors(const RowsIn& v, const std::byte* lower, int first,
                                           const float* p, std::ptrdiff_t p_stride, float* o,
                                           std::ptrdiff_t o_stride) {
    const int blocks = (v.dims + 31) / 32;
    const std::byte* upper = v.unit + first / 32 * 20;
    lower += first / 32 * 16;
    V sum[Q][U];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) sum[i][u] = load(o + i * o_stride + 16 * u);
    for (int j = 0; j < v.count; ++j, upper += 20 * blocks, lower += 16 * blocks) {
        fetch_line(upper + v.stride);
        fetch_line(lower + v.stride);
        V value[U];
        CAIRN_UNROLL
        for (int u = 0; u < U; u += 2) {
            const std::byte* at = upper + u / 2 * 20;
            plane_lanes(at + 4, lower + u / 2 * 16, splat_half(at), splat_half(at + 2), value + u);
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
    for (int u = 0; u < U; ++u) store(o + i * o_stride + 16 * u, sum[i][u]);
}
template <int bits, int Q>
[[gnu::noinline]] void weigh_planes_of(const RowsIn& v, const float* p, std::ptrdiff_t p_stride,
                                       float* o, std::ptrdiff_t o_stride) {
    constexpr int U = accumulators >= 8 ? 4 : 2;
    const int blocks = (v.dims + 31) / 32;
    RowsIn unit = v;
    int lane = v.lane;
    for (int at = 0; at < v.count; at += unit.count, lane = 0) {
        const std::byte* base = v.unit + (v.lane + at) / channel_group * v.stride;
        unit.unit = base + lane * 20 * blocks;
        unit.count = channel_group - lane < v.count - at ? channel_group - lane : v.count - at;
        const std::byte* lower = base + channel_group * 20 * blocks + lane * 16 * blocks;
        int d = 0;
        for (; d + 16 * U <= v.dims; d += 16 * U)
            weigh_plane_vectors<Q, U>(unit, lower, d, p + at, p_stride, o + d, o_stride);
        for (; U > 2 && d + 32 <= v.dims; d += 32)
            weigh_plane_vectors<Q, 2>(unit, lower, d, p + at, p_stride, o + d, o_stride);
        if (d == v.dims) continue;
        float part[Q * 32];
        for (int i = 0; i < Q; ++i)
            for (int x = 0; x < 32; ++x)
                part[i * 32 + x] = d + x < v.dims ? o[i * o_stride + d + x] : 0.0F;
        weigh_plane_vectors<Q, 2>(unit, lower, d, p + at, p_stride, part, 32);
        for (int i = 0; i < Q; ++i)
            for (int x = 0; d + x < v.dims; ++x) o[i * o_stride + d + x] = part[i * 32 + x];
    }
}
inline void plane_weigh(const RowsIn& v, const float* p, std::ptrdiff_t p_stride, int queries,
                        float* o, std::ptrdiff_t o_stride) {
    CAIRN_EACH_QUERIES(weigh_planes_of, 8, v, p, p_stride, o, o_stride)
}
#undef CAIRN_EACH_QUERIES

// The products of a format.
template <RowLayout F>
inline constexpr Products products{cached_scores<F>, cached_weigh<F>, unpack_keys<F>,
                                   unpack_values<F>};
// Keys by channel; of 8 bits, in two planes, values as well.
template <int bits>
inline constexpr Products channel_products{channel_scores<bits>, bits == 8 ? &plane_weigh : nullptr,
                                           unpack_channels<bits>, nullptr};
