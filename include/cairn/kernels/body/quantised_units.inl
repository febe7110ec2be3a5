// The codes and scales of packed blocks, and the dot products of a group: exact integers, so each
// instruction set takes them its own way.

// Codes 4 j .. 4 j + 3 of the 32 columns at `codes`, all rows.
template <Layout L, int j>
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
    if constexpr (L.lookup) code = lookup(cairn::quantised::iq4_table.data(), code);
    return code;
}

template <Layout L>
CAIRN_INLINE V scale_lanes(const std::byte* scales, int group) {
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
template <Layout L>
CAIRN_INLINE V minimum_lanes(const std::byte* scales, int group) {
    const V m = load(reinterpret_cast<const half_t*>(scales + 32));
    if constexpr (L.scales == GroupScales::none) return m;
    const std::byte* factors = scales + 64 + group * group_bytes(L);
    if constexpr (L.scales == GroupScales::nibbles)
        return mul(m, from_nibbles(factors, 4));
    else
        return mul(m, from_unsigned(factors + 16));
}

// Whether a Part is a sum of its own, of pairs in 16 bits, that has to join the 32-bit sums before
// it overflows. Codes of 8 bits are then taken as two of 4: 16 * high + low.
inline constexpr bool short_parts = !std::is_same_v<Part, I>;
constexpr bool halved(const Layout& layout) { return short_parts && layout.wide(); }
// Units whose dot products a Part can hold.
constexpr int units_of_part(const Layout& layout) {
    const int bits = layout.wide() ? 4 : layout.low_bits + layout.high_bits;
    const int units = short_parts ? 32767 / (2 * 127 * ((1 << bits) - 1)) : 8;
    return units < layout.group / 4 ? units : layout.group / 4;
}
CAIRN_INLINE B low_half(B codes) { return mask(codes, 0x0F); }
CAIRN_INLINE B high_half(B codes) { return mask(shift<-4>(codes), 0x0F); }

// Units [first, first + count) of 32 columns against the bytes at q.
template <Layout L, int first, int count>
CAIRN_INLINE Part dot_part(Part part, const std::byte* codes, const std::int32_t* q) {
    if constexpr (count > 0) {
        part = dot<L.wide()>(part, unit<L, first>(codes), q[first]);
        return dot_part<L, first + 1, count - 1>(part, codes, q);
    }
    return part;
}
template <Layout L, int first, int count>
CAIRN_INLINE void dot_halves(Part& low, Part& high, const std::byte* codes, const std::int32_t* q) {
    if constexpr (count > 0) {
        const B code = unit<L, first>(codes);
        low = dot<false>(low, low_half(code), q[first]);
        high = dot<false>(high, high_half(code), q[first]);
        dot_halves<L, first + 1, count - 1>(low, high, codes, q);
    }
}
template <Layout L, int first, int count>
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
