// Many rows: the codes of gemm_panels panels are spread out to bytes once, and all rows use them.
// Scratch: codes [span][panel][8][64] (where they are halved: all low halves of a span and panel,
// then the high ones), scales [group][panel][16], minima likewise.
static_assert(kernels::quantised::tile_group % gemm_panels == 0);
inline constexpr std::ptrdiff_t plane_bytes = 512;
inline constexpr std::ptrdiff_t most_planes = short_parts ? 2 : 1;
inline std::ptrdiff_t gemm_scratch(std::ptrdiff_t in) {
    return gemm_panels * (most_planes * in * panel / 4 + 2 * (in / 16) * panel);
}
// Of one panel's 32 columns.
template <bool halves>
inline constexpr std::ptrdiff_t span_bytes = halves ? 2 * plane_bytes : plane_bytes;
struct Spread {
    std::byte* codes;
    float* scales;
    float* minima;
};

template <Layout L, int j>
CAIRN_INLINE void spread_units(const std::byte* codes, std::byte* to) {
    if constexpr (j < 8) {
        const B code = unit<L, j>(codes);
        store_bytes(to + 64 * j, halved(L) ? low_half(code) : code);
        if constexpr (halved(L)) store_bytes(to + plane_bytes + 64 * j, high_half(code));
        spread_units<L, j + 1>(codes, to);
    }
}
template <Layout L>
[[gnu::noinline]] void spread(const Linear& a, std::ptrdiff_t first, int present,
                              const Spread& to) {
    constexpr int halves = 32 / L.group;
    for (int p = 0; p < present; ++p) {
        const std::byte* codes = a.weights + (first + p) * panel_bytes(L, a.in);
        const std::byte* scales = codes + a.in / 32 * code_bytes(L);
        for (std::ptrdiff_t span = 0; span < a.in / 32; ++span) {
            spread_units<L, 0>(codes + span * code_bytes(L),
                               to.codes + (span * gemm_panels + p) * span_bytes<halved(L)>);
            const std::byte* at = scales + span * 32 / L.values * scale_bytes(L);
            for (int h = 0; h < halves; ++h) {
                const int g = static_cast<int>(span % (L.values / 32)) * halves + h;
                const std::ptrdiff_t lanes_at = ((span * halves + h) * gemm_panels + p) * panel;
                store(to.scales + lanes_at, scale_lanes<L>(at, g));
                if constexpr (L.minimum) store(to.minima + lanes_at, minimum_lanes<L>(at, g));
            }
        }
    }
}

// The dot products of one group, `all` units, with the R rows at q; `units` of them in one part.
template <bool wide, int by, int all, int units, int R, int P>
CAIRN_INLINE void group_dots(I (&dots)[R][P], const std::byte* codes, const std::int32_t* q) {
    CAIRN_UNROLL
    for (int j = 0; j < all; j += units) {
        Part part[R][P];
        CAIRN_UNROLL
        for (int r = 0; r < R; ++r) {
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p) part[r][p] = start_part(dots[r][p]);
        }
        CAIRN_UNROLL
        for (int u = 0; u < units; ++u, q += R) {
            B code[P];
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p)
                code[p] = load_bytes(codes + p * span_bytes<(wide && short_parts)> + (j + u) * 64);
            CAIRN_UNROLL
            for (int r = 0; r < R; ++r) {
                CAIRN_UNROLL
                for (int p = 0; p < P; ++p) part[r][p] = dot<wide>(part[r][p], code[p], q[r]);
            }
        }
        CAIRN_UNROLL
        for (int r = 0; r < R; ++r) {
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p) dots[r][p] = add_part<by>(dots[r][p], part[r][p]);
        }
    }
}

template <int group, bool minimum, bool wide, int units, int P>
CAIRN_INLINE void gemm_tile(const Linear& a, const Spread& w, std::ptrdiff_t first,
                            std::ptrdiff_t row) {
    constexpr int R = gemm_rows;
    constexpr int halves = 32 / group;
    V sum[R][P];
    CAIRN_UNROLL
    for (int p = 0; p < P; ++p) {
        const V begin = start_of(a, (first + p) * panel);
        CAIRN_UNROLL
        for (int r = 0; r < R; ++r) sum[r][p] = begin;
    }
    const std::int32_t* q = a.x.q + row * (a.in / 4);
    const float* d = a.x.d + row * (a.in / 32);
    const std::int32_t* start = a.x.start + row * (a.in / group);
    const float* sums = a.x.sums + row * (a.in / group);
    const std::byte* codes = w.codes;
    constexpr std::ptrdiff_t step = gemm_panels * span_bytes<(wide && short_parts)>;
    for (std::ptrdiff_t span = 0; span < a.in / 32; ++span, d += R, codes += step) {
        CAIRN_UNROLL
        for (int h = 0; h < halves; ++h, start += R, sums += R) {
            I dots[R][P];
            CAIRN_UNROLL
            for (int r = 0; r < R; ++r) {
                CAIRN_UNROLL
                for (int p = 0; p < P; ++p) dots[r][p] = first_sum<wide>(start[r]);
            }
            constexpr int all = 8 / halves;
            group_dots<wide, 1, all, units>(dots, codes + h * all * 64, q);
            if constexpr (wide && short_parts) {
                const std::int32_t* again = q;
                asm("" : "+r"(again));  // or what the low halves read is kept, in memory
                group_dots<wide, 16, all, units>(dots, codes + plane_bytes + h * all * 64, again);
            }
            q += all * R;
            const std::ptrdiff_t lanes_at = (span * halves + h) * gemm_panels * panel;
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p) {
                const V scale = load(w.scales + lanes_at + p * panel);
                CAIRN_UNROLL
                for (int r = 0; r < R; ++r)
                    sum[r][p] = fma(to_float(dots[r][p]), mul(scale, splat(d[r])), sum[r][p]);
                if constexpr (minimum) {
                    const V least = load(w.minima + lanes_at + p * panel);
                    CAIRN_UNROLL
                    for (int r = 0; r < R; ++r) sum[r][p] = fma(least, splat(sums[r]), sum[r][p]);
                }
            }
        }
    }
    CAIRN_UNROLL
    for (int r = 0; r < R; ++r) {
        if (row + r >= a.rows) break;
        CAIRN_UNROLL
        for (int p = 0; p < P; ++p) {
            const std::ptrdiff_t n = (first + p) * panel;
            store_upto(a.y + (row + r) * a.y_stride + n, sum[r][p], a.out - n);
        }
    }
}
template <int group, bool minimum, bool wide, int units>
[[gnu::noinline]] void gemm_rows_of(const Linear& a, const Spread& w, std::ptrdiff_t first,
                                    std::ptrdiff_t present) {
    for (std::ptrdiff_t row = 0; row < a.rows; row += gemm_rows) {
        if (present == gemm_panels)
            gemm_tile<group, minimum, wide, units, gemm_panels>(a, w, first, row);
        else
            gemm_tile<group, minimum, wide, units, 1>(a, w, first, row);
    }
}
template <Layout L>
void gemm(const Linear& a, float* scratch) {
    const Spread w{reinterpret_cast<std::byte*>(scratch),
                   scratch + gemm_panels * (most_planes * a.in * panel / 4),
                   scratch + gemm_panels * (most_planes * a.in * panel / 4 + a.in / 16 * panel)};
    for (std::ptrdiff_t p = a.panel_begin; p < a.panel_end;) {
        const std::ptrdiff_t present = a.panel_end - p >= gemm_panels ? gemm_panels : 1;
        spread<L>(a, p, static_cast<int>(present), w);
        gemm_rows_of<L.group, L.minimum, L.wide(), units_of_part(L)>(a, w, p, present);
        p += present;
    }
}
