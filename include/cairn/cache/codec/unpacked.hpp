// Encoded rows once they are floats: what the queries of a prompt read, many times each. Attention
// unpacks a segment into its scratch; no cache is written so.
#pragma once

#include "cairn/cache/seam/codec.hpp"
#include "cairn/kernels/dispatch.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Keys in tiles [dim][16 positions], or values in rows padded to 16 numbers.
template <bool of_keys>
class Unpacked final : public Codec {
  public:
    constexpr Unpacked()
        : Codec({.name = "unpacked", .rows_per_unit = of_keys ? kernels::key_tile : 1}) {}
    constexpr ~Unpacked() override = default;
    constexpr std::size_t unit_bytes(int dims) const override {
        const auto numbers = static_cast<std::size_t>(of_keys ? dims : (dims + 15) / 16);
        return 16 * sizeof(float) * numbers;
    }
    void encode(const float*, std::ptrdiff_t, int, const Rows&, Scratch) const override {
        fail(ErrorCode::unsupported, "unpacked rows are not written");
    }
    void decode(const Rows&, int, float*, std::ptrdiff_t, Scratch) const override {
        fail(ErrorCode::unsupported, "unpacked rows are not read back");
    }
    void scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride, int queries,
                float* s, std::ptrdiff_t s_stride, Scratch scratch) const override {
        if constexpr (of_keys)
            kernels::active().scores_tiles<ElementType::f32>(
                {keys.unit, keys.stride, keys.lane, keys.count, dims}, q, q_stride, queries, s,
                s_stride);
        else
            Codec::scores(keys, dims, q, q_stride, queries, s, s_stride, scratch);
    }
    void weigh(const Rows& values, int dims, int lead, const float* p, std::ptrdiff_t p_stride,
               int queries, float* o, std::ptrdiff_t o_stride, Scratch scratch) const override {
        if constexpr (of_keys)
            Codec::weigh(values, dims, lead, p, p_stride, queries, o, o_stride, scratch);
        else
            kernels::active().weigh_rows<ElementType::f32>(
                {values.unit, values.stride, 0, values.count, lead}, p, p_stride, queries, o,
                o_stride);
    }
};

template <bool of_keys>
inline constexpr Unpacked<of_keys> unpacked_rows{};

}}}  // namespace cairn::internal
