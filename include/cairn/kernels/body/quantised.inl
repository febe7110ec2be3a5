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
    const int bits = layout.wide() ? 4 : layout.bits();
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

// A product with one row reads a panel at a time, its codes and its scales apart: streams too short
// for the machine's own prefetchers. So it asks for memory in one ascending sweep over everything,
// codes and scales in turn, as far ahead as the next panel's same place, which the first-level
// cache still holds when the product comes there. Where a panel is too long for that, the sweep is
// over the codes, and scales are asked for a panel ahead. An address outside is ignored.
inline constexpr std::ptrdiff_t sweep_most = 28 * 1024;
inline constexpr std::ptrdiff_t sweep_codes = 16 * 1024;
inline constexpr std::ptrdiff_t sweep_start = 8 * 1024;
template <int bytes>
CAIRN_INLINE void fetch(const std::byte* at) {
    CAIRN_UNROLL
    for (int i = 0; i < bytes; i += 64) __builtin_prefetch(at + i, 0, 3);
}
inline void fetch_all(const std::byte* at, std::ptrdiff_t bytes) {
    for (std::ptrdiff_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i, 0, 3);
}
// What the sweep would have asked for before its first panel.
template <BlockLayout L>
void start_sweep(const std::byte* first, std::ptrdiff_t in) {
    const std::ptrdiff_t size = panel_bytes(L, in);
    const std::ptrdiff_t codes = in / 32 * code_bytes(L);
    fetch_all(first, size < sweep_start ? size : sweep_start);
    if (size > sweep_most) fetch_all(first + codes, size - codes);
}

template <BlockLayout L>
CAIRN_INLINE void gemv_panel(const BlockProduct& a, std::ptrdiff_t index) {
    constexpr int spans = L.values / 32;
    constexpr int halves = 32 / L.group;
    constexpr int step = (spans * code_bytes(L) + scale_bytes(L)) / spans;
    const std::ptrdiff_t size = panel_bytes(L, a.in);
    const std::byte* codes = a.weights + index * size;
    const std::ptrdiff_t in_codes = a.in / 32 * code_bytes(L);
    const std::byte* scales = codes + in_codes;
    const bool whole = size <= sweep_most;
    const std::byte* next = codes + (whole ? size : sweep_codes);
    const std::ptrdiff_t advance = whole ? step : code_bytes(L);
    // Where the sweep leaves the codes of this panel for the next one's.
    const std::byte* turn = whole ? codes + 2 * size : scales;
    const std::ptrdiff_t skip = size - in_codes;
    V sum = start_of(a, index * panel);
    const std::int32_t* q = a.x.q;
    std::ptrdiff_t span = 0;
    for (std::ptrdiff_t block = 0; block < a.in / L.values; ++block, scales += scale_bytes(L)) {
        if (!whole) fetch<scale_bytes(L)>(scales + size);
        for (int s = 0; s < spans; ++s, ++span, q += 8, codes += code_bytes(L), next += advance) {
            if (next >= turn) {
                next += skip;
                turn += size;
            }
            fetch<step>(next);
            const V d = splat(a.x.d[span]);
            CAIRN_UNROLL
            for (int h = 0; h < halves; ++h) {
                const std::ptrdiff_t group = span * halves + h;
                I dots = first_sum<L.wide()>(a.x.start[group]);
                if (halves == 1)
                    dots = dot_units<L, 0, 8>(dots, codes, q);
                else if (h == 0)
                    dots = dot_units<L, 0, 4>(dots, codes, q);
                else
                    dots = dot_units<L, 4, 4>(dots, codes, q);
                const int g = s * halves + h;
                sum = fma(to_float(dots), mul(scale_lanes<L>(scales, g), d), sum);
                if constexpr (L.minimum)
                    sum = fma(minimum_lanes<L>(scales, g), splat(a.x.sums[group]), sum);
            }
        }
    }
    store_upto(a.y + index * panel, sum, a.out - index * panel);
}

template <BlockLayout L>
void gemv(const BlockProduct& a) {
    start_sweep<L>(a.weights + a.panel_begin * panel_bytes(L, a.in), a.in);
    for (std::ptrdiff_t p = a.panel_begin; p < a.panel_end; ++p) gemv_panel<L>(a, p);
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
