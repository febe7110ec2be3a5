// Products with quantised weights in plain C++.
#pragma once

#include "cairn/kernels/portable/floats.hpp"
#include "cairn/kernels/quantised/packed.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels::portable {

namespace bytes {

#include "cairn/kernels/body/quantised_names.inl"

#undef CAIRN_INLINE
#undef CAIRN_UNROLL
#define CAIRN_INLINE inline
#define CAIRN_UNROLL
#define CAIRN_EACH for (int i = 0; i < 16; ++i)

struct B {
    std::uint8_t at[64];
};
struct I {
    std::int32_t at[16];
};

// Not inlined, for the sake of compile time.
inline B load_bytes(const std::byte* x) {
    B r;
    std::memcpy(r.at, x, 64);
    return r;
}
inline void store_bytes(std::byte* x, const B& b) { std::memcpy(x, b.at, 64); }
template <int n>
[[gnu::noinline]] B shift(const B& b) {
    B r;
    for (int i = 0; i < 64; ++i)
        r.at[i] = static_cast<std::uint8_t>(n >= 0 ? b.at[i] << (n >= 0 ? n : 0)
                                                   : b.at[i] >> (n < 0 ? -n : 0));
    return r;
}
[[gnu::noinline]] inline B mask(const B& b, int bits) {
    B r;
    for (int i = 0; i < 64; ++i) r.at[i] = static_cast<std::uint8_t>(b.at[i] & bits);
    return r;
}
[[gnu::noinline]] inline B either(const B& a, const B& b) {
    B r;
    for (int i = 0; i < 64; ++i) r.at[i] = static_cast<std::uint8_t>(a.at[i] | b.at[i]);
    return r;
}
[[gnu::noinline]] inline B lookup(const std::uint8_t* table, const B& b) {
    B r;
    for (int i = 0; i < 64; ++i) r.at[i] = table[b.at[i]];
    return r;
}
inline I splat_int(std::int32_t x) {
    I r;
    CAIRN_EACH
    r.at[i] = x;
    return r;
}
inline V to_float(const I& x) {
    V r;
    CAIRN_EACH
    r.at[i] = static_cast<float>(x.at[i]);
    return r;
}
template <int t>
[[gnu::noinline]] V byte_lanes(const B& b) {
    V r;
    CAIRN_EACH
    r.at[i] = b.at[4 * i + t];
    return r;
}
[[gnu::noinline]] inline V from_unsigned(const std::byte* x) {
    V r;
    CAIRN_EACH
    r.at[i] = std::to_integer<std::uint8_t>(x[i]);
    return r;
}
[[gnu::noinline]] inline V from_signed(const std::byte* x) {
    V r;
    CAIRN_EACH
    r.at[i] = static_cast<std::int8_t>(x[i]);
    return r;
}
[[gnu::noinline]] inline V from_nibbles(const std::byte* x, int shift) {
    V r;
    CAIRN_EACH
    r.at[i] = static_cast<float>((std::to_integer<unsigned>(x[i]) >> shift) & 15U);
    return r;
}
inline void pack_bytes(std::int8_t* to, const V& shifted) {
    CAIRN_EACH
    to[i] = static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(shifted.at[i]) & 255U);
}
inline std::uint32_t largest_bits(const V& x, const V& y) {
    std::uint32_t most = 0;
    CAIRN_EACH
    most = std::max({most, std::bit_cast<std::uint32_t>(x.at[i]) & 0x7FFFFFFFU,
                     std::bit_cast<std::uint32_t>(y.at[i]) & 0x7FFFFFFFU});
    return most;
}

#include "cairn/kernels/body/quantised_bytes.inl"

}  // namespace bytes

namespace blocks {

using namespace bytes;

inline constexpr int gemm_rows = 2;
inline constexpr int gemm_panels = 1;

inline I wide_start(std::int32_t start) { return splat_int(start); }
inline I dot_narrow(I sum, const B& codes, std::int32_t four) {
    std::int8_t q[4];
    std::memcpy(q, &four, 4);
    CAIRN_EACH
    for (int t = 0; t < 4; ++t) sum.at[i] += codes.at[4 * i + t] * q[t];
    return sum;
}
inline I dot_wide(const I& sum, const B& codes, std::int32_t four) {
    return dot_narrow(sum, codes, four);
}
#undef CAIRN_EACH

#include "cairn/kernels/body/quantised_parts.inl"
#include "cairn/kernels/body/quantised_group.inl"
#include "cairn/kernels/body/quantised.inl"

}  // namespace blocks

#undef CAIRN_INLINE
#undef CAIRN_UNROLL
#define CAIRN_INLINE CAIRN_FORCE_INLINE
#define CAIRN_UNROLL CAIRN_FULL_UNROLL

}}}  // namespace cairn::kernels::portable
