// For instruction sets whose dot products are exact in 32 bits: a part is the sum so far.
using Part = I;
CAIRN_INLINE Part start_part(const I& sum) { return sum; }
template <int by>
CAIRN_INLINE I add_part(const I&, const Part& part) {
    return part;
}
template <bool wide>
CAIRN_INLINE Part dot(Part part, B codes, std::int32_t four) {
    if constexpr (wide)
        return dot_wide(part, codes, four);
    else
        return dot_narrow(part, codes, four);
}
template <bool wide>
CAIRN_INLINE I first_sum(std::int32_t start) {
    if constexpr (wide)
        return wide_start(start);
    else
        return splat_int(start);
}
