// The calibration of KVQuant (arXiv 2401.18079): levels by k-means on normalised numbers, and the
// range of each key channel, from the keys and values of a text.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "cairn/cache/codec/kvquant_tables.hpp"
#include "cairn/cache/codec/nuq.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

/// Numbers in order, and sums over the first n of them, so that a step of k-means costs a search a
/// level.
class SortedSample {
  public:
    /// Weights: one a number, at least 0; none: all 1.
    SortedSample(std::span<const float> values, std::span<const float> weights) {
        std::vector<std::uint32_t> order(values.size());
        std::iota(order.begin(), order.end(), 0U);
        std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
            return values[a] < values[b] || (values[a] == values[b] && a < b);
        });
        values_.reserve(values.size());
        sums_.reserve(values.size() + 1);
        sums_.push_back({});
        for (const std::uint32_t i : order) {
            const double w = weights.empty() ? 1.0 : double{weights[i]};
            const double x = values[i];
            values_.push_back(values[i]);
            const Sums& s = sums_.back();
            sums_.push_back({s.weight + w, std::fma(w, x, s.first), std::fma(w * x, x, s.second)});
        }
    }
    std::size_t size() const noexcept { return values_.size(); }
    float operator[](std::size_t i) const noexcept { return values_[i]; }
    /// The mean of each level's numbers; a level without any stays.
    std::vector<float> improved(const std::vector<float>& levels) const {
        std::vector<float> result(levels);
        each(levels, [&](std::size_t c, const Sums& s) {
            if (s.weight > 0.0) result[c] = static_cast<float>(s.first / s.weight);
        });
        std::sort(result.begin(), result.end());  // rounding may swap neighbours
        return result;
    }
    /// Weighted sum of squared distances to the nearest level.
    double error(const std::vector<float>& levels) const {
        double sum = 0.0;
        each(levels, [&](std::size_t c, const Sums& s) {
            const double x = levels[c];
            sum += s.second - 2.0 * x * s.first + x * x * s.weight;
        });
        return sum;
    }

  private:
    struct Sums {
        double weight = 0.0, first = 0.0, second = 0.0;
    };
    template <class Body>
    void each(const std::vector<float>& levels, const Body& body) const {
        std::size_t begin = 0;
        for (std::size_t c = 0; c < levels.size(); ++c) {
            std::size_t end = values_.size();
            if (c + 1 < levels.size()) {
                const double border = 0.5 * (double{levels[c]} + double{levels[c + 1]});
                end = static_cast<std::size_t>(
                    std::upper_bound(values_.begin(), values_.end(), border,
                                     [](double b, float x) { return b < double{x}; }) -
                    values_.begin());
            }
            end = std::max(begin, end);
            body(c, Sums{sums_[end].weight - sums_[begin].weight,
                         sums_[end].first - sums_[begin].first,
                         sums_[end].second - sums_[begin].second});
            begin = end;
        }
    }
    std::vector<float> values_;
    std::vector<Sums> sums_;
};

}  // namespace internal

/// `count` levels from -1 to 1, evenly spaced.
inline std::vector<float> even_levels(int count) {
    std::vector<float> levels;
    for (int i = 0; i < count; ++i)
        levels.push_back(-1.0F + 2.0F * static_cast<float>(i) / static_cast<float>(count - 1));
    return levels;
}

/// The mean squared error of numbers at their nearest levels.
inline double level_error(std::span<const float> values, std::span<const float> weights,
                          const std::vector<float>& levels) {
    return internal::SortedSample(values, weights).error(levels) /
           static_cast<double>(std::max<std::size_t>(values.size(), 1));
}

/// `count` ascending levels for numbers in [-1, 1] by weighted k-means: 50 steps at most from even
/// levels and from quantiles, of which the better one stays; so never worse than even levels. The
/// paper's weights are squared gradients (Fisher); none: all numbers weigh the same.
inline std::vector<float> find_levels(std::span<const float> values, std::span<const float> weights,
                                      int count) {
    constexpr int steps = 50;
    const internal::SortedSample sample(values, weights);
    if (sample.size() == 0) return even_levels(count);
    std::vector<std::vector<float>> starts{even_levels(count), {}};
    for (int i = 0; i < count; ++i)
        starts[1].push_back(sample[(2 * static_cast<std::size_t>(i) + 1) * sample.size() /
                                   (2 * static_cast<std::size_t>(count))]);
    std::vector<float> best = starts[0];
    double least = sample.error(best);
    for (std::vector<float>& levels : starts) {
        for (int i = 0; i < steps; ++i) {
            std::vector<float> next = sample.improved(levels);
            if (next == levels) break;
            levels = std::move(next);
        }
        if (const double error = sample.error(levels); error < least) {
            least = error;
            best = levels;
        }
    }
    return best;
}

/// What one layer adds to KvQuantTables, from keys [rows][kv_heads * key_dim] before rotation and
/// values [rows][kv_heads * value_dim]: ranges that leave floor(0.5 %) of a channel's keys out at
/// either end, then levels of all numbers inside, normalised to their ranges. Error{non_finite},
/// Error{invalid_argument} below 16 rows.
inline std::vector<float> calibrate_kvquant_layer(std::span<const float> keys,
                                                  std::span<const float> values,
                                                  const HeadLayout& layout) {
    const auto heads = static_cast<std::size_t>(layout.kv_heads);
    const std::size_t channels = heads * static_cast<std::size_t>(layout.key_dim);
    const auto value_dim = static_cast<std::size_t>(layout.value_dim);
    const std::size_t rows = keys.size() / channels;
    require(
        keys.size() == rows * channels && values.size() == rows * heads * value_dim && rows >= 16,
        ErrorCode::invalid_argument, "calibration with ", rows, " rows; 16 at least");
    for (const auto& numbers : {keys, values})
        for (const float x : numbers)
            require(std::isfinite(x), ErrorCode::non_finite, "calibration: NaN or infinity");
    std::vector<float> result(2 * channels);
    std::vector<float> inside[2];
    std::vector<float> column(rows);
    const auto normalise = [](std::vector<float>& to, float x, float low, float high) {
        const double half = 0.5 * (double{high} - double{low});
        const double middle = 0.5 * (double{high} + double{low});
        to.push_back(half > 0.0 ? static_cast<float>((double{x} - middle) / half) : 0.0F);
    };
    for (std::size_t c = 0; c < channels; ++c) {
        for (std::size_t r = 0; r < rows; ++r) column[r] = keys[r * channels + c];
        std::sort(column.begin(), column.end());
        const std::size_t out = rows / 200;
        const float low = result[c] = column[out];
        const float high = result[channels + c] = column[rows - 1 - out];
        for (std::size_t r = out; r < rows - out; ++r) normalise(inside[0], column[r], low, high);
    }
    std::vector<std::uint8_t> taken(value_dim);
    for (std::size_t r = 0; r < rows * heads; ++r) {
        const float* row = values.data() + r * value_dim;
        const auto [low, high] = internal::take_outliers(
            row, layout.value_dim, internal::value_outliers(layout.value_dim), taken.data());
        for (std::size_t i = 0; i < value_dim; ++i)
            if (taken[i] == 0) normalise(inside[1], row[i], low, high);
    }
    for (int bits = KvQuantTables::least_bits; bits <= KvQuantTables::most_bits; ++bits)
        for (const std::vector<float>& numbers : inside) {
            const std::vector<float> levels = find_levels(numbers, {}, 1 << bits);
            result.insert(result.end(), levels.begin(), levels.end());
        }
    return result;
}

}}  // namespace cairn
