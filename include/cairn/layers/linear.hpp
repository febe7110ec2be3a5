// y = W x + b for any number of rows, the same bits for each row whatever the number.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <new>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "cairn/core/context.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/core/parallel_for.hpp"
#include "cairn/kernels/dispatch.hpp"
#include "cairn/layers/weight_matrix.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Activations of consecutive tokens: row r at data + r * stride. Owned by somebody else.
struct Activations {
    float* data = nullptr;
    std::ptrdiff_t stride = 0;
    std::ptrdiff_t rows = 0;
    float* row(std::ptrdiff_t r) const noexcept { return data + r * stride; }
};

/// Calls body(row) for all rows, in parallel where there are enough of them.
template <class Body>
void for_each_row(Context& context, std::ptrdiff_t rows, Body&& body) {
    parallel_for(context.executor(), rows, 8, [&](std::ptrdiff_t begin, std::ptrdiff_t end, int) {
        for (std::ptrdiff_t r = begin; r < end; ++r) body(r);
    });
}

namespace internal {

/// The first row of x that has a NaN or an infinity in its first `width` numbers; x.rows if none
/// has.
inline std::ptrdiff_t first_not_finite(const Activations& x, std::ptrdiff_t width,
                                       Context& context) {
    std::atomic<std::ptrdiff_t> bad = x.rows;
    for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
        if (kernels::active().all_finite(x.row(r), width)) return;
        std::ptrdiff_t first = bad.load();
        while (r < first && !bad.compare_exchange_weak(first, r)) {
        }
    });
    return bad;
}
/// Error{non_finite} naming the place and that row.
inline void require_finite_rows(const Activations& x, std::ptrdiff_t width, const char* where,
                                Context& context) {
    const std::ptrdiff_t bad = first_not_finite(x, width, context);
    require(bad == x.rows, ErrorCode::non_finite, "NaN or infinity in ", where, ", row ", bad,
            " of ", x.rows);
}

}  // namespace internal

/// One of several products with the same activations.
struct Product {
    const WeightMatrix* weights;
    const float* bias;  ///< [out] or null
    Activations y;      ///< [rows][out]
    /// Only the outputs of these panels of 16 are computed; panel_end 0: all.
    std::ptrdiff_t panel_begin = 0;
    std::ptrdiff_t panel_end = 0;
};

/// Activations in the forms that kernels want, made once for all products that share them. Lives in
/// a workspace frame.
struct SharedActivations {
    const float* packed = nullptr;   ///< rows in tiles, for plain weights
    const float* rounded = nullptr;  ///< the same, for plain weights with rounded activations
    /// The form that layouts with this zero and group share.
    struct Entry {
        int zero;
        int group;
        const void* quantised;
    };
    std::array<Entry, 4> entries{};  ///< for block types
    std::size_t count = 0;
};

namespace internal {

struct PlainProduct {
    kernels::FloatProduct call;
    const kernels::Table* table;
    PlainWeights::Kernel* kernel;
};
inline void run_plain(const void* state, std::ptrdiff_t begin, std::ptrdiff_t end, int) {
    const auto* product = static_cast<const PlainProduct*>(state);
    kernels::FloatProduct part = product->call;
    part.panel_begin = begin;
    part.panel_end = end;
    product->kernel(*product->table, part);
}

// Rows in tiles of `tile`, rounded where `rounded` says how.
inline const float* pack(const Activations& x, std::ptrdiff_t in, int tile,
                         PlainWeights::Pack* rounded, Context& context, Workspace::Frame& frame) {
    const kernels::Table& kernel = kernels::active();
    const std::ptrdiff_t tiles = (x.rows + tile - 1) / tile;
    float* packed = frame.floats(static_cast<std::size_t>(tiles * tile * in));
    parallel_for(context.executor(), tiles, 1, [&](std::ptrdiff_t begin, std::ptrdiff_t end, int) {
        const std::ptrdiff_t first = begin * tile;
        const std::ptrdiff_t rows = std::min(end * tile, x.rows) - first;
        if (rounded != nullptr)
            rounded(kernel, x.row(first), x.stride, rows, in, tile, first, packed);
        else
            kernel.pack_rows(x.row(first), x.stride, rows, in, packed + first * in);
    });
    return packed;
}

inline PreparedProduct prepare_plain(const Product& product, const Activations& x,
                                     SharedActivations& shared, Context& context,
                                     Workspace::Frame& frame, const PlainWeights& type) {
    const kernels::Table& kernel = kernels::active();
    const WeightMatrix& weights = *product.weights;
    const bool one = x.rows == 1;
    const bool rounded = context.compute == Compute::fast && type.gemv_rounded != nullptr;
    const float*& packed = rounded ? shared.rounded : shared.packed;
    if (packed == nullptr && one && !rounded) packed = x.data;
    if (packed == nullptr)
        packed = pack(x, weights.in(), one ? 1 : kernel.tile_rows,
                      rounded ? type.pack_rounded : nullptr, context, frame);
    auto* state = frame.array<PlainProduct>(1);
    *state = {
        {weights.data(), product.bias, weights.in(), weights.out(), packed, product.y.data,
         product.y.stride, x.rows, 0, 0},
        &kernel,
        rounded ? (one ? type.gemv_rounded : type.gemm_rounded) : (one ? type.gemv : type.gemm)};
    return {state, run_plain, (weights.out() + kernels::panel - 1) / kernels::panel,
            one ? kernels::plain_streams : kernels::plain_group};
}

}  // namespace internal

namespace internal {

// A product of any weights, ready to run.
inline PreparedProduct prepare(const Product& product, const Activations& x,
                               SharedActivations& shared, Context& context,
                               Workspace::Frame& frame) {
    const BlockOperations* blocks = product.weights->operations();
    PreparedProduct ready = blocks != nullptr ? blocks->prepare(product, x, shared, context, frame)
                                              : prepare_plain(product, x, shared, context, frame,
                                                              *product.weights->plain());
    if (product.panel_end > 0) {
        ready.first = product.panel_begin;
        ready.panels = product.panel_end - product.panel_begin;
    }
    return ready;
}
// Runs products in whole groups of the kernels' panels, and no more at once: nobody waits long for
// the last one.
inline void run_products(std::span<const PreparedProduct> ready, Context& context) {
    std::ptrdiff_t panels = 0;
    std::ptrdiff_t group = 1;
    for (const PreparedProduct& product : ready) {
        panels += product.panels;
        group = std::lcm(group, product.group);
    }
    parallel_for(context.executor(), (panels + group - 1) / group, 1,
                 [&](std::ptrdiff_t begin, std::ptrdiff_t end, int worker) {
                     std::ptrdiff_t from = begin * group;
                     const std::ptrdiff_t to = std::min(end * group, panels);
                     std::ptrdiff_t before = 0;
                     for (std::size_t i = 0; from < to; before += ready[i].panels, ++i) {
                         const std::ptrdiff_t last = std::min(to - before, ready[i].panels);
                         if (from - before >= last) continue;
                         const std::ptrdiff_t offset = ready[i].first - before;
                         ready[i].run(ready[i].state, from + offset, last + ready[i].first, worker);
                         from = before + last;
                     }
                 });
}

}  // namespace internal

/// Several products with the same activations at once: y = W x + bias for each. At most 4.
inline void multiply(std::span<const Product> products, const Activations& x, Context& context) {
    const FpEnvironment environment;
    if (x.rows == 0 || products.empty()) return;
    Workspace::Frame frame(context.workspace());
    SharedActivations shared;
    std::array<PreparedProduct, 4> ready{};
    require(products.size() <= ready.size(), ErrorCode::invalid_argument,
            "multiply: ", products.size(), " products at once; at most ", ready.size());
    for (std::size_t i = 0; i < products.size(); ++i)
        ready[i] = internal::prepare(products[i], x, shared, context, frame);
    internal::run_products(std::span(ready).first(products.size()), context);
}

/// A product with activations of its own: of one head, of one expert.
struct OwnProduct {
    Product product;
    Activations x;
};

/// Any number of products at once, each with its own rows: the bits of one after the other.
/// Neighbours with the same rows share their preparation.
inline void multiply_each(std::span<const OwnProduct> products, Context& context) {
    const FpEnvironment environment;
    Workspace::Frame frame(context.workspace());
    auto* ready = frame.array<PreparedProduct>(products.size());
    std::size_t count = 0;
    SharedActivations shared;
    const Activations* last = nullptr;
    for (const OwnProduct& own : products) {
        if (own.x.rows == 0) continue;
        const bool same = last != nullptr && last->data == own.x.data &&
                          last->stride == own.x.stride && last->rows == own.x.rows;
        if (!same) shared = {};
        last = &own.x;
        new (ready + count++)
            PreparedProduct(internal::prepare(own.product, own.x, shared, context, frame));
    }
    internal::run_products({ready, count}, context);
}
/// y = W x with packed weights; `bias` may be null.
inline void multiply(const WeightMatrix& weights, const float* bias, const Activations& x,
                     const Activations& y, Context& context) {
    const Product product{&weights, bias, y};
    multiply(std::span(&product, 1), x, context);
}

/// A linear layer with an optional bias.
class Linear {
  public:
    Linear() = default;
    /// Throws Error{shape_mismatch} if the bias is neither empty nor as long as the output,
    /// Error{non_finite}.
    explicit Linear(WeightMatrix weights, std::vector<float> bias = {})
        : weights_(std::move(weights)), bias_(std::move(bias)) {
        require(bias_.empty() || static_cast<std::ptrdiff_t>(bias_.size()) == weights_.out(),
                ErrorCode::shape_mismatch, "linear: bias of ", bias_.size(), " for ",
                weights_.out(), " outputs");
        internal::require_finite(bias_, "linear: bias");
    }

    /// y[r] = W x[r] + b; x rows are `in` wide, y rows `out`. x and y do not overlap.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        multiply(weights_, bias(), x, y, context);
    }

    std::ptrdiff_t in() const noexcept { return weights_.in(); }
    std::ptrdiff_t out() const noexcept { return weights_.out(); }
    const WeightMatrix& weights() const noexcept { return weights_; }
    const float* bias() const noexcept { return bias_.empty() ? nullptr : bias_.data(); }
    std::size_t bytes() const noexcept { return weights_.bytes() + bias_.size() * sizeof(float); }
    std::size_t parameters() const noexcept {
        return static_cast<std::size_t>(weights_.out() * weights_.in()) + bias_.size();
    }
    /// Adds the weights to a fingerprint.
    void hash(Fingerprint& to) const {
        weights_.hash(to), to.add(bias_.data(), bias_.size() * sizeof(float));
    }

  private:
    WeightMatrix weights_;
    std::vector<float> bias_;
};

/// Linear layers with the same input whose outputs lie side by side: queries, keys and values, or
/// gate and up. Their weights may be stored in different types.
class JoinedLinear {
  public:
    JoinedLinear() = default;
    JoinedLinear(Linear only)  // NOLINT(google-explicit-constructor)
        : JoinedLinear(one(std::move(only))) {}
    /// Throws Error{shape_mismatch, invalid_argument} for none, more than 4, or different inputs.
    explicit JoinedLinear(std::vector<Linear> parts) : parts_(std::move(parts)) {
        require(!parts_.empty() && parts_.size() <= 4, ErrorCode::invalid_argument,
                "joined linear of ", parts_.size(), " parts; 1 to 4");
        for (const Linear& part : parts_) {
            require(part.in() == parts_.front().in(), ErrorCode::shape_mismatch,
                    "joined linear: inputs of ", part.in(), " and ", parts_.front().in());
            out_ += part.out();
        }
    }
    /// y[r] = [W0 x[r] + b0 | W1 x[r] + b1 | ...].
    void forward(const Activations& x, const Activations& y, Context& context) const {
        std::array<Product, 4> products{};
        std::ptrdiff_t at = 0;
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            products[i] = {&parts_[i].weights(), parts_[i].bias(), {y.data + at, y.stride, y.rows}};
            at += parts_[i].out();
        }
        multiply(std::span(products).first(parts_.size()), x, context);
    }
    /// y[r] = the outputs [begin, end) of the same, bit for bit.
    void forward(const Activations& x, const Activations& y, std::ptrdiff_t begin,
                 std::ptrdiff_t end, Context& context) const {
        constexpr std::ptrdiff_t panel = kernels::panel;
        Workspace::Frame frame(context.workspace());
        std::array<Product, 4> products{};
        std::array<const float*, 4> rooms{};
        std::size_t count = 0;
        const auto each_part = [&](auto body) {
            std::ptrdiff_t at = 0;
            std::size_t i = 0;
            for (const Linear& part : parts_) {
                const std::ptrdiff_t first = std::clamp<std::ptrdiff_t>(begin - at, 0, part.out());
                const std::ptrdiff_t last = std::clamp<std::ptrdiff_t>(end - at, 0, part.out());
                if (first < last) body(part, i++, at, first, last);
                at += part.out();
            }
        };
        // Whole panels are computed, beside y.
        each_part([&](const Linear& part, std::size_t i, std::ptrdiff_t, std::ptrdiff_t first,
                      std::ptrdiff_t last) {
            const std::ptrdiff_t from = first / panel;
            const std::ptrdiff_t to = (last + panel - 1) / panel;
            const std::ptrdiff_t width = (to - from) * panel;
            float* room = frame.floats(static_cast<std::size_t>(x.rows * width));
            // Output n lies at data + n: the room begins with the first panel.
            products[i] = {
                &part.weights(), part.bias(), {room - from * panel, width, x.rows}, from, to};
            rooms[i] = room;
            ++count;
        });
        multiply(std::span(products).first(count), x, context);
        each_part([&](const Linear&, std::size_t i, std::ptrdiff_t at, std::ptrdiff_t first,
                      std::ptrdiff_t last) {
            const float* from = rooms[i] + first % panel;
            for (std::ptrdiff_t r = 0; r < x.rows; ++r)
                std::copy_n(from + r * products[i].y.stride, last - first,
                            y.row(r) + at + first - begin);
        });
    }
    /// The weights [in] of output n, and its bias. Error{invalid_argument} if there is none.
    float output(std::ptrdiff_t n, float* weights) const {
        for (const Linear& part : parts_) {
            if (n >= 0 && n < part.out()) {
                part.weights().row(n, weights);
                return part.bias() != nullptr ? part.bias()[n] : 0.0F;
            }
            n -= part.out();
        }
        fail(ErrorCode::invalid_argument, "joined linear: no such output of ", out_);
    }
    std::ptrdiff_t in() const noexcept { return parts_.empty() ? 0 : parts_.front().in(); }
    std::ptrdiff_t out() const noexcept { return out_; }
    std::size_t bytes() const noexcept { return sum(&Linear::bytes); }
    std::size_t parameters() const noexcept { return sum(&Linear::parameters); }
    /// Adds the weights to a fingerprint.
    void hash(Fingerprint& to) const {
        for (const Linear& part : parts_) part.hash(to);
    }

  private:
    static std::vector<Linear> one(Linear only) {
        std::vector<Linear> result;
        result.push_back(std::move(only));
        return result;
    }
    std::size_t sum(std::size_t (Linear::*count)() const noexcept) const noexcept {
        std::size_t result = 0;
        for (const Linear& part : parts_) result += (part.*count)();
        return result;
    }
    std::vector<Linear> parts_;
    std::ptrdiff_t out_ = 0;
};

}}  // namespace cairn
