// Mixture of experts: a router sends every token to a few of many feed-forward layers.
//
//   tokens      t0 -> e2 e7    t1 -> e0 e2    t2 -> e2 e5
//   sorted      e0: t1 | e2: t0 t1 t2 | e5: t2 | e7: t0       one product an expert, many rows each
//   y of t      experts ascending: ((w e)_first + (w e)_second + ...) + shared
//
// A token's bits depend on the token alone, never on who is in its batch.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cairn/layers/mlp.hpp"
#include "cairn/layers/norm.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// One expert of a token, and what its output is multiplied with.
struct Chosen {
    int expert = 0;
    float weight = 0.0F;
};

/// How a token's logits become experts: a value, whose members are its settings. Shared by threads.
template <class T>
concept ExpertRouter = std::copyable<T> && requires(const T& t, float* logits, int experts,
                                                    Chosen* to, Fingerprint& print) {
    /// Experts of a token.
    { t.chosen() } -> std::convertible_to<int>;
    /// Throws Error{invalid_argument} unless so many experts can be chosen from.
    t.check(experts);
    /// to[chosen()] from finite logits[experts], which it may overwrite up to the next
    /// multiple of 16; all different.
    t.route(logits, experts, to);
    /// Adds its settings to a fingerprint.
    t.hash(print);
};

/// The logit or score of an expert that is not to be chosen (again).
inline constexpr float out_of_choice = -std::numeric_limits<float>::infinity();

/// Calls `take(i)` for the `count` largest of `n` finite numbers value(i), largest first, the lower
/// index first among equals; `take` sees to it that value(i) is `out_of_choice` from then on.
template <class Value, class Take>
void take_largest(int n, int count, const Value& value, const Take& take) {
    for (int i = 0; i < count; ++i) {
        int best = 0;
        for (int e = 1; e < n; ++e)
            if (value(e) > value(best)) best = e;
        take(best);
    }
}

/// The experts of largest probability, softmax over all (DeepSeek V2, Mixtral). With groups, only
/// experts of the groups with the largest probabilities come into question.
struct SoftmaxRouter {
    static constexpr int most_groups = 64;
    /// What an expert's weight is: its probability, or its share of those of the chosen; both
    /// times `scale`.
    enum class Weights : std::uint8_t { probabilities, shares };
    int experts_used = 1;
    int groups = 1;       ///< of neighbouring experts, all of one size
    int groups_used = 1;  ///< of a token
    float scale = 1.0F;
    Weights weights = Weights::probabilities;

    int chosen() const noexcept { return experts_used; }
    void check(int experts) const {
        require(groups > 0 && groups <= most_groups && experts % groups == 0 && groups_used > 0 &&
                    groups_used <= groups && experts_used > 0 &&
                    experts_used <= experts / groups * groups_used,
                ErrorCode::invalid_argument, "experts: ", experts_used, " of ", experts, " in ",
                groups_used, " of ", groups, " groups (at most ", most_groups, ")");
        internal::require_finite({scale}, "experts: scale");
    }
    void route(float* p, int experts, Chosen* to) const {
        float max = 0.0F;
        float sum = 0.0F;
        const kernels::Table& kernel = kernels::active();
        kernel.softmax(p, 0, experts, &max, &sum);
        kernel.scale(1.0F / sum, experts, p);
        if (groups > groups_used) keep_groups(p, experts / groups);
        float all = 0.0F;
        Chosen* next = to;
        take_largest(
            experts, experts_used, [&](int e) { return p[e]; },
            [&](int e) {
                *next++ = {e, p[e]};
                all += p[e];
                p[e] = out_of_choice;
            });
        const float times = weights == Weights::shares ? scale / all : scale;
        for (Chosen* c = to; c != next; ++c) c->weight *= times;
    }
    void hash(Fingerprint& to) const {
        for (const int n : {experts_used, groups, groups_used, static_cast<int>(weights)})
            to.add(static_cast<std::uint64_t>(n));
        to.add(&scale, sizeof scale);
    }

  private:
    // Takes out the experts of all other groups.
    void keep_groups(float* p, int size) const {
        float best[most_groups];
        bool kept[most_groups] = {};
        for (int g = 0; g < groups; ++g)
            best[g] = *std::max_element(p + g * size, p + (g + 1) * size);
        take_largest(
            groups, groups_used, [&](int g) { return best[g]; },
            [&](int g) {
                kept[g] = true;
                best[g] = out_of_choice;
            });
        for (int g = 0; g < groups; ++g)
            if (!kept[g]) std::fill_n(p + g * size, size, out_of_choice);
    }
};

/// One expert: gate and up [width -> hidden], down [hidden -> width].
struct Expert {
    Linear gate;
    Linear up;
    Linear down;
};

/// The experts of a layer behind their router, and a feed-forward layer beside them that every
/// token goes through (the shared experts of DeepSeek, side by side), or none.
template <ExpertRouter Router = SoftmaxRouter, class Gate = SiluGate>
class Experts {
  public:
    /// `logits` [width -> experts]. Throws Error{shape_mismatch, invalid_argument, non_finite}.
    Experts(Router router, Linear logits, std::vector<Expert> experts,
            std::optional<SwiGlu> shared = std::nullopt, Gate gate = {})
        : router_(std::move(router)),
          logits_(std::move(logits)),
          experts_(std::move(experts)),
          shared_(std::move(shared)),
          gate_(gate) {
        require(!experts_.empty() && std::ssize(experts_) == logits_.out(),
                ErrorCode::shape_mismatch, "experts: a router to ", logits_.out(), " for ",
                experts_.size());
        hidden_ = experts_.front().down.in();
        for (const Expert& e : experts_)
            require(e.gate.in() == width() && e.gate.out() == hidden_ && e.up.in() == width() &&
                        e.up.out() == hidden_ && e.down.in() == hidden_ && e.down.out() == width(),
                    ErrorCode::shape_mismatch, "expert ", &e - experts_.data(), ": gate ",
                    e.gate.in(), " -> ", e.gate.out(), ", up ", e.up.in(), " -> ", e.up.out(),
                    ", down ", e.down.in(), " -> ", e.down.out(), " for ", width(), " and ",
                    hidden_);
        if (shared_) internal::check_width("shared experts", *shared_, "layer", width());
        router_.check(static_cast<int>(experts_.size()));
    }

    /// y does not overlap x. Throws Error{non_finite} where the router's logits are NaN or
    /// infinite.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        const FpEnvironment environment;
        Workspace::Frame frame(context.workspace());
        const std::ptrdiff_t places = x.rows * router_.chosen();
        const Places at = sort(x, frame, context);
        // A single row is the same for all its experts.
        const bool one = x.rows == 1;
        const Activations from = one ? x : room(places, width(), frame);
        if (!one) spread(x, at, from, context);
        const Activations both = room(places, 2 * hidden_, frame);
        const Activations made = room(places, width(), frame);
        each(at, 2, frame, context, [&](const Expert& e, const auto& rows, OwnProduct* to) {
            const Activations in = one ? from : rows(from, 0);
            new (to) OwnProduct{product(e.gate, rows(both, 0)), in};
            new (to + 1) OwnProduct{product(e.up, rows(both, hidden_)), in};
        });
        for_each_row(context, places, [&](std::ptrdiff_t r) {
            gate_.apply(both.row(r), both.row(r) + hidden_, hidden_);
        });
        each(at, 1, frame, context, [&](const Expert& e, const auto& rows, OwnProduct* to) {
            new (to) OwnProduct{product(e.down, rows(made, 0)), rows(both, 0)};
        });
        add_up(x, at, made, y, context);
        if (!shared_) return;
        const Activations beside = room(x.rows, width(), frame);
        shared_->forward(x, beside, context);
        for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
            kernels::active().add(beside.row(r), width(), y.row(r));
        });
    }

    std::ptrdiff_t width() const noexcept { return logits_.in(); }
    std::size_t parameters() const noexcept {
        return sum([](const auto& part) { return part.parameters(); });
    }
    std::size_t bytes() const noexcept {
        return sum([](const auto& part) { return part.bytes(); });
    }
    /// Of those that one token is sent to.
    std::size_t decode_bytes() const noexcept {
        std::size_t all = 0;
        for (const Expert& e : experts_) all += e.gate.bytes() + e.up.bytes() + e.down.bytes();
        return bytes() - all + all / experts_.size() * static_cast<std::size_t>(router_.chosen());
    }
    /// Adds the weights and the router's settings to a fingerprint.
    void hash(Fingerprint& to) const {
        router_.hash(to);
        if constexpr (requires { gate_.hash(to); }) gate_.hash(to);
        each_part([&](const auto& part) { part.hash(to); });
    }

  private:
    // Where the rows of experts lie: those of expert e at [first[e], first[e + 1]).
    struct Places {
        const Chosen* chosen;  // [rows][chosen()], experts ascending
        const int* place;      // [rows][chosen()]
        const int* first;      // [experts + 1]
    };

    static Activations room(std::ptrdiff_t rows, std::ptrdiff_t columns, Workspace::Frame& frame) {
        return {frame.floats(static_cast<std::size_t>(rows * columns)), columns, rows};
    }
    static Product product(const Linear& linear, const Activations& y) {
        return {&linear.weights(), linear.bias(), y};
    }

    // Asks the router, and sorts tokens by expert; those of one expert keep their order.
    Places sort(const Activations& x, Workspace::Frame& frame, Context& context) const {
        const auto experts = static_cast<int>(experts_.size());
        const int k = router_.chosen();
        const auto places = static_cast<std::size_t>(x.rows * k);
        auto* chosen = frame.array<Chosen>(places);
        auto* place = frame.array<int>(places);
        auto* first = frame.array<int>(experts_.size() + 1);
        // Rows of whole vectors, which is how routers get them.
        const auto stride = static_cast<std::ptrdiff_t>(round_up(experts_.size(), 16));
        const Activations logits = room(x.rows, stride, frame);
        logits_.forward(x, logits, context);
        internal::require_finite_rows(logits, experts, "the logits of experts", context);
        for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
            Chosen* own = chosen + r * k;
            router_.route(logits.row(r), experts, own);
            std::sort(own, own + k,
                      [](const Chosen& a, const Chosen& b) { return a.expert < b.expert; });
        });
        std::fill_n(first, experts + 1, 0);
        for (std::size_t i = 0; i < places; ++i) ++first[chosen[i].expert + 1];
        for (int e = 0; e < experts; ++e) first[e + 1] += first[e];
        auto* next = frame.array<int>(experts_.size());
        std::copy_n(first, experts, next);
        for (std::size_t i = 0; i < places; ++i) place[i] = next[chosen[i].expert]++;
        return {chosen, place, first};
    }
    void spread(const Activations& x, const Places& at, const Activations& to,
                Context& context) const {
        for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
            const int* place = at.place + r * router_.chosen();
            for (int i = 0; i < router_.chosen(); ++i)
                std::copy_n(x.row(r), width(), to.row(place[i]));
        });
    }
    // All products of experts that have rows, `count` an expert, at once.
    template <class Make>
    void each(const Places& at, std::size_t count, Workspace::Frame& frame, Context& context,
              const Make& make) const {
        auto* products = frame.array<OwnProduct>(count * experts_.size());
        std::size_t n = 0;
        for (std::size_t e = 0; e < experts_.size(); ++e) {
            const std::ptrdiff_t first = at.first[e];
            const std::ptrdiff_t rows = at.first[e + 1] - first;
            if (rows == 0) continue;
            make(
                experts_[e],
                [&](const Activations& of, std::ptrdiff_t column) {
                    return Activations{of.row(first) + column, of.stride, rows};
                },
                products + n);
            n += count;
        }
        multiply_each({products, n}, context);
    }
    void add_up(const Activations& x, const Places& at, const Activations& made,
                const Activations& y, Context& context) const {
        for_each_row(context, x.rows, [&](std::ptrdiff_t r) {
            std::fill_n(y.row(r), width(), 0.0F);
            const std::ptrdiff_t begin = r * router_.chosen();
            for (std::ptrdiff_t i = begin; i < begin + router_.chosen(); ++i)
                kernels::active().axpy(at.chosen[i].weight, made.row(at.place[i]), width(),
                                       y.row(r));
        });
    }
    template <class Body>
    void each_part(const Body& body) const {
        body(logits_);
        for (const Expert& e : experts_) body(e.gate), body(e.up), body(e.down);
        if (shared_) body(*shared_);
    }
    template <class Count>
    std::size_t sum(const Count& count) const noexcept {
        std::size_t result = 0;
        each_part([&](const auto& part) { result += count(part); });
        return result;
    }

    Router router_;
    Linear logits_;
    std::vector<Expert> experts_;
    std::optional<SwiGlu> shared_;
    [[no_unique_address]] Gate gate_;
    std::ptrdiff_t hidden_ = 0;
};

}}  // namespace cairn
