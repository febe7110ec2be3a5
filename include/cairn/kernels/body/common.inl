// Partial vectors and the f32 elementary functions.

// The first n lanes from memory, the others zero. Never reads past n.
template <class T>
[[gnu::noinline]] V load_first(const T* x, std::ptrdiff_t n) {
    T buffer[16] = {};
    for (std::ptrdiff_t i = 0; i < n; ++i) buffer[i] = x[i];
    return load(buffer);
}
template <class T>
CAIRN_INLINE V load_upto(const T* x, std::ptrdiff_t n) {
    return n >= 16 ? load(x) : load_first(x, n);
}
[[gnu::noinline]] inline void store_first(float* x, V a, std::ptrdiff_t n) {
    float buffer[16];
    store(buffer, a);
    for (std::ptrdiff_t i = 0; i < n; ++i) x[i] = buffer[i];
}
CAIRN_INLINE void store_upto(float* x, V a, std::ptrdiff_t n) {
    if (n >= 16)
        store(x, a);
    else
        store_first(x, a, n);
}
[[gnu::noinline]] inline void store(brain_t* x, V a) {
    float buffer[16];
    store(buffer, a);
    for (int i = 0; i < 16; ++i) {
        const std::uint16_t bits = f32_to_bf16(buffer[i]);
        // Only a finite value can round to infinity: it saturates.
        const bool overflowed = (bits & 0x7FFFU) == 0x7F80U && buffer[i] - buffer[i] == 0.0F;
        x[i].bits = overflowed ? static_cast<std::uint16_t>((bits & 0x8000U) | 0x7F7FU) : bits;
    }
}
[[gnu::noinline]] inline float reduce_max(V a) {
    float buffer[16];
    store(buffer, a);
    CAIRN_UNROLL
    for (int n = 8; n > 0; n /= 2)
        for (int i = 0; i < n; ++i)
            buffer[i] = buffer[i + n] > buffer[i] ? buffer[i + n] : buffer[i];
    return buffer[0];
}
CAIRN_INLINE float first_lane(V a) {
    float buffer[16];
    store(buffer, a);
    return buffer[0];
}

// e^x with n = nearest(x / ln 2), r = x - n ln 2 in two parts, and a polynomial of degree 6 on
// |r| <= ln(2)/2. Relative error below 2e-7. Below -87.33 it is 0, above 88 it is e^88; NaN stays.
CAIRN_INLINE V exp_lanes(V x) {
    const V clamped = select_gt(x, splat(88.0F), splat(88.0F), x);
    const V shifted = fma(clamped, splat(1.44269504F), splat(12582912.0F));
    const V n = sub(shifted, splat(12582912.0F));
    V r = fma(n, splat(-0.693359375F), clamped);
    r = fma(n, splat(2.12194440e-4F), r);
    V p = splat(1.9875691500e-4F);
    p = fma(p, r, splat(1.3981999507e-3F));
    p = fma(p, r, splat(8.3334519073e-3F));
    p = fma(p, r, splat(4.1665795894e-2F));
    p = fma(p, r, splat(1.6666665459e-1F));
    p = fma(p, r, splat(5.0000001201e-1F));
    p = fma(p, mul(r, r), r);
    p = add(p, splat(1.0F));
    const V result = select_gt(splat(-87.33F), x, splat(0.0F), scale_by_power(p, shifted));
    return select_nan(x, x, result);
}

// erfc(z) for z >= 0 by the Chebyshev form of Press et al. (Numerical Recipes, erfcc): relative
// error below 1.2e-7 before rounding.
CAIRN_INLINE V erfc_lanes(V z) {
    const V t = div(splat(1.0F), fma(z, splat(0.5F), splat(1.0F)));
    V p = splat(0.17087277F);
    p = fma(p, t, splat(-0.82215223F));
    p = fma(p, t, splat(1.48851587F));
    p = fma(p, t, splat(-1.13520398F));
    p = fma(p, t, splat(0.27886807F));
    p = fma(p, t, splat(-0.18628806F));
    p = fma(p, t, splat(0.09678418F));
    p = fma(p, t, splat(0.37409196F));
    p = fma(p, t, splat(1.00002368F));
    p = fma(p, t, splat(-1.26551223F));
    return mul(t, exp_lanes(fma(sub(splat(0.0F), z), z, p)));
}

// Asks for a line of rows that are read later, into the second-level cache; an address outside is
// ignored. A segment's keys and values take turns, and each would begin anew where the machine's
// own prefetchers lost it: so while one segment is computed, the next one comes.
CAIRN_INLINE void fetch_line(const std::byte* at) { __builtin_prefetch(at, 0, 2); }
inline constexpr std::ptrdiff_t line_bytes = 64;
// Where those lines lie, seen from the ones that are read now.
CAIRN_INLINE std::ptrdiff_t way_ahead(const RowsIn& rows) {
    return rows.ahead != nullptr ? rows.ahead - rows.unit : 0;
}
