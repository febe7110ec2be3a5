// Products with packed weights [out/16][in][16]. Lanes are output features and k runs in one chain
// of fma from the bias, so one row, many rows, one thread and many give the same bits.

template <class T, int P>
CAIRN_INLINE void gemv_block(const FloatProduct& a, std::ptrdiff_t first) {
    const T* w[P];
    V sum[P];
    CAIRN_UNROLL
    for (int p = 0; p < P; ++p) {
        w[p] = reinterpret_cast<const T*>(a.weights) + (first + p) * a.in * panel;
        sum[p] = a.bias != nullptr
                     ? load_upto(a.bias + (first + p) * panel, a.out - (first + p) * panel)
                     : splat(0.0F);
    }
    // A few columns of a panel in a row: whole lines of memory, in the order in which they lie.
    constexpr int columns = 4;
    std::ptrdiff_t k = 0;
    for (; k + columns <= a.in; k += columns) {
        CAIRN_UNROLL
        for (int p = 0; p < P; ++p) {
            CAIRN_UNROLL
            for (int i = 0; i < columns; ++i)
                sum[p] = fma(load(w[p] + (k + i) * panel), splat(a.x[k + i]), sum[p]);
        }
    }
    for (; k < a.in; ++k) {
        CAIRN_UNROLL
        for (int p = 0; p < P; ++p)
            sum[p] = fma(load(w[p] + k * panel), splat(a.x[k]), sum[p]);
    }
    CAIRN_UNROLL
    for (int p = 0; p < P; ++p) {
        const std::ptrdiff_t n = (first + p) * panel;
        store_upto(a.y + n, sum[p], a.out - n);
    }
}

// Four panels at a time: four streams of weights from memory, and enough chains to hide the
// latency.
template <class T>
void gemv(const FloatProduct& a) {
    std::ptrdiff_t p = a.panel_begin;
    if constexpr (accumulators >= 4)
        for (; p + 4 <= a.panel_end; p += 4) gemv_block<T, 4>(a, p);
    for (; p < a.panel_end; ++p) gemv_block<T, 1>(a, p);
}

inline void pack_rows(const float* x, std::ptrdiff_t stride, std::ptrdiff_t rows, std::ptrdiff_t k,
                      float* packed, int tile_rows) {
    for (std::ptrdiff_t first = 0; first < rows; first += tile_rows) {
        float* tile = packed + first * k;
        const std::ptrdiff_t present = rows - first < tile_rows ? rows - first : tile_rows;
        const float* row = x + first * stride;
        if (present == gemm_rows) {
            for (std::ptrdiff_t i = 0; i < k; ++i) CAIRN_UNROLL
            for (int r = 0; r < gemm_rows; ++r) tile[i * gemm_rows + r] = row[r * stride + i];
            continue;
        }
        for (std::ptrdiff_t i = 0; i < k; ++i)
            for (std::ptrdiff_t r = 0; r < tile_rows; ++r)
                tile[i * tile_rows + r] = r < present ? row[r * stride + i] : 0.0F;
    }
}

// The part of a tile [..][width] that lies inside the matrix.
[[gnu::noinline]] inline void store_edge(const float* tile, int width, std::ptrdiff_t rows,
                                         std::ptrdiff_t columns, float* y,
                                         std::ptrdiff_t y_stride) {
    for (std::ptrdiff_t r = 0; r < rows; ++r)
        for (std::ptrdiff_t n = 0; n < width && n < columns; ++n)
            y[r * y_stride + n] = tile[r * width + n];
}

// One register tile: gemm_rows rows of packed activations times P panels.
template <class T, int P>
CAIRN_INLINE void gemm_tile(const FloatProduct& a, std::ptrdiff_t first, std::ptrdiff_t row) {
    constexpr int R = gemm_rows;
    const T* w[P];
    V sum[R][P];
    CAIRN_UNROLL
    for (int p = 0; p < P; ++p) {
        w[p] = reinterpret_cast<const T*>(a.weights) + (first + p) * a.in * panel;
        const V start = a.bias != nullptr
                            ? load_upto(a.bias + (first + p) * panel, a.out - (first + p) * panel)
                            : splat(0.0F);
        CAIRN_UNROLL
        for (int r = 0; r < R; ++r) sum[r][p] = start;
    }
    const float* x = a.x + row * a.in;
    for (std::ptrdiff_t k = 0; k < a.in; ++k) {
        decltype(load(w[0])) weight[P];
        CAIRN_UNROLL
        for (int p = 0; p < P; ++p) weight[p] = load(w[p] + k * panel);
        CAIRN_UNROLL
        for (int r = 0; r < R; ++r) {
            const V value = splat(x[k * R + r]);
            CAIRN_UNROLL
            for (int p = 0; p < P; ++p) sum[r][p] = fma(weight[p], value, sum[r][p]);
        }
    }
    float* y = a.y + row * a.y_stride + first * panel;
    const std::ptrdiff_t rows = a.rows - row;
    const std::ptrdiff_t columns = a.out - first * panel;
    if (rows >= R && columns >= P * panel) {
        CAIRN_UNROLL
        for (int r = 0; r < R; ++r) CAIRN_UNROLL
        for (int p = 0; p < P; ++p) store(y + r * a.y_stride + p * panel, sum[r][p]);
        return;
    }
    float edge[R * P * panel];
    CAIRN_UNROLL
    for (int r = 0; r < R; ++r) CAIRN_UNROLL
    for (int p = 0; p < P; ++p) store(edge + (r * P + p) * panel, sum[r][p]);
    store_edge(edge, P * panel, rows < R ? rows : R, columns, y, a.y_stride);
}

static_assert(plain_group % gemm_panels == 0);

// Panels outside, rows inside: a panel group stays in the second-level cache while all rows pass.
template <class T>
void gemm(const FloatProduct& a) {
    std::ptrdiff_t p = a.panel_begin;
    for (; p + gemm_panels <= a.panel_end; p += gemm_panels)
        for (std::ptrdiff_t row = 0; row < a.rows; row += gemm_rows)
            gemm_tile<T, gemm_panels>(a, p, row);
    if constexpr (gemm_panels > 1)
        for (; p < a.panel_end; ++p)
            for (std::ptrdiff_t row = 0; row < a.rows; row += gemm_rows) gemm_tile<T, 1>(a, p, row);
}
