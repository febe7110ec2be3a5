// Rows of 2 to 4 bits a number with levels that are not evenly spaced, and outliers kept apart
// (KVQuant, Hooper et al. 2024, arXiv 2401.18079). A row of n numbers of b bits lies as
//   [middle, half width: 2 f16, values only] [outliers: index, f16 each] [codes, b bits each]
// An index has one byte up to 255 numbers a row and two beyond; an unused outlier has all bits of
// it set.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cairn/cache/codec/decoded.hpp"
#include "cairn/cache/codec/packed_codes.hpp"
#include "cairn/core/fingerprint.hpp"
#include "cairn/numeric/half.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// The level nearest to x; `levels` ascend. Halfway the lower one.
inline std::uint8_t nearest_level(const float* levels, int count, float x) noexcept {
    int code = 0;
    for (int c = 0; c + 1 < count; ++c) code += (levels[c] * 0.5F + levels[c + 1] * 0.5F) < x;
    return static_cast<std::uint8_t>(code);
}

/// Outliers of a row of values: 1 % of its numbers, one at least.
constexpr int value_outliers(int dims) noexcept { return std::max(1, (dims + 50) / 100); }
/// Room for those of a row of keys, of which there are 1 % on average.
constexpr int key_outliers(int dims) noexcept { return std::max(1, (dims + 31) / 32); }

/// Takes the `count` outliers of a row away, one after the other: the least or the greatest that
/// is left, whichever leaves the narrower range. Marks them in `out` and returns the range of the
/// others.
inline std::pair<float, float> take_outliers(const float* x, int dims, int count,
                                             std::uint8_t* out) {
    std::fill_n(out, dims, std::uint8_t{0});
    for (int taken = 0;; ++taken) {
        int low[2] = {-1, -1};  // the least and the one above it
        int high[2] = {-1, -1};
        for (int i = 0; i < dims; ++i) {
            if (out[i] != 0) continue;
            if (low[0] < 0 || x[i] < x[low[0]]) {
                low[1] = std::exchange(low[0], i);
            } else if (low[1] < 0 || x[i] < x[low[1]]) {
                low[1] = i;
            }
            if (high[0] < 0 || x[i] > x[high[0]]) {
                high[1] = std::exchange(high[0], i);
            } else if (high[1] < 0 || x[i] > x[high[1]]) {
                high[1] = i;
            }
        }
        if (taken == count || low[1] < 0) return {x[low[0]], x[high[0]]};
        const bool greatest = x[high[1]] - x[low[0]] <= x[high[0]] - x[low[1]];
        out[greatest ? high[0] : low[0]] = 1;
    }
}

/// What both streams share: where a row's parts lie.
class NuqCodec : public DecodedCodec {
  public:
    static constexpr int most_dims = 4096;
    /// Bytes of an outlier.
    static constexpr int outlier_bytes(int dims) noexcept { return dims <= 255 ? 3 : 4; }

  protected:
    NuqCodec(std::string_view word, int bits)
        : DecodedCodec({.name = word, .movable = true, .finite_only = true}), bits_(bits) {}
    int levels() const noexcept { return 1 << bits_; }
    static std::size_t checked_dims(int dims) {
        require(dims > 0 && dims <= most_dims, ErrorCode::limit, "rows of ", dims,
                " numbers a head: this codec takes up to ", most_dims);
        return static_cast<std::size_t>(dims);
    }
    std::size_t bytes_of(int dims, int outliers, int parameters) const {
        checked_dims(dims);
        return static_cast<std::size_t>(parameters + outliers * outlier_bytes(dims)) +
               code_bytes(dims, bits_);
    }
    static void put_outlier(std::byte*& at, int dims, int index, float x) {
        if (dims <= 255) {
            *at++ = static_cast<std::byte>(index);
        } else {
            const auto wide = static_cast<std::uint16_t>(index);
            std::memcpy(at, &wide, 2);
            at += 2;
        }
        const f16_bits half = f32_to_f16_saturated(x);
        std::memcpy(at, &half, 2);
        at += 2;
    }
    // The numbers of `count` outliers go to their places in x; the codes lie behind.
    static const std::byte* read_outliers(const std::byte* at, int dims, int count, float* x) {
        for (int k = 0; k < count; ++k) {
            int index = 0;
            std::memcpy(&index, at, dims <= 255 ? 1 : 2);
            at += dims <= 255 ? 1 : 2;
            f16_bits half = 0;
            std::memcpy(&half, at, 2);
            at += 2;
            if (index < dims) x[index] = f16_to_f32(half);
        }
        return at;
    }
    const int bits_;
};

/// Values: middle and half width a row, found when it is written; levels from a calibration.
class NuqValues final : public NuqCodec {
  public:
    /// 2^bits levels that ascend, in [-1, 1].
    NuqValues(std::string_view word, int bits, std::span<const float> levels)
        : NuqCodec(word, bits), levels_(levels.begin(), levels.end()) {}
    std::size_t unit_bytes(int dims) const override {
        return bytes_of(dims, value_outliers(dims), 4);
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        std::uint8_t out[most_dims];
        float table[16];
        for (int r = 0; r < to.count; ++r) {
            const float* row = x + r * stride;
            std::byte* at = to.unit + r * to.stride;
            const auto [low, high] = take_outliers(row, dims, value_outliers(dims), out);
            const f16_bits range[2] = {f32_to_f16_saturated(low * 0.5F + high * 0.5F),
                                       f32_to_f16_saturated(high * 0.5F - low * 0.5F)};
            std::memcpy(at, range, 4);
            at += 4;
            int left = value_outliers(dims);
            for (int i = 0; i < dims; ++i)
                if (out[i] != 0) put_outlier(at, dims, i, row[i]), --left;
            while (left-- > 0) put_outlier(at, dims, -1, 0.0F);  // rows of a single number
            fill(range, table);
            PackedCodes codes(at, bits_);
            for (int i = 0; i < dims; ++i) codes.put(nearest_level(table, levels(), row[i]));
            codes.finish();
        }
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        float table[16];
        for (int r = 0; r < from.count; ++r) {
            const std::byte* at = from.unit + r * from.stride;
            f16_bits range[2];
            std::memcpy(range, at, 4);
            fill(range, table);
            const int outliers = value_outliers(dims);
            float* row = x + r * stride;
            unpack_codes(at + 4 + outliers * outlier_bytes(dims), dims, bits_,
                         [&](int i, unsigned code) { row[i] = table[code]; });
            read_outliers(at + 4, dims, outliers, row);
        }
    }
    std::uint64_t fingerprint() const override {
        Fingerprint print;
        print.add(levels_.data(), levels_.size() * sizeof(float));
        return print.value();
    }

  private:
    // What the codes of a row stand for; exact in double, rounded once.
    void fill(const f16_bits* range, float* table) const {
        const double middle = f16_to_f32(range[0]);
        const double half = f16_to_f32(range[1]);
        for (int c = 0; c < levels(); ++c)
            table[c] = static_cast<float>(
                std::fma(double{levels_[static_cast<std::size_t>(c)]}, half, middle));
    }
    std::vector<float> levels_;
};

/// Keys: the range of each channel is known beforehand, so a row holds codes and outliers only.
/// What a code of a channel stands for is computed once, when the codec is made.
class NuqKeys final : public NuqCodec {
  public:
    /// Ranges [heads * dims] of the channels, and levels as of values. Numbers outside a range are
    /// outliers; those without room become the ends of the range.
    NuqKeys(std::string_view word, int bits, int dims, std::span<const float> low,
            std::span<const float> high, std::span<const float> levels)
        : NuqCodec(word, bits),
          dims_(dims),
          low_(low.begin(), low.end()),
          high_(high.begin(), high.end()) {
        table_.reserve(low.size() * levels.size());
        for (std::size_t c = 0; c < low.size(); ++c) {
            const double middle = 0.5 * (double{low[c]} + double{high[c]});
            const double half = 0.5 * (double{high[c]} - double{low[c]});
            for (const float level : levels)
                table_.push_back(static_cast<float>(std::fma(double{level}, half, middle)));
        }
    }
    std::size_t unit_bytes(int dims) const override {
        require(dims == dims_, ErrorCode::shape_mismatch, "rows of ", dims,
                " numbers a head: they were calibrated with ", dims_);
        return bytes_of(dims, key_outliers(dims), 0);
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch) const override {
        for (int r = 0; r < to.count; ++r) {
            const float* row = x + r * stride;
            std::byte* at = to.unit + r * to.stride;
            put_outliers(row, to.head, at);
            PackedCodes codes(at, bits_);
            for (int i = 0; i < dims; ++i)
                codes.put(nearest_level(table(to.head, i), levels(), row[i]));
            codes.finish();
        }
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch) const override {
        for (int r = 0; r < from.count; ++r) {
            const std::byte* at = from.unit + r * from.stride;
            float* row = x + r * stride;
            const float* values = table(from.head, 0);
            const int outliers = key_outliers(dims);
            unpack_codes(at + outliers * outlier_bytes(dims), dims, bits_,
                         [&](int i, unsigned code) { row[i] = values[i * levels() + int(code)]; });
            read_outliers(at, dims, outliers, row);
        }
    }
    std::uint64_t fingerprint() const override {
        Fingerprint print;
        for (const auto* numbers : {&low_, &high_, &table_})
            print.add(numbers->data(), numbers->size() * sizeof(float));
        return print.value();
    }

  private:
    std::size_t channel(int head, int i) const noexcept {
        return static_cast<std::size_t>(head) * static_cast<std::size_t>(dims_) +
               static_cast<std::size_t>(i);
    }
    const float* table(int head, int i) const noexcept {
        return table_.data() + channel(head, i) * static_cast<std::size_t>(levels());
    }
    // How far a number is outside its channel's range, in half widths.
    float excess(const float* row, int head, int i) const noexcept {
        const std::size_t c = channel(head, i);
        const float beyond = std::max(low_[c] - row[i], row[i] - high_[c]);
        return beyond / std::max(high_[c] * 0.5F - low_[c] * 0.5F, 1e-30F);
    }
    // The numbers farthest outside, as many as there is room for.
    void put_outliers(const float* row, int head, std::byte*& at) const {
        const int room = key_outliers(dims_);
        std::uint8_t taken[most_dims];
        std::fill_n(taken, dims_, std::uint8_t{0});
        for (int k = 0; k < room; ++k) {
            int most = -1;
            float largest = 0.0F;
            for (int i = 0; i < dims_; ++i) {
                const float now = excess(row, head, i);
                if (now > largest && taken[i] == 0) most = i, largest = now;
            }
            if (most >= 0) taken[most] = 1;
            put_outlier(at, dims_, most, most >= 0 ? row[most] : 0.0F);
        }
    }
    int dims_;
    std::vector<float> low_;
    std::vector<float> high_;
    std::vector<float> table_;  // [head][dim][code]
};

}}}  // namespace cairn::internal
