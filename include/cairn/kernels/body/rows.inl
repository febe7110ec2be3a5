// Functions of one row. Sums over a row use 16 virtual lanes and the fixed tree of reduce_add.

inline void layer_norm(const float* x, const float* weight, const float* bias, float eps,
                       std::ptrdiff_t n, float* y) {
    V sum = splat(0.0F);
    std::ptrdiff_t i = 0;
    for (; i + 16 <= n; i += 16) sum = add(sum, load(x + i));
    if (i < n) sum = add(sum, load_first(x + i, n - i));
    const auto count = static_cast<float>(n);
    const V mean = splat(reduce_add(sum) / count);
    V squares = splat(0.0F);
    for (i = 0; i + 16 <= n; i += 16) {
        const V d = sub(load(x + i), mean);
        squares = fma(d, d, squares);
    }
    if (i < n) {
        float rest[16];
        store(rest, sub(load_first(x + i, n - i), mean));
        const V d = load_first(rest, n - i);
        squares = fma(d, d, squares);
    }
    const V scale = splat(1.0F / __builtin_sqrtf(reduce_add(squares) / count + eps));
    for (i = 0; i < n; i += 16) {
        const std::ptrdiff_t m = n - i;
        const V d = mul(sub(load_upto(x + i, m), mean), scale);
        store_upto(y + i, fma(d, load_upto(weight + i, m), load_upto(bias + i, m)), m);
    }
}

inline void rms_norm(const float* x, const float* weight, float eps, std::ptrdiff_t n, float* y) {
    V squares = splat(0.0F);
    std::ptrdiff_t i = 0;
    for (; i < n; i += 16) {
        const V d = load_upto(x + i, n - i);
        squares = fma(d, d, squares);
    }
    const float mean = reduce_add(squares) / static_cast<float>(n);
    const V scale = splat(1.0F / __builtin_sqrtf(mean + eps));
    for (i = 0; i < n; i += 16) {
        const std::ptrdiff_t m = n - i;
        store_upto(y + i, mul(mul(load_upto(x + i, m), scale), load_upto(weight + i, m)), m);
    }
}

// x * Phi(x): for x < 0 by erfc itself, which keeps the relative precision of the tail.
inline void gelu_erf(float* x, std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += 16) {
        const V a = load_upto(x + i, n - i);
        const V z = mul(a, splat(0.70710678F));
        const V minus = sub(splat(0.0F), z);
        const V tail = erfc_lanes(select_gt(z, splat(0.0F), z, minus));
        const V twice = select_gt(z, splat(0.0F), sub(splat(2.0F), tail), tail);
        store_upto(x + i, mul(mul(a, splat(0.5F)), twice), n - i);
    }
}

// 0.5 x (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3).
inline void gelu_tanh(float* x, std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += 16) {
        const V a = load_upto(x + i, n - i);
        const V slope = fma(mul(a, a), splat(-0.0713548163F), splat(-1.59576912F));
        const V e = exp_lanes(mul(a, slope));
        store_upto(x + i, div(a, add(e, splat(1.0F))), n - i);
    }
}

CAIRN_INLINE V silu_lanes(V a) {
    const V e = exp_lanes(sub(splat(0.0F), a));
    return div(a, add(e, splat(1.0F)));
}
inline void silu(float* x, std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += 16)
        store_upto(x + i, silu_lanes(load_upto(x + i, n - i)), n - i);
}
inline void silu_multiply(float* gate, const float* up, std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += 16) {
        const std::ptrdiff_t m = n - i;
        store_upto(gate + i, mul(silu_lanes(load_upto(gate + i, m)), load_upto(up + i, m)), m);
    }
}

inline void add_to(const float* x, std::ptrdiff_t n, float* y) {
    for (std::ptrdiff_t i = 0; i < n; i += 16) {
        const std::ptrdiff_t m = n - i;
        store_upto(y + i, add(load_upto(y + i, m), load_upto(x + i, m)), m);
    }
}
inline void axpy(float a, const float* x, std::ptrdiff_t n, float* y) {
    for (std::ptrdiff_t i = 0; i < n; i += 16) {
        const std::ptrdiff_t m = n - i;
        store_upto(y + i, fma(splat(a), load_upto(x + i, m), load_upto(y + i, m)), m);
    }
}
inline void scale(float a, std::ptrdiff_t n, float* x) {
    for (std::ptrdiff_t i = 0; i < n; i += 16)
        store_upto(x + i, mul(load_upto(x + i, n - i), splat(a)), n - i);
}

// x - x is 0 for every finite x and NaN for the others.
inline bool all_finite(const float* x, std::ptrdiff_t n) {
    V sum = splat(0.0F);
    for (std::ptrdiff_t i = 0; i < n; i += 16) {
        const V a = load_upto(x + i, n - i);
        sum = add(sum, sub(a, a));
    }
    return reduce_add(sum) == 0.0F;
}

CAIRN_INLINE void rotate_pair(float* a, float* b, float cosine, float sine) {
    const float x = *a;
    const float y = *b;
    *a = fma1(x, cosine, -(y * sine));
    *b = fma1(y, cosine, x * sine);
}
inline void rotate_half(float* x, const float* cosine, const float* sine, std::ptrdiff_t pairs) {
    for (std::ptrdiff_t i = 0; i < pairs; ++i)
        rotate_pair(x + i, x + pairs + i, cosine[i], sine[i]);
}
inline void rotate_interleaved(float* x, const float* cosine, const float* sine,
                               std::ptrdiff_t pairs) {
    for (std::ptrdiff_t i = 0; i < pairs; ++i)
        rotate_pair(x + 2 * i, x + 2 * i + 1, cosine[i], sine[i]);
}

template <class T>
void encode(const float* x, std::ptrdiff_t n, std::byte* to) {
    auto* out = reinterpret_cast<T*>(to);
    std::ptrdiff_t i = 0;
    for (; i + 16 <= n; i += 16) store(out + i, load(x + i));
    if (i < n) {
        T buffer[16];
        store(buffer, load_first(x + i, n - i));
        for (std::ptrdiff_t j = 0; i + j < n; ++j) out[i + j] = buffer[j];
    }
}
template <class T>
void decode(const std::byte* from, std::ptrdiff_t n, float* x) {
    const auto* in = reinterpret_cast<const T*>(from);
    for (std::ptrdiff_t i = 0; i < n; i += 16) store_upto(x + i, load_upto(in + i, n - i), n - i);
}

inline void exp_in_place(float* x, std::ptrdiff_t n) {
    for (std::ptrdiff_t i = 0; i < n; i += 16)
        store_upto(x + i, exp_lanes(load_upto(x + i, n - i)), n - i);
}

inline void range(const float* x, std::ptrdiff_t n, float* least, float* most) {
    float low = x[0];
    float high = x[0];
    std::ptrdiff_t i = 0;
    if (n >= 16) {
        V a = load(x);
        V b = a;
        for (i = 16; i + 16 <= n; i += 16) {
            const V y = load(x + i);
            a = select_gt(a, y, y, a);
            b = select_gt(y, b, y, b);
        }
        low = -reduce_max(sub(splat(0.0F), a));
        high = reduce_max(b);
    }
    for (; i < n; ++i) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    *least = low + 0.0F;  // one zero
    *most = high + 0.0F;
}

inline void codes(const float* x, std::ptrdiff_t n, float least, float inverse, float* y) {
    const V magic = splat(12582912.0F);
    for (std::ptrdiff_t i = 0; i < n; i += 16) {
        const V difference = sub(load_upto(x + i, n - i), splat(least));
        store_upto(y + i, sub(fma(difference, splat(inverse), magic), magic), n - i);
    }
}
