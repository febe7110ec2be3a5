// KIVI (Liu et al. 2024, arXiv 2402.02750): recent tokens in f16, older keys with a scale and a
// least value a channel over groups of 32 tokens, older values with theirs a token over 32
// channels. Keys age in blocks of 128 tokens, values one by one, 128 tokens behind. Where the
// published code sees a prompt in full precision, here a row is seen as it would be one token at a
// time, so that the cut of a prompt changes nothing.
#pragma once

#include "cairn/cache/codec/block.hpp"
#include "cairn/cache/codec/plain.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Keys in groups of 32 positions with a scale and a least value a channel.
template <int bits>
class ChannelCodec final : public Codec {
  public:
    static constexpr int group = kernels::cached::channel_group;
    static constexpr RowLayout layout = bits == 4 ? kernels::cached::q4_1 : kernels::cached::int2;
    constexpr ChannelCodec()
        : Codec({.name = bits == 4 ? "kivi4" : "kivi2",
                 .rows_per_unit = group,
                 .movable = false,
                 .whole_units = true,
                 .finite_only = true,
                 .unpacked = &unpacked_rows<true>}) {}
    constexpr ~ChannelCodec() override = default;
    std::size_t unit_bytes(int dims) const override {
        return static_cast<std::size_t>(
            kernels::cached::channel_bytes(bits, checked_width(dims, max_row)));
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        CodeBlock block;
        for (int first = 0; first + group <= to.count; first += group) {
            std::byte* unit = to.unit + first / group * to.stride;
            for (int d = 0; d < dims; ++d) {
                float column[group];
                for (int i = 0; i < group; ++i) column[i] = x[(first + i) * stride + d];
                quantise_block(layout, column, group, block);
                std::memcpy(unit + 2 * d, &block.scale, 2);
                std::memcpy(unit + 2 * (dims + d), &block.least, 2);
                for (int i = 0; i < group; ++i) {
                    const CodePlace at = place(dims, d, i);
                    put_bits(unit + at.byte, at.shift, levels, block.code[i]);
                }
            }
        }
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        for (int r = 0; r < from.count; ++r) {
            const int lane = from.lane + r;
            const std::byte* unit = from.unit + lane / group * from.stride;
            for (int d = 0; d < dims; ++d) {
                f16_bits s;
                f16_bits m;
                std::memcpy(&s, unit + 2 * d, 2);
                std::memcpy(&m, unit + 2 * (dims + d), 2);
                const CodePlace at = place(dims, d, lane % group);
                x[r * stride + d] = block_value(
                    layout, s, m,
                    static_cast<std::uint8_t>(get_bits(unit + at.byte, at.shift, levels)));
            }
        }
    }
    void scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride, int queries,
                float* s, std::ptrdiff_t s_stride, Scratch) const override {
        kernels::cached::channel_products_for<bits>(kernels::active())
            .scores({keys.unit, keys.stride, keys.lane, keys.count, dims, keys.ahead}, q, q_stride,
                    queries, s, s_stride);
    }

    void unpack(const Rows& from, int dims, float* to) const override {
        kernels::cached::channel_products_for<bits>(kernels::active())
            .unpack_keys({from.unit, from.stride, from.lane, from.count, dims}, to);
    }

  private:
    static constexpr unsigned levels = (1U << bits) - 1;
    // The byte and shift of the code of dim d at place `lane` of the unit.
    static CodePlace place(int dims, int d, int lane) {
        const int half = lane / 16;
        if constexpr (bits == 4)
            return {4 * dims + d * 16 + lane % 16, static_cast<unsigned>(half * 4), 0, 0};
        return {4 * dims + d / 2 * 16 + lane % 16, static_cast<unsigned>(d % 2 * 4 + half * 2), 0,
                0};
    }
};

template <int bits>
inline constexpr ChannelCodec<bits> channel_keys{};
template <int bits>
inline constexpr BlockCodec<ChannelCodec<bits>::layout, false> channel_values{bits == 4 ? "kivi4"
                                                                                        : "kivi2"};

}  // namespace internal

/// KIVI with `bits` of 4 or 2; `recent` tokens stay in f16, a multiple of 32.
template <int bits, int recent = 128>
struct Kivi {
    static constexpr std::string_view word = bits == 4 ? "kivi4" : "kivi2";
    static constexpr CodecFacts facts{
        .key_unit = kernels::cached::channel_group, .movable = false, .ages = true};
    static_assert(bits == 4 || bits == 2, "Kivi<bits>: 4 and 2 bits exist.");
    static_assert(recent > 0 && recent % 32 == 0,
                  "Kivi<bits, recent>: keys are quantised in groups of 32 tokens.");
    static StreamPlan keys() {
        return StreamPlan(
            {{lasting(F16::keys()), recent, 1}, {lasting(internal::channel_keys<bits>)}});
    }
    static StreamPlan values() {
        return StreamPlan(
            {{lasting(F16::values()), 1, recent}, {lasting(internal::channel_values<bits>)}});
    }
};

}}  // namespace cairn
