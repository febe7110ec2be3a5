// The two products in terms of dot_16, for NEON with and without dot product instructions.

CAIRN_INLINE I wide_start(std::int32_t) { return splat_int(0); }
CAIRN_INLINE I dot_narrow(I sum, const B& codes, std::int32_t four) {
    const int8x16_t q = four_bytes(four);
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) sum.r[i] = dot_16(sum.r[i], vreinterpretq_s8_u8(codes.r[i]), q);
    return sum;
}
CAIRN_INLINE I dot_wide(I sum, const B& codes, std::int32_t four) {
    const int8x16_t q = four_bytes(four);
    CAIRN_UNROLL
    for (int i = 0; i < 4; ++i) sum.r[i] = dot_16(sum.r[i], recentred(codes.r[i]), q);
    return sum;
}
