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
    static const cairn::Codec& keys() noexcept { return codec(); }
    static const cairn::Codec& values() noexcept { return codec(); }

  private:
    class Counted final : public cairn::Codec {
      public:
        Counted() : Codec(cairn::CodecTraits(cairn::F32::keys())) {}
        std::size_t unit_bytes(int dims) const override {
            return cairn::F32::keys().unit_bytes(dims);
        }
        void encode(const float* x, std::ptrdiff_t stride, int dims, const cairn::Rows& to,
                    cairn::Scratch scratch) const override {
            written += to.count;
            cairn::F32::keys().encode(x, stride, dims, to, scratch);
        }
        void decode(const cairn::Rows& from, int dims, float* x, std::ptrdiff_t stride,
                    cairn::Scratch scratch) const override {
            cairn::F32::keys().decode(from, dims, x, stride, scratch);
        }
        void scores(const cairn::Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride,
                    int queries, float* s, std::ptrdiff_t s_stride,
                    cairn::Scratch scratch) const override {
            scored += keys.count;
            dots += long{keys.count} * queries;
            cairn::F32::keys().scores(keys, dims, q, q_stride, queries, s, s_stride, scratch);
        }
        void weigh(const cairn::Rows& values, int dims, int lead, const float* p,
                   std::ptrdiff_t p_stride, int queries, float* o, std::ptrdiff_t o_stride,
                   cairn::Scratch scratch) const override {
            weighed += values.count;
            sums += long{values.count} * queries;
            cairn::F32::values().weigh(values, dims, lead, p, p_stride, queries, o, o_stride,
                                       scratch);
        }
    };
    static const cairn::Codec& codec() noexcept {
        static const Counted codec;
        return codec;
    }
};

}  // namespace support
