// Many rows: the codes of gemm_panels panels are spread out to bytes once, and all rows use them.
static_assert(kernels::quantised::tile_group % gemm_panels == 0);
inline constexpr std::ptrdiff_t most_planes = short_parts ? 2 : 1;
inline std::ptrdiff_t gemm_scratch(std::ptrdiff_t in) {
    return gemm_panels * (most_planes * in * panel / 4 + 2 * (in / 16) * panel);
}

template <int group, bool minimum, bool wide, int units, int P>
CAIRN_INLINE void gemm_tile(const BlockProduct& a, const Spread& w, std::ptrdiff_t first,
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
    constexpr std::ptrdiff_t stride = span_bytes<(wide && short_parts)>;
    for (std::ptrdiff_t span = 0; span < a.in / 32; ++span, d += R, codes += gemm_panels * stride) {
        CAIRN_UNROLL
        for (int h = 0; h < halves; ++h, start += R, sums += R) {
            I dots[R][P];
            CAIRN_UNROLL
            for (int r = 0; r < R; ++r) {
                CAIRN_UNROLL
                for (int p = 0; p < P; ++p) dots[r][p] = first_sum<wide>(start[r]);
            }
            constexpr int all = 8 / halves;
            group_dots<wide, 1, all, units, stride>(dots, codes + h * all * 64, q);
            if constexpr (wide && short_parts) {
                const std::int32_t* again = q;
                asm("" : "+r"(again));  // or what the low halves read is kept, in memory
                group_dots<wide, 16, all, units, stride>(dots, codes + plane_bytes + h * all * 64, again);
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
[[gnu::noinline]] void gemm_rows_of(const BlockProduct& a, const Spread& w, std::ptrdiff_t first,
                                    std::ptrdiff_t present) {
    for (std::ptrdiff_t row = 0; row < a.rows; row += gemm_rows) {
        if (gemm_panels == 1 || present < gemm_panels)
            gemm_tile<group, minimum, wide, units, 1>(a, w, first, row);
        else
            gemm_tile<group, minimum, wide, units, gemm_panels>(a, w, first, row);
    }
}
template <BlockLayout L>
void gemm(const BlockProduct& a, float* scratch) {
    const Spread w{reinterpret_cast<std::byte*>(scratch),
                   scratch + gemm_panels * (most_planes * a.in * panel / 4),
                   scratch + gemm_panels * (most_planes * a.in * panel / 4 + a.in / 16 * panel)};
    for (std::ptrdiff_t p = a.panel_begin; p < a.panel_end;) {
        const std::ptrdiff_t present = a.panel_end - p >= gemm_panels ? gemm_panels : 1;
        spread<L, gemm_panels, halved(L), put_units>(a, p, static_cast<int>(present), w);
        gemm_rows_of<L.group, L.minimum, L.wide(), units_of_part(L)>(a, w, p, present);
        p += present;
    }
}
