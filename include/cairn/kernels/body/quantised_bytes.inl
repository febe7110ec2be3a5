// What does not depend on how products are taken, written once over V (16 floats) and B (64 bytes)
// for the instruction sets that share both: the codes and scales of packed blocks, panels spread out
// to bytes or decoded to f32, activations quantised.

// Codes 4 j .. 4 j + 3 of the 32 columns at `codes`, all rows.
template <BlockLayout L, int j>
CAIRN_INLINE B unit(const std::byte* codes) {
    B code;
    if constexpr (L.low_bits == 8)
        code = load_bytes(codes + 64 * j);
    else if constexpr (L.low_bits == 4)
        code = mask(shift<-4 * (j / 4)>(load_bytes(codes + 64 * (j % 4))), 0x0F);
    else
        code = mask(shift<-2 * (j / 2)>(load_bytes(codes + 64 * (j % 2))), 0x03);
    const std::byte* high = codes + 64 * L.low_bits;
    if constexpr (L.high_bits == 1)
        code = either(code, mask(shift<L.low_bits - j>(load_bytes(high)), 1 << L.low_bits));
    else if constexpr (L.high_bits == 2)
        code = either(code, mask(shift<L.low_bits - 2 * (j / 2)>(load_bytes(high + 64 * (j % 2))),
                                 3 << L.low_bits));
    if constexpr (L.lookup) code = lookup(cairn::quantised::table_of(L).data(), code);
    return code;
}

template <BlockLayout L>
CAIRN_INLINE V scale_lanes(const std::byte* scales, int group) {
    if constexpr (L.scales == GroupScales::powers)
        return load(reinterpret_cast<const brain_t*>(scales));
    const V d = load(reinterpret_cast<const half_t*>(scales));
    if constexpr (L.scales == GroupScales::none) return d;
    const std::byte* factors = scales + (L.minimum ? 64 : 32) + group * group_bytes(L);
    if constexpr (L.scales == GroupScales::integers)
        return mul(d, from_signed(factors));
    else if constexpr (L.scales == GroupScales::nibbles)
        return mul(d, from_nibbles(factors, 0));
    else
        return mul(d, from_unsigned(factors));
}
template <BlockLayout L>
CAIRN_INLINE V minimum_lanes(const std::byte* scales, int group) {
    const V m = load(reinterpret_cast<const half_t*>(scales + 32));
    if constexpr (L.scales == GroupScales::none) return m;
    const std::byte* factors = scales + 64 + group * group_bytes(L);
    if constexpr (L.scales == GroupScales::nibbles)
        return mul(m, from_nibbles(factors, 4));
    else
        return mul(m, from_unsigned(factors + 16));
}


CAIRN_INLINE B low_half(B codes) { return mask(codes, 0x0F); }
CAIRN_INLINE B high_half(B codes) { return mask(shift<-4>(codes), 0x0F); }

// Panels spread out for products of many rows: the codes as bytes [span][panel][8][64] (where they
// are halved: all low halves of a span and panel, then the high ones), scales [group][panel][16],
// minima likewise.
struct Spread {
    std::byte* codes;
    float* scales;
    float* minima;
};
inline constexpr std::ptrdiff_t plane_bytes = 512;
// Of one panel's 32 columns.
template <bool halves>
inline constexpr std::ptrdiff_t span_bytes = halves ? 2 * plane_bytes : plane_bytes;

// How two units lie there, unless an instruction set has a way of its own.
CAIRN_INLINE void put_units(std::byte* to, B first, B second) {
    store_bytes(to, first);
    store_bytes(to + 64, second);
}
using PutUnits = void(std::byte* to, B first, B second);

template <BlockLayout L, int j, bool halves, PutUnits* put>
CAIRN_INLINE void spread_units(const std::byte* codes, std::byte* to) {
    if constexpr (j < 8) {
        const B first = unit<L, j>(codes);
        const B second = unit<L, j + 1>(codes);
        if constexpr (halves) {
            put(to + 64 * j, low_half(first), low_half(second));
            put(to + plane_bytes + 64 * j, high_half(first), high_half(second));
        } else {
            put(to + 64 * j, first, second);
        }
        spread_units<L, j + 2, halves, put>(codes, to);
    }
}
template <BlockLayout L, int panels, bool halves, PutUnits* put>
[[gnu::noinline]] void spread(const BlockProduct& a, std::ptrdiff_t first, int present,
                              const Spread& to) {
    constexpr int groups = 32 / L.group;
    for (int p = 0; p < present; ++p) {
        const std::byte* codes = a.weights + (first + p) * panel_bytes(L, a.in);
        const std::byte* scales = codes + a.in / 32 * code_bytes(L);
        for (std::ptrdiff_t span = 0; span < a.in / 32; ++span) {
            spread_units<L, 0, halves, put>(codes + span * code_bytes(L),
                                            to.codes + (span * panels + p) * span_bytes<halves>);
            const std::byte* at = scales + span * 32 / L.values * scale_bytes(L);
            for (int h = 0; h < groups; ++h) {
                const int g = static_cast<int>(span % (L.values / 32)) * groups + h;
                const std::ptrdiff_t lanes_at = ((span * groups + h) * panels + p) * panel;
                store(to.scales + lanes_at, scale_lanes<L>(at, g));
                if constexpr (L.minimum) store(to.minima + lanes_at, minimum_lanes<L>(at, g));
            }
        }
    }
}

// A panel as f32 [in][16]: the numbers that value_of defines.
template <BlockLayout L, int j>
CAIRN_INLINE void decode_units(const std::byte* codes, V scale, V least, float* to) {
    const B code = unit<L, j>(codes);
    const V zero = splat(static_cast<float>(L.zero));
    store(to + 64 * j, fma(scale, sub(byte_lanes<0>(code), zero), least));
    store(to + 64 * j + 16, fma(scale, sub(byte_lanes<1>(code), zero), least));
    store(to + 64 * j + 32, fma(scale, sub(byte_lanes<2>(code), zero), least));
    store(to + 64 * j + 48, fma(scale, sub(byte_lanes<3>(code), zero), least));
}
template <BlockLayout L, int j, int end>
CAIRN_INLINE void decode_units_to(const std::byte* codes, V scale, V least, float* to) {
    if constexpr (j < end) {
        decode_units<L, j>(codes, scale, least, to);
        decode_units_to<L, j + 1, end>(codes, scale, least, to);
    }
}
template <BlockLayout L>
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
