// Products with quantised weights, written once over V (16 floats), I (16 int32) and B (64 bytes).
// Integer sums are exact, so how a group's product is computed does not matter; groups then join in
// one order for every instruction set and any number of rows:
//   y = bias;  for each group:  y = fma(isum, scale * d, y);  y = fma(minimum, d * sum q, y)

#include "cairn/kernels/body/quantised_units.inl"

CAIRN_INLINE V start_of(const Linear& a, std::ptrdiff_t n) {
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

template <Layout L, int P>
CAIRN_INLINE void gemv_panels(const Linear& a, std::ptrdiff_t first) {
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

template <Layout L>
void gemv(const Linear& a) {
    std::ptrdiff_t p = a.panel_begin;
    if constexpr (gemv_streams >= 4)
        for (; p + 4 <= a.panel_end; p += 4) gemv_panels<L, 4>(a, p);
    if constexpr (gemv_streams >= 2)
        for (; p + 2 <= a.panel_end; p += 2) gemv_panels<L, 2>(a, p);
    for (; p < a.panel_end; ++p) gemv_panels<L, 1>(a, p);
}

#include "cairn/kernels/body/quantised_tile.inl"

// A panel as f32 [in][16]: the numbers that value_of defines.
template <Layout L, int j>
CAIRN_INLINE void decode_units(const std::byte* codes, V scale, V least, float* to) {
    const B code = unit<L, j>(codes);
    const V zero = splat(static_cast<float>(L.zero));
    store(to + 64 * j, fma(scale, sub(byte_lanes<0>(code), zero), least));
    store(to + 64 * j + 16, fma(scale, sub(byte_lanes<1>(code), zero), least));
    store(to + 64 * j + 32, fma(scale, sub(byte_lanes<2>(code), zero), least));
    store(to + 64 * j + 48, fma(scale, sub(byte_lanes<3>(code), zero), least));
}
template <Layout L, int j, int end>
CAIRN_INLINE void decode_units_to(const std::byte* codes, V scale, V least, float* to) {
    if constexpr (j < end) {
        decode_units<L, j>(codes, scale, least, to);
        decode_units_to<L, j + 1, end>(codes, scale, least, to);
    }
}
template <Layout L>
void decode_panel(const std::byte* codes, std::ptrdiff_t in, float* to) {
    const std::byte* scales = codes + in / 32 * code_bytes(L);
    for (std::ptrdiff_t span = 0; span < in / 32; ++span, codes += code_bytes(L), to += 512) {
        const std::byte* at = scales + span * 32 / L.values * scale_bytes(L);
        const int g = static_cast<int>(span % (L.values / 32)) * (32 / L.group);
        V least = splat(0.0F);
        if constexpr (L.minimum) least = minimum_lanes<L>(at, g);
        decode_units_to<L, 0, L.group / 4>(codes, scale_lanes<L>(at, g), least, to);
        if constexpr (L.group == 16) {
            if constexpr (L.minimum) least = minimum_lanes<L>(at, g + 1);
            decode_units_to<L, 4, 8>(codes, scale_lanes<L>(at, g + 1), least, to);
        }
    }
}

// 32 activations to bytes: d = amax / 127 in f32, nearest even. NaN and infinity make d NaN.
CAIRN_INLINE void quantise_span(const Quantise& a, const float* x, std::ptrdiff_t span,
                                std::ptrdiff_t r) {
    const V x0 = load(x);
    const V x1 = load(x + 16);
    // The largest magnitude by its bits, which order like numbers; infinity and NaN come last.
    const std::uint32_t bits = largest_bits(x0, x1);
    const bool sound = bits < 0x7F800000U;
    float most;
    __builtin_memcpy(&most, &bits, sizeof most);
    const bool some = sound && most > 1e-30F;
    const float d = some ? most / 127.0F : (sound ? 0.0F : __builtin_nanf(""));
    const V inverse = splat(some ? 127.0F / most : 0.0F);
    const V magic = splat(12582912.0F);
    const V n0 = fma(x0, inverse, magic);
    const V n1 = fma(x1, inverse, magic);
    std::int8_t bytes[32];
    pack_bytes(bytes, n0);
    pack_bytes(bytes + 16, n1);
    std::int32_t* q = a.q + span * 8 * a.tile + r;
    CAIRN_UNROLL
    for (int j = 0; j < 8; ++j) __builtin_memcpy(q + j * a.tile, bytes + 4 * j, 4);
    a.d[span * a.tile + r] = d;

    const std::ptrdiff_t halves = 32 / a.group;
    std::int32_t* start = a.start + span * halves * a.tile + r;
    float* sums = a.sums + span * halves * a.tile + r;
    const V q0 = sub(n0, magic);
    const V q1 = sub(n1, magic);
    // Whole numbers far below 2^24, so their sum is exact. What is no number must not become an
    // integer; d carries the NaN.
    const auto put = [&](std::ptrdiff_t at, V numbers) {
        const float sum = sound ? reduce_add(numbers) : 0.0F;
        start[at] = static_cast<std::int32_t>(static_cast<float>(-a.zero) * sum);
        sums[at] = d * sum;
    };
    if (halves == 1) {
        put(0, add(q0, q1));
    } else {
        put(0, q0);
        put(a.tile, q1);
    }
}
inline void quantise(const Quantise& a) {
    alignas(64) const float nothing[32] = {};
    for (std::ptrdiff_t first = 0; first < a.rows; first += a.tile) {
        Quantise tile = a;
        tile.q += first * (a.in / 4);
        tile.d += first * (a.in / 32);
        tile.start += first * (a.in / a.group);
        tile.sums += first * (a.in / a.group);
        for (std::ptrdiff_t r = 0; r < a.tile; ++r)
            for (std::ptrdiff_t span = 0; span < a.in / 32; ++span)
                quantise_span(
                    tile, first + r < a.rows ? a.x + (first + r) * a.stride + span * 32 : nothing,
                    span, r);
    }
}

#define CAIRN_FORMATS(function)                                                                  \
    {                                                                                            \
        function<cairn::quantised::q8_0.layout>, function<cairn::quantised::q4_0.layout>,        \
            function<cairn::quantised::q4_1.layout>, function<cairn::quantised::q5_0.layout>,    \
            function<cairn::quantised::q5_1.layout>, function<cairn::quantised::q2_k.layout>,    \
            function<cairn::quantised::q3_k.layout>, function<cairn::quantised::q4_k.layout>,    \
            function<cairn::quantised::q5_k.layout>, function<cairn::quantised::q6_k.layout>,    \
            function<cairn::quantised::iq4_nl.layout>, function<cairn::quantised::iq4_xs.layout> \
    }
inline const Table& table(const char* name) noexcept {
    static const Table instance{
        .name = name,
        .tile_rows = gemm_rows,
        .quantise = quantise,
        .gemv = CAIRN_FORMATS(gemv),
        .gemm = CAIRN_FORMATS(gemm),
        .decode = CAIRN_FORMATS(decode_panel),
        .gemm_scratch = gemm_scratch,
    };
    return instance;
}
#undef CAIRN_FORMATS
