// The projections to keys and values as two steps, of which a cache keeps what is between them: an
// input's coordinates in orthonormal bases of what the projections look at (XQuant's form for
// grouped heads, Tomar, Hooper et al. 2025, arXiv 2508.10395: K = (X U)(S B^T)).
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cairn/attention/parameters.hpp"
#include "cairn/cache/seam/row_kind.hpp"
#include "cairn/core/eigen.hpp"
#include "cairn/layers/linear.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

class InputFactors {
  public:
    /// Of outputs [keys, keys + key_width) and the value_width ones behind them.
    [[gnu::cold]] InputFactors(const JoinedLinear& qkv, std::ptrdiff_t keys,
                               std::ptrdiff_t key_width, std::ptrdiff_t value_width,
                               FactorWeights* find)
        : keys_(qkv, keys, key_width, find), values_(qkv, keys + key_width, value_width, find) {}
    /// Coordinates of input rows x: k [rows][key_width], v [rows][value_width].
    void coordinates(const Activations& x, const Activations& k, const Activations& v,
                     Context& context) const {
        keys_.to.forward(x, k, context);
        values_.to.forward(x, v, context);
    }
    /// Outputs [begin, begin + dims) of rows of coordinates, which lie one behind the other.
    void make(Made what, const float* x, int count, std::ptrdiff_t begin, std::ptrdiff_t dims,
              const Activations& out, Context& context) const {
        const JoinedLinear& from = what == Made::keys ? keys_.from : values_.from;
        from.forward({const_cast<float*>(x), from.in(), count}, out, begin, begin + dims, context);
    }
    /// Numbers of the wider of the two rows.
    int width() const noexcept {
        return static_cast<int>(std::max(keys_.from.in(), values_.from.in()));
    }

  private:
    struct Pair {
        Linear to;
        JoinedLinear from;
        [[gnu::cold]] Pair(const JoinedLinear& all, std::ptrdiff_t first, std::ptrdiff_t out,
                           FactorWeights* find) {
            const std::ptrdiff_t in = all.in();
            RowMatrix w(out, in), to_rows(out, in), from_rows(out, out);
            std::vector<float> bias(static_cast<std::size_t>(out));
            for (std::ptrdiff_t n = 0; n < out; ++n)
                bias[static_cast<std::size_t>(n)] = all.output(first + n, w.row(n).data());
            find(w.data(), static_cast<int>(out), static_cast<int>(in), to_rows.data(),
                 from_rows.data());
            to = Linear(WeightMatrix::from(to_rows));
            from = JoinedLinear(Linear(WeightMatrix::from(from_rows), std::move(bias)));
        }
    };
    Pair keys_;
    Pair values_;
};

/// The projections of one layer in two steps, found when the first cache wants them so: once for
/// every way to find them, as sessions of one model may differ in it. Threads share it.
class FactorsFound {
  public:
    [[gnu::cold]] static std::shared_ptr<FactorsFound> none() {
        return std::make_shared<FactorsFound>();
    }
    /// Arguments and errors of InputFactors. What is returned stays where it is.
    [[gnu::cold]] const InputFactors& by(FactorWeights* find, const JoinedLinear& qkv,
                                         std::ptrdiff_t keys, std::ptrdiff_t key_width,
                                         std::ptrdiff_t value_width) {
        const std::lock_guard lock(mutex_);
        for (const auto& found : found_)
            if (found->find == find) return found->factors;
        found_.push_back(std::make_unique<const Found>(find, qkv, keys, key_width, value_width));
        return found_.back()->factors;
    }

  private:
    struct Found {
        FactorWeights* find;
        InputFactors factors;
        Found(FactorWeights* by, const JoinedLinear& qkv, std::ptrdiff_t keys,
              std::ptrdiff_t key_width, std::ptrdiff_t value_width)
            : find(by), factors(qkv, keys, key_width, value_width, by) {}
        [[gnu::cold]] ~Found() = default;
    };
    std::mutex mutex_;
    std::vector<std::unique_ptr<const Found>> found_;
};

}}}  // namespace cairn::internal
