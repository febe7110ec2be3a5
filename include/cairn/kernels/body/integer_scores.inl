// Scores of quantised keys with quantised queries, written once over V (16 floats), I (16 integers)
// and B (4 bytes each of 16 positions). Integers add up the same in any order, so what is summed
// how is each instruction set's own affair; the floats around them are the same everywhere:
//
//   score = sum over blocks of 32 dims, ascending: fma(sum of bytes, scale of keys * of query, ...)
//   with a least: then fma(least, scale of query * sum of query, ...)

using kernels::cached::query_blocks;
using kernels::cached::QueryBlock;

// Adds the products of one block of U tiles: part[query][tile].
template <RowLayout F, int Q, int U>
CAIRN_INLINE void integer_block(const RowsIn& k, const std::byte* codes, int dims,
                                const QueryBlock* q, std::ptrdiff_t q_stride, I (*part)[U]) {
    const std::ptrdiff_t ahead = way_ahead(k);
    constexpr int step = F.bits == 8 ? 4 : 8;  // dims in 64 bytes
    for (int d = 0; d < dims; d += step) {
        B low[U];
        B high[U];
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) {
            const std::byte* from = codes + d * key_tile * F.bits / 8 + u * k.stride;
            fetch_line(from + ahead);
            if constexpr (F.bits == 8) {
                std::byte rest[64] = {};
                if (F.group == 0 && dims - d < 4) {  // a whole row is padded to pairs only
                    __builtin_memcpy(rest, from, static_cast<std::size_t>((dims - d) * key_tile));
                    from = rest;
                }
                low[u] = high[u] = shifted_bytes(quads(from));
            } else {
                const B both = quads(from);
                low[u] = low_half(both);
                high[u] = high_half(both);
            }
        }
        CAIRN_UNROLL
        for (int i = 0; i < Q; ++i) {
            const QueryBlock& query = q[i * q_stride];
            std::int32_t four;
            __builtin_memcpy(&four, (F.bits == 8 ? query.dims : query.split) + d, 4);
            CAIRN_UNROLL
            for (int u = 0; u < U; ++u)
                part[i][u] = F.bits == 8 ? dot_bytes(part[i][u], low[u], four)
                                         : dot_halves(part[i][u], low[u], four);
            if constexpr (F.bits == 4) {
                __builtin_memcpy(&four, query.split + d + 4, 4);
                CAIRN_UNROLL
                for (int u = 0; u < U; ++u) part[i][u] = dot_halves(part[i][u], high[u], four);
            }
        }
    }
}

// U tiles of 16 positions, Q queries.
template <RowLayout F, int Q, int U>
[[gnu::noinline]] void integer_unit(const RowsIn& k, const std::byte* unit, const QueryBlock* q,
                                    float* s, std::ptrdiff_t s_stride) {
    constexpr int zero = F.bits == 8 ? byte_zero : F.least ? 0 : F.offset;
    const int blocks = query_blocks(k.dims);
    V sum[Q][U];
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) sum[i][u] = splat(0.0F);
    const std::byte* parameters = unit;
    const std::byte* codes = unit + F.parameter_bytes() * key_tile;
    for (int b = 0; b < blocks; ++b) {
        I part[Q][U];
        CAIRN_UNROLL
        for (int i = 0; i < Q; ++i) CAIRN_UNROLL
        for (int u = 0; u < U; ++u) part[i][u] = splat_int(-zero * q[i * blocks + b].sum);
        const int left = k.dims - 32 * b;
        integer_block<F, Q, U>(k, codes, left < 32 ? left : 32, q + b, blocks, part);
        CAIRN_UNROLL
        for (int u = 0; u < U; ++u) {
            const auto* halves = reinterpret_cast<const half_t*>(parameters + u * k.stride);
            const V scale = load(halves);
            CAIRN_UNROLL
            for (int i = 0; i < Q; ++i) {
                const QueryBlock& query = q[i * blocks + b];
                const V factor = mul(scale, splat(query.scale));
                sum[i][u] = fma(to_float(in_order(part[i][u])), factor, sum[i][u]);
                if constexpr (F.least)
                    sum[i][u] = fma(load(halves + key_tile), splat(query.scaled_sum), sum[i][u]);
            }
        }
        codes += 32 * key_tile * F.bits / 8;
        if constexpr (F.group != 0) {
            parameters = codes;
            codes += F.parameter_bytes() * key_tile;
        }
    }
    CAIRN_UNROLL
    for (int i = 0; i < Q; ++i) CAIRN_UNROLL
    for (int u = 0; u < U; ++u) store(s + i * s_stride + u * key_tile, sum[i][u]);
}

template <RowLayout F, int Q>
struct IntegerScore {
    const RowsIn& k;
    const QueryBlock* q;
    template <int U>
    void many(const std::byte* unit, float* s, std::ptrdiff_t s_stride) const {
        integer_unit<F, Q, U>(k, unit, q, s, s_stride);
    }
};
template <RowLayout F, int Q>
[[gnu::noinline]] void integer_scores_of(const RowsIn& k, const QueryBlock* q, float* s,
                                         std::ptrdiff_t s_stride) {
    constexpr int U = accumulators >= 8 ? Q == 1 ? 4 : 2 : 1;
    score_units<key_tile, U, Q>(k, s, s_stride, IntegerScore<F, Q>{k, q});
}

template <RowLayout F>
void integer_scores(const RowsIn& k, const QueryBlock* q, int queries, float* s,
                    std::ptrdiff_t s_stride) {
    static_assert(F.integers() && (F.group == 0 || F.group == 32));
    const int blocks = query_blocks(k.dims);
    RowsIn part = k;
    for (int i = 0; i < queries;) {
        const int n = queries - i >= 4 ? 4 : queries - i == 3 ? 3 : 1;
        if (n == 4)
            integer_scores_of<F, 4>(part, q + i * blocks, s + i * s_stride, s_stride);
        else if (n == 3)
            integer_scores_of<F, 3>(part, q + i * blocks, s + i * s_stride, s_stride);
        else
            integer_scores_of<F, 1>(part, q + i * blocks, s + i * s_stride, s_stride);
        part.ahead = nullptr;
        i += n;
    }
}
