// Products with quantised rows of a cache in plain C++.
#pragma once

#include "cairn/kernels/cached/layout.hpp"
#include "cairn/kernels/portable/floats.hpp"
#include "cairn/numeric/float8.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::portable::cached {

using kernels::cached::channel_group;
using kernels::cached::iq4_nl_values;
using kernels::cached::Meaning;
using kernels::cached::Products;
using kernels::cached::RowLayout;

#undef CAIRN_INLINE
#undef CAIRN_UNROLL
#define CAIRN_INLINE inline
#define CAIRN_UNROLL
#define CAIRN_EACH for (int i = 0; i < 16; ++i)

struct I {
    int at[16];
};

inline I unsigned_bytes(const std::byte* x) {
    I r;
    CAIRN_EACH
    r.at[i] = std::to_integer<int>(x[i]);
    return r;
}
inline I signed_bytes(const std::byte* x) {
    I r;
    CAIRN_EACH
    r.at[i] = static_cast<std::int8_t>(std::to_integer<int>(x[i]));
    return r;
}
inline I take(const I& x, int shift, int mask) {
    I r;
    CAIRN_EACH
    r.at[i] = x.at[i] >> shift & mask;
    return r;
}
inline I add_int(const I& x, const I& y) {
    I r;
    CAIRN_EACH
    r.at[i] = x.at[i] + y.at[i];
    return r;
}
inline I raise4(const I& x) {
    I r;
    CAIRN_EACH
    r.at[i] = x.at[i] << 4;
    return r;
}
inline I spread2(const std::byte* x) {
    I r;
    CAIRN_EACH
    r.at[i] = std::to_integer<int>(x[i / 4]) >> (i % 4 * 2) & 3;
    return r;
}
inline V to_float(const I& x) {
    V r;
    CAIRN_EACH
    r.at[i] = static_cast<float>(x.at[i]);
    return r;
}
inline V lookup(const float* table, const I& x) {
    V r;
    CAIRN_EACH
    r.at[i] = table[x.at[i]];
    return r;
}
inline constexpr bool short_tables = false;
inline V entries(const V& table, const I&, int) { return table; }
inline V splat_half(const std::byte* x) {
    f16_bits bits;
    std::memcpy(&bits, x, 2);
    return splat(f16_to_f32(bits));
}
inline V from_e4m3(const std::byte* x) {
    V r;
    CAIRN_EACH
    r.at[i] = e4m3_to_f32(std::to_integer<std::uint8_t>(x[i]));
    return r;
}
inline V from_e5m2(const std::byte* x) {
    V r;
    CAIRN_EACH
    r.at[i] = e5m2_to_f32(std::to_integer<std::uint8_t>(x[i]));
    return r;
}
inline void from_e4m3(const std::byte* x, V* to) {
    to[0] = from_e4m3(x);
    to[1] = from_e4m3(x + 16);
}
inline void from_e5m2(const std::byte* x, V* to) {
    to[0] = from_e5m2(x);
    to[1] = from_e5m2(x + 16);
}
// Four bytes each of 16 positions, from bytes [4][16].
struct B {
    std::int8_t at[64];
};
inline B quads(const std::byte* x) {
    B r;
    for (int i = 0; i < 64; ++i) r.at[i] = static_cast<std::int8_t>(x[i % 4 * 16 + i / 4]);
    return r;
}
inline B low_half(const B& x) {
    B r;
    for (int i = 0; i < 64; ++i) r.at[i] = static_cast<std::int8_t>(x.at[i] & 15);
    return r;
}
inline B high_half(const B& x) {
    B r;
    for (int i = 0; i < 64; ++i) r.at[i] = static_cast<std::int8_t>(x.at[i] >> 4 & 15);
    return r;
}
inline I splat_int(std::int32_t x) {
    I r;
    CAIRN_EACH
    r.at[i] = x;
    return r;
}
inline I in_order(const I& x) { return x; }
#undef CAIRN_EACH

#include "cairn/kernels/body/cached.inl"

#undef CAIRN_INLINE
#undef CAIRN_UNROLL
#define CAIRN_INLINE CAIRN_FORCE_INLINE
#define CAIRN_UNROLL CAIRN_FULL_UNROLL

}}}  // namespace cairn::kernels::portable::cached
