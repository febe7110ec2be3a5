// Rows of 1 to 8 bits a number with a scale and a least value a group, and differences to the rows
// of the layer before in such codes: what XQuant (Tomar, Hooper et al. 2025, arXiv 2508.10395)
// keeps of a layer's inputs, alone and across layers (CL).
#pragma once

#include <memory>

#include "cairn/cache/codec/block.hpp"
#include "cairn/cache/codec/decoded.hpp"
#include "cairn/cache/codec/packed_codes.hpp"
#include "cairn/cache/seam/row_store.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

/// A row: [scale, least: 2 f16] a group, then codes, `bits` each.
class UniformRows : public DecodedCodec {
  public:
    UniformRows(int bits, int group, const CodecTraits& traits)
        : DecodedCodec(traits), layout_{bits, group, true, 0, Meaning::plain} {}
    UniformRows(int bits, int group)
        : UniformRows(bits, group, {.name = "uniform", .finite_only = true}) {}
    std::size_t unit_bytes(int dims) const override {
        checked_width(dims, max_row);
        return static_cast<std::size_t>(4 * groups(dims)) + code_bytes(dims, layout_.bits);
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        for (int r = 0; r < to.count; ++r)
            encode_row(x + r * stride, dims, to.unit + r * to.stride);
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        for (int r = 0; r < from.count; ++r)
            decode_row(from.unit + r * from.stride, dims,
                       [row = x + r * stride](int i, float number) { row[i] = number; });
    }
    /// Bits and group are no constants of a calibration, but other files must not be taken.
    std::uint64_t fingerprint() const override {
        return static_cast<std::uint64_t>(layout_.bits) << 32 |
               static_cast<std::uint64_t>(layout_.group);
    }

  protected:
    void encode_row(const float* x, int dims, std::byte* to) const {
        CodeBlock block;
        PackedCodes codes(to + 4 * groups(dims), layout_.bits);
        for (int g = 0; g < groups(dims); ++g) {
            const int n = layout_.block_dims(dims, g);
            quantise_block(layout_, x + g * layout_.group, n, block);
            std::memcpy(to + 4 * g, &block.scale, 2);
            std::memcpy(to + 4 * g + 2, &block.least, 2);
            for (int i = 0; i < n; ++i) codes.put(block.code[i]);
        }
        codes.finish();
    }
    template <class Put>
    void decode_row(const std::byte* from, int dims, const Put& put) const {
        f16_bits scale = 0;
        f16_bits least = 0;
        unpack_codes(from + 4 * groups(dims), dims, layout_.bits, [&](int i, unsigned code) {
            if (i % layout_.group == 0) {
                std::memcpy(&scale, from + i / layout_.group * 4, 2);
                std::memcpy(&least, from + i / layout_.group * 4 + 2, 2);
            }
            put(i, block_value(layout_, scale, least, static_cast<std::uint8_t>(code)));
        });
    }
    int groups(int dims) const noexcept { return (dims + layout_.group - 1) / layout_.group; }

  private:
    RowLayout layout_;
};

/// A row as its difference to the row that the layer before reads: the loop is closed, so what a
/// layer loses does not add up over layers.
class DifferenceRows final : public UniformRows {
  public:
    DifferenceRows(int bits, int group)
        : UniformRows(bits, group, {.name = "difference", .based = true, .finite_only = true}) {}
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch scratch) const override {
        float* row = scratch.take(static_cast<std::size_t>(dims));
        Rows one = to;
        one.count = 1;
        for (int r = 0; r < to.count; ++r, one.unit += to.stride, ++one.row) {
            decode_base(one, dims, row, dims, scratch);
            for (int i = 0; i < dims; ++i) row[i] = x[r * stride + i] - row[i];
            encode_row(row, dims, one.unit);
        }
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch scratch) const override {
        decode_base(from, dims, x, stride, scratch);
        for (int r = 0; r < from.count; ++r)
            decode_row(from.unit + r * from.stride, dims,
                       [row = x + r * stride](int i, float number) { row[i] += number; });
    }
    std::size_t scratch_floats(int dims) const override {
        return UniformRows::scratch_floats(dims) + Scratch::round(static_cast<std::size_t>(dims));
    }

  private:
    // The rows of the layer before; it may itself hold differences to an earlier one.
    static void decode_base(const Rows& rows, int dims, float* x, std::ptrdiff_t stride,
                            Scratch scratch) {
        require(rows.base != nullptr, ErrorCode::bad_state,
                "differences to a layer before that is not there");
        rows.base->each(rows.head, rows.row, rows.row + rows.count,
                        [&](const Codec& codec, const Rows& from, int first) {
                            codec.decode(from, dims, x + (first - rows.row) * stride, stride,
                                         scratch);
                        });
    }
};

}  // namespace internal

/// Keys, values or a layer's inputs (`+inputs`: XQuant) of `bits` a number with a scale and a least
/// value a group of numbers. With `across` of n > 0 (XQuant-CL) the first n layers are kept at
/// `base_bits`, and every later one as differences to what the layer before it reads.
struct Uniform {
    int bits = 4;
    int group = 0;  ///< numbers; 0: the widest of 128, 96, 64, 32 that divides a row
    int across = 0;
    int base_bits = 4;

    static constexpr std::string_view word = "uniform";
    static constexpr std::string_view help =
        "N bits a number in groups; across=N: later layers as differences to the one before";
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "bits of a number", 1}, self.bits);
        visit(Option{"group", "numbers that share a scale", 1, Given::unless_zero}, self.group);
        visit(Option{"across", "layers before those kept as differences", 1, Given::unless_zero},
              self.across);
    }
    std::string_view wrong() const noexcept {
        return bits < 1 || bits > 8 || group > internal::max_block
                   ? "uniform codes have 1 to 8 bits, and groups of up to 4096 numbers"
                   : "";
    }
    std::optional<CodecFacts> facts_now() const { return CodecFacts{.based = across > 0}; }
    /// Throws Error{invalid_argument} for bits and groups that cannot be.
    StreamPlan plan(const StreamShape& shape) const {
        require(wrong().empty() && group >= 0 && base_bits >= 1 && base_bits <= 8,
                ErrorCode::invalid_argument, "uniform codes of ", bits, " and ", base_bits,
                " bits in groups of ", group);
        int width = group;
        for (const int w : {128, 96, 64, 32})
            if (width == 0 && shape.dims % w == 0) width = w;
        if (width == 0) width = std::min(shape.dims, 128);
        if (across > 0 && shape.layer >= across)
            return std::make_shared<const internal::DifferenceRows>(bits, width);
        return std::make_shared<const internal::UniformRows>(across > 0 ? base_bits : bits, width);
    }
};

}}  // namespace cairn
