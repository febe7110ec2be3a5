// XQuant (Yang et al. 2025, arXiv 2510.11236): 2 and 1 bit a number in KIVI's layout, of which
// every other layer reads the codes of the layer before it and keeps scales of its own only; codes
// stand for numbers drawn in from the ends of their range (eta).
#pragma once

#include <algorithm>
#include <memory>
#include <optional>

#include "cairn/cache/codec/block.hpp"
#include "cairn/cache/codec/decoded.hpp"
#include "cairn/cache/codec/packed_codes.hpp"
#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/seam/row_store.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

/// What both streams share: `bits` a code, a scale and a least value a group.
class SharedCodes : public DecodedCodec {
  public:
    /// eta: the part of the range that either end is drawn in by, in thousandths.
    SharedCodes(int bits, int group, int eta, bool follower, CodecTraits traits)
        : DecodedCodec(traits),
          layout_{bits, group, true, 0, Meaning::plain},
          eta_(eta),
          follower_(follower) {}
    std::uint64_t fingerprint() const override { return print(follower_); }
    bool follows(const Codec& before) const override {
        return before.name == "xlayers" && before.rows_per_unit == rows_per_unit &&
               before.fingerprint() == print(false);
    }
    /// The number of a code; exact in double, rounded once. With an eta of 0 it is KIVI's.
    static float value(f16_bits scale, f16_bits least, unsigned code, int bits, double eta) {
        const double s = f16_to_f32(scale);
        const double m = std::fma(eta * ((1 << bits) - 1), s, double{f16_to_f32(least)});
        return static_cast<float>(std::fma(static_cast<double>(code), (1.0 - 2.0 * eta) * s, m));
    }

  protected:
    static CodecTraits traits(int rows, bool follower) {
        return {.name = follower ? "xlayers-follower" : "xlayers",
                .rows_per_unit = rows,
                .movable = rows == 1,
                .whole_units = rows > 1,
                .based = follower,
                .finite_only = true};
    }
    int bits() const noexcept { return layout_.bits; }
    std::size_t row_codes(int dims) const noexcept { return code_bytes(dims, bits()); }
    float number(const std::byte* scale, const std::byte* least, unsigned code) const {
        f16_bits s = 0;
        f16_bits m = 0;
        std::memcpy(&s, scale, 2);
        std::memcpy(&m, least, 2);
        return value(s, m, code, bits(), 0.001 * eta_);
    }
    // Calls body(row, unit with its parameters, its codes) for each row; `parameters` bytes of a
    // unit lie before its codes.
    template <class Body>
    void each_row(const Rows& rows, int dims, std::size_t parameters, const Body& body) const {
        const auto codes = [&](const Rows& from, int r) {
            const int lane = from.lane + r;
            return from.unit + lane / rows_per_unit * from.stride + parameters +
                   static_cast<std::size_t>(lane % rows_per_unit) * row_codes(dims);
        };
        const auto unit = [&](int r) {
            return rows.unit + (rows.lane + r) / rows_per_unit * rows.stride;
        };
        if (!follower_) {
            for (int r = 0; r < rows.count; ++r) body(r, unit(r), codes(rows, r));
            return;
        }
        require(rows.base != nullptr, ErrorCode::bad_state,
                "codes of a layer before that is not there");
        rows.base->each(rows.head, rows.row, rows.row + rows.count,
                        [&](const Codec&, const Rows& from, int first) {
                            for (int r = 0; r < from.count; ++r)
                                body(first - rows.row + r, unit(first - rows.row + r),
                                     codes(from, r));
                        });
    }
    const RowLayout layout_;
    const int eta_;
    const bool follower_;

  private:
    std::uint64_t print(bool follower) const noexcept {
        return static_cast<std::uint64_t>(layout_.bits) << 48 |
               static_cast<std::uint64_t>(layout_.group) << 32 |
               static_cast<std::uint64_t>(eta_) << 8 | (follower ? 1U : 0U);
    }
};

/// Keys by channel: a unit of `group` positions is [scale x dims][least x dims] f16, then, of a
/// leader, the codes position after position.
class SharedKeyCodes final : public SharedCodes {
  public:
    SharedKeyCodes(int bits, int group, int eta, bool follower)
        : SharedCodes(bits, group, eta, follower, traits(group, follower)) {}
    std::size_t unit_bytes(int dims) const override {
        checked_width(dims, max_row);
        return 4 * static_cast<std::size_t>(dims) +
               (follower_ ? 0 : static_cast<std::size_t>(rows_per_unit) * row_codes(dims));
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        CodeBlock block;
        float column[128];
        for (int first = 0; first + rows_per_unit <= to.count; first += rows_per_unit) {
            std::byte* unit = to.unit + first / rows_per_unit * to.stride;
            std::fill_n(unit, unit_bytes(dims), std::byte{0});
            for (int d = 0; d < dims; ++d) {
                for (int i = 0; i < rows_per_unit; ++i) column[i] = x[(first + i) * stride + d];
                quantise_block(layout_, column, rows_per_unit, block);
                std::memcpy(unit + 2 * d, &block.scale, 2);
                std::memcpy(unit + 2 * (dims + d), &block.least, 2);
                for (int i = 0; !follower_ && i < rows_per_unit; ++i)
                    put(unit + 4 * dims + static_cast<std::size_t>(i) * row_codes(dims), d * bits(),
                        block.code[i]);
            }
        }
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        each_row(from, dims, 4 * static_cast<std::size_t>(dims),
                 [&](int r, const std::byte* unit, const std::byte* codes) {
                     unpack_codes(codes, dims, bits(), [&](int d, unsigned code) {
                         x[r * stride + d] = number(unit + 2 * d, unit + 2 * (dims + d), code);
                     });
                 });
    }

  private:
    // The code that begins at a bit of a row's codes; it may end in the next byte.
    void put(std::byte* codes, int bit, unsigned code) const {
        const int here = std::min(bits(), 8 - bit % 8);
        std::byte* at = codes + bit / 8;
        put_bits(at, static_cast<unsigned>(bit % 8), (1U << here) - 1, code & ((1U << here) - 1));
        if (here < bits()) put_bits(at + 1, 0, (1U << (bits() - here)) - 1, code >> here);
    }
};

/// Values by token: a row is [scale, least] f16 a group, then, of a leader, the codes.
class SharedValueCodes final : public SharedCodes {
  public:
    SharedValueCodes(int bits, int group, int eta, bool follower)
        : SharedCodes(bits, group, eta, follower, traits(1, follower)) {}
    std::size_t unit_bytes(int dims) const override {
        checked_width(dims, max_row);
        return parameters(dims) + (follower_ ? 0 : row_codes(dims));
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        CodeBlock block;
        for (int r = 0; r < to.count; ++r) {
            std::byte* at = to.unit + r * to.stride;
            PackedCodes codes(at + parameters(dims), bits());
            for (int g = 0; g < layout_.blocks(dims); ++g) {
                const int n = layout_.block_dims(dims, g);
                quantise_block(layout_, x + r * stride + g * layout_.group, n, block);
                std::memcpy(at + 4 * g, &block.scale, 2);
                std::memcpy(at + 4 * g + 2, &block.least, 2);
                for (int i = 0; !follower_ && i < n; ++i) codes.put(block.code[i]);
            }
            if (!follower_) codes.finish();
        }
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        each_row(from, dims, parameters(dims),
                 [&](int r, const std::byte* unit, const std::byte* codes) {
                     unpack_codes(codes, dims, bits(), [&](int d, unsigned code) {
                         const std::byte* at = unit + d / layout_.group * 4;
                         x[r * stride + d] = number(at, at + 2, code);
                     });
                 });
    }

  private:
    std::size_t parameters(int dims) const noexcept {
        return 4 * static_cast<std::size_t>(layout_.blocks(dims));
    }
};

}  // namespace internal

/// Keys of `wide` bits (the paper's 2) in the first `kq` layers and of 1 bit behind them, values
/// alike with `vq` (0: all layers are wide). From layer `km` (values: `vm`) on, odd layers share
/// the codes of the layer before (0: none do). `recent` tokens stay in f16.
struct XQuantLayers {
    int wide = 2;
    int kq = 0;
    int vq = 0;
    int km = 0;
    int vm = 0;
    int group = 128;  ///< positions of a key's channel, or numbers of a value, that share a scale
    int recent = 128;
    int eta1 = 200;  ///< thousandths of the range that ends of 1 bit are drawn in by
    int eta2 = 50;   ///< ... and those of more

    static constexpr std::string_view word = "xlayers";
    static constexpr std::string_view help =
        "N bits up to layer kq, vq, 1 behind; odd layers from km, vm on share codes";
    static constexpr CodecFacts facts{.key_unit = 32, .movable = false, .ages = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"bits", "bits of the first layers", 1}, self.wide);
        visit(Option{"kq", "layers whose keys have so many", 1, Given::unless_zero}, self.kq);
        visit(Option{"vq", "layers whose values have so many", 1, Given::unless_zero}, self.vq);
        visit(Option{"km", "the layer from which keys share codes", 1, Given::unless_zero},
              self.km);
        visit(Option{"vm", "the layer from which values share codes", 1, Given::unless_zero},
              self.vm);
        visit(Option{"group", "numbers that share a scale: 32, 64, 128", 32}, self.group);
        visit(Option{"recent", "rows in f16", 32}, self.recent);
        visit(Option{"eta1", "thousandths that ends of 1 bit are drawn in by"}, self.eta1);
        visit(Option{"eta2", "thousandths that ends of more are drawn in by"}, self.eta2);
    }
    std::string_view wrong() const noexcept {
        if ((group != 32 && group != 64 && group != 128) || recent <= 0 || recent % group != 0)
            return "xlayers has groups of 32, 64 or 128, and whole groups of recent rows";
        if (wide < 1 || wide > 8) return "xlayers has 1 to 8 bits";
        return eta1 < 0 || eta1 >= 500 || eta2 < 0 || eta2 >= 500
                   ? "xlayers draws ends in by less than 500 thousandths"
                   : "";
    }
    std::optional<CodecFacts> facts_now() const {
        return CodecFacts{
            .key_unit = group, .movable = false, .ages = true, .based = km > 0 || vm > 0};
    }
    /// Bits of a code of a layer's keys or values.
    int bits(int layer, bool keys) const noexcept {
        const int two = keys ? kq : vq;
        return two == 0 || layer < two ? wide : 1;
    }
    /// Whether a layer reads the codes of the one before.
    bool follows(int layer, bool keys) const noexcept {
        const int from = keys ? km : vm;
        return from > 0 && layer % 2 == 1 && layer >= from;
    }
    /// The paper's count: bits of the codes that are stored, a number of keys and values, scales
    /// and recent rows left out. 1.375 for 32 layers with kq=30, vq=2, km=32, vm=16.
    double equivalent_bits(int layers) const noexcept {
        int sum = 0;
        for (int layer = 0; layer < layers; ++layer)
            for (const bool keys : {true, false})
                if (!follows(layer, keys)) sum += bits(layer, keys);
        return 0.5 * sum / layers;
    }
    /// Throws Error{invalid_argument} for settings that cannot be, and for a layer that would share
    /// codes of another number of bits.
    StreamPlan plan(const StreamShape& shape) const {
        require(wrong().empty(), ErrorCode::invalid_argument, wrong());
        const bool follower = follows(shape.layer, shape.keys);
        const int b = bits(shape.layer, shape.keys);
        require(!follower || bits(shape.layer - 1, shape.keys) == b, ErrorCode::invalid_argument,
                "layer ", shape.layer, " has ", b, " bits and shares codes of ",
                bits(shape.layer - 1, shape.keys));
        const int eta = b == 1 ? eta1 : eta2;
        if (shape.keys)
            return StreamPlan(
                {{lasting(F16::keys()), recent, 1},
                 {std::make_shared<const internal::SharedKeyCodes>(b, group, eta, follower)}});
        return StreamPlan({{lasting(F16::values()), 1, recent},
                           {std::make_shared<const internal::SharedValueCodes>(
                               b, std::min(group, shape.dims), eta, follower)}});
    }
};

}}  // namespace cairn
