// Products with quantised weights, written once over V (16 floats), I (16 int32) and B (64 bytes).
// Integer sums are exact, so how a group's product is computed does not matter; groups then join in
// one order for every instruction set and any number of rows:
//   y = bias;  for each group:  y = fma(isum, scale * d, y);  y = fma(minimum, d * sum q, y)

// Whether a Part is a sum of its own, of pairs in 16 bits, that has to join the 32-bit sums before
// it overflows. Codes of 8 bits are then taken as two of 4: 16 * high + low.
inline constexpr bool short_parts = !std::is_same_v<Part, I>;
constexpr bool halved(const BlockLayout& layout) { return short_parts && layout.wide(); }
// Units whose dot products a Part can hold.
constexpr int units_of_part(const BlockLayout& layout) {
    const int bits = layout.wide() ? 4 : layout.low_bits + layout.high_bits;
    const int units = short_parts ? 32767 / (2 * 127 * ((1 << bits) - 1)) : 8;
    return units < layout.group / 4 ? units : layout.group / 4;
}

// Units [first, first + count) of 32 columns against the bytes at q.
template <BlockLayout L, int first, int count>
CAIRN_INLINE Part dot_part(Part part, const std::byte* codes, const std::int32_t* q) {
    if constexpr (count > 0) {
        part = dot<L.wide()>(part, unit<L, first>(codes), q[first]);
        return dot_part<L, first + 1, count - 1>(part, codes, q);
    }
    return part;
}
template <BlockLayout L, int first, int count>
CAIRN_INLINE void dot_halves(Part& low, Part& high, const std::byte* codes, const std::int32_t* q) {
    if constexpr (count > 0) {
        const B code = unit<L, first>(codes);
        low = dot<false>(low, low_half(code), q[first]);
        high = dot<false>(high, high_half(code), q[first]);
        dot_halves<L, first + 1, count - 1>(low, high, codes, q);
    }
}
template <BlockLayout L, int first, int count>
CAIRN_INLINE I dot_units(I sum, const std::byte* codes, const std::int32_t* q) {
    if constexpr (count > 0) {
        constexpr int units = units_of_part(L);
        if constexpr (halved(L)) {
            Part low = start_part(sum), high = start_part(sum);
            dot_halves<L, first, units>(low, high, codes, q);
            sum = add_part<16>(add_part<1>(sum, low), high);
        } else {
            sum = add_part<1>(sum, dot_part<L, first, units>(start_part(sum), codes, q));
        }
        return dot_units<L, first + units, count - units>(sum, codes, q);
    }
    return sum;
}

CAIRN_INLINE V start_of(const BlockProduct& a, std::ptrdiff_t n) {
    return a.bias != nullptr ? load_upto(a.bias + n, a.out - n) : splat(0.0F);
}

// How far ahead of its streams a product with one row asks for weights. It reads P panels side by
// side, codes and scales apart, each stream too short for the machine's own prefetchers to get
// going; so every line asks for the one at the same place in the next P panels, as long as a second
// level cache holds them. (Panels of plain numbers are long enough: there it gains nothing.)
inline std::ptrdiff_t fetch_distance(std::ptrdiff_t group_bytes) {
    return group_bytes <= 768 * 1024 ? group_bytes : 0;
}
// Asks for `bytes` at `at`: into the second-level cache. An address outside is ignored.
template <int bytes>
CAIRN_INLINE void fetch(const std::byte* at) {
    CAIRN_UNROLL
    for (int i = 0; i < bytes; i += 64) __builtin_prefetch(at + i, 0, 2);
}

template <BlockLayout L, int P>
CAIRN_INLINE void gemv_panels(const BlockProduct& a, std::ptrdiff_t first) {
    constexpr int spans = L.values / 32;
    constexpr int halves = 32 / L.group;
    const std::byte* codes[P];
    const std::byte* scales[P];
    V sum[P];
    CAIRN_UNROLL
    for (int p = 0; p < P; ++p) {
        codes[p] = a.weights + (first + p) * panel_bytes(L, a.in);
        scales[p] = codes[p] + a.in / 32 * code_bytes(L);
        sum[p] = start_of(a, (first + p) * panel);
    }
    const std::ptrdiff_t ahead = fetch_distance(P * panel_bytes(L, a.in));
    const std::int32_t* q = a.x.q;
    std::ptrdiff_t span = 0;
    for (std::ptrdiff_t block = 0; block < a.in / L.values; ++block) {
        CAIRN_UNROLL
        for (int p = 0; p < P; ++p) fetch<scale_bytes(L)>(scales[p] + ahead);
        for (int s = 0; s < spans; ++s, ++span, q += 8) {
            const V d = splat(a.x.d[span]);
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p) fetch<code_bytes(L)>(codes[p] + ahead);
            CAIRN_UNROLL
            for (int h = 0; h < halves; ++h) {
                const std::ptrdiff_t group = span * halves + h;
                CAIRN_UNROLL
                for (int p = 0; p < P; ++p) {
                    I dots = first_sum<L.wide()>(a.x.start[group]);
                    if (halves == 1)
                        dots = dot_units<L, 0, 8>(dots, codes[p], q);
                    else if (h == 0)
                        dots = dot_units<L, 0, 4>(dots, codes[p], q);
                    else
                        dots = dot_units<L, 4, 4>(dots, codes[p], q);
                    const int g = s * halves + h;
                    sum[p] = fma(to_float(dots), mul(scale_lanes<L>(scales[p], g), d), sum[p]);
                    if constexpr (L.minimum)
                        sum[p] =
                            fma(minimum_lanes<L>(scales[p], g), splat(a.x.sums[group]), sum[p]);
                }
            }
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p) codes[p] += code_bytes(L);
        }
        CAIRN_UNROLL
        for (int p = 0; p < P; ++p) scales[p] += scale_bytes(L);
    }
    CAIRN_UNROLL
    for (int p = 0; p < P; ++p) {
        const std::ptrdiff_t n = (first + p) * panel;
        store_upto(a.y + n, sum[p], a.out - n);
    }
}

template <BlockLayout L>
void gemv(const BlockProduct& a) {
    std::ptrdiff_t p = a.panel_begin;
    if constexpr (gemv_streams > 1)
        for (; p + gemv_streams <= a.panel_end; p += gemv_streams)
            gemv_panels<L, gemv_streams>(a, p);
    for (; p < a.panel_end; ++p) gemv_panels<L, 1>(a, p);
}

#include "cairn/kernels/body/quantised_tile.inl"

template <std::size_t... i>
constexpr BlockKernels kernels_of(std::index_sequence<i...>) noexcept {
    using cairn::quantised::formats;
    return {.tile_rows = gemm_rows,
            .quantise = quantise,
            .gemv = {gemv<formats[i]->layout>...},
            .gemm = {gemm<formats[i]->layout>...},
            .decode = {decode_panel<formats[i]->layout>...},
            .gemm_scratch = gemm_scratch};
}
inline constexpr BlockKernels block_kernels =
    kernels_of(std::make_index_sequence<cairn::quantised::formats.size()>());
