// f32 rows that count what is written and read.
#pragma once

#include <atomic>

#include <cairn/cache/codec/plain.hpp>

namespace support {

struct Counting {
    static inline std::atomic<long> written{0};  // rows: a key or a value was projected for each
    static inline std::atomic<long> scored{0};   // keys read ...
    static inline std::atomic<long> dots{0};     // ... times the queries they met
    static inline std::atomic<long> weighed{0};  // values read ...
    static inline std::atomic<long> sums{0};     // ... times the outputs they went into

    static void clear() { written = scored = dots = weighed = sums = 0; }
    static const cairn::Codec& keys() noexcept {
        static const cairn::Codec codec = counted(cairn::F32::keys());
        return codec;
    }
    static const cairn::Codec& values() noexcept {
        static const cairn::Codec codec = counted(cairn::F32::values());
        return codec;
    }

  private:
    static cairn::Codec counted(cairn::Codec codec) {
        codec.encode = [](const float* x, std::ptrdiff_t stride, int dims, const cairn::Rows& to) {
            written += to.count;
            cairn::F32::keys().encode(x, stride, dims, to);
        };
        codec.scores = [](const cairn::Rows& keys, int dims, const float* q,
                          std::ptrdiff_t q_stride, int queries, float* s, std::ptrdiff_t s_stride) {
            scored += keys.count;
            dots += long{keys.count} * queries;
            cairn::F32::keys().scores(keys, dims, q, q_stride, queries, s, s_stride);
        };
        codec.weigh = [](const cairn::Rows& values, int dims, const float* p,
                         std::ptrdiff_t p_stride, int queries, float* o, std::ptrdiff_t o_stride) {
            weighed += values.count;
            sums += long{values.count} * queries;
            cairn::F32::values().weigh(values, dims, p, p_stride, queries, o, o_stride);
        };
        return codec;
    }
};

}  // namespace support
