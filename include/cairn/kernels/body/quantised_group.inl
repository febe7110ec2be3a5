// The dot products of one group, `all` units, with the R rows at q; `units` of them in one part.
template <bool wide, int by, int all, int units, std::ptrdiff_t stride, int R, int P>
CAIRN_INLINE void group_dots(I (&dots)[R][P], const std::byte* codes, const std::int32_t* q) {
    CAIRN_UNROLL
    for (int j = 0; j < all; j += units) {
        Part part[R][P];
        CAIRN_UNROLL
        for (int r = 0; r < R; ++r) {
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p) part[r][p] = start_part(dots[r][p]);
        }
        CAIRN_UNROLL
        for (int u = 0; u < units; ++u, q += R) {
            B code[P];
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p)
                code[p] = load_bytes(codes + p * stride + (j + u) * 64);
            CAIRN_UNROLL
            for (int r = 0; r < R; ++r) {
                CAIRN_UNROLL
                for (int p = 0; p < P; ++p) part[r][p] = dot<wide>(part[r][p], code[p], q[r]);
            }
        }
        CAIRN_UNROLL
        for (int r = 0; r < R; ++r) {
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p) dots[r][p] = add_part<by>(dots[r][p], part[r][p]);
        }
    }
}

