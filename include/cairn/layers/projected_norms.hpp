// Steps between a layer's projections and its rotation: norms of queries and keys, head by head
// (Qwen3, Gemma 3, Cohere, StableLM) or over all heads at once (OLMo2), and a clamp (MPT).
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "cairn/layers/multi_head.hpp"
#include "cairn/layers/norm.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Norms of queries and keys. Each takes `span` numbers at a time: the width of a head, or of all
/// heads. A weight of `span` numbers serves every head, one as wide as all heads has a part a head.
class QueryKeyNorms final : public ProjectedStep {
  public:
    enum class Kind : std::uint8_t { rms, layer_without_bias };
    struct Part {
        std::vector<float> weight;
        std::ptrdiff_t width = 0;  ///< of all heads together
        std::ptrdiff_t span = 0;
    };
    /// Throws Error{shape_mismatch} for weights that fit neither, Error{non_finite,
    /// invalid_argument}.
    QueryKeyNorms(Kind kind, Part q, Part k, float epsilon)
        : kind_(kind), epsilon_(epsilon), q_(std::move(q)), k_(std::move(k)) {
        internal::check_epsilon(epsilon);
        check(q_, "queries");
        check(k_, "keys");
        zeros_.assign(static_cast<std::size_t>(std::max(q_.span, k_.span)), 0.0F);
    }
    void apply(float* q, float* k, float*) const override {
        norm(q_, q);
        if (k != nullptr) norm(k_, k);
    }
    std::size_t parameters() const noexcept override { return q_.weight.size() + k_.weight.size(); }
    void hash(Fingerprint& to) const override {
        to.add(static_cast<std::uint64_t>(kind_));
        for (const Part* part : {&q_, &k_}) {
            to.add(static_cast<std::uint64_t>(part->span));
            to.add(part->weight.data(), part->weight.size() * sizeof(float));
        }
        to.add(&epsilon_, sizeof epsilon_);
    }

  private:
    static void check(const Part& part, const char* what) {
        const auto size = std::ssize(part.weight);
        require(part.span > 0 && part.width % part.span == 0 &&
                    (size == part.span || size == part.width),
                ErrorCode::shape_mismatch, "norm of ", what, ": a weight of ", size,
                " numbers for rows of ", part.width, ", ", part.span, " at a time");
        internal::require_finite(part.weight, "norm of queries or keys: weight");
    }
    void norm(const Part& part, float* row) const {
        const kernels::Table& kernel = kernels::active();
        const std::ptrdiff_t step = std::ssize(part.weight) == part.span ? 0 : part.span;
        const float* weight = part.weight.data();
        for (std::ptrdiff_t at = 0; at < part.width; at += part.span, weight += step)
            if (kind_ == Kind::rms)
                kernel.rms_norm(row + at, weight, epsilon_, part.span, row + at);
            else
                kernel.layer_norm(row + at, weight, zeros_.data(), epsilon_, part.span, row + at);
    }
    Kind kind_;
    float epsilon_;
    Part q_;
    Part k_;
    std::vector<float> zeros_;
};

/// Queries, keys and values kept within [-most, most] (`clip_qkv`).
class ClampedProjections final : public ProjectedStep {
  public:
    /// Throws Error{invalid_argument} unless 0 < most < infinity.
    ClampedProjections(const HeadLayout& layout, float most) : layout_(layout), most_(most) {
        require(most > 0.0F && most < 1e30F, ErrorCode::invalid_argument, "projections clamped to ",
                most);
    }
    void apply(float* q, float* k, float* v) const override {
        clamp(q, std::ptrdiff_t{layout_.heads} * layout_.key_dim);
        if (k == nullptr) return;
        clamp(k, std::ptrdiff_t{layout_.kv_heads} * layout_.key_dim);
        clamp(v, std::ptrdiff_t{layout_.kv_heads} * layout_.value_dim);
    }
    void hash(Fingerprint& to) const override { to.add(&most_, sizeof most_); }

  private:
    // A NaN stays one: the layer's own look at its rows names it.
    void clamp(float* x, std::ptrdiff_t n) const {
        for (std::ptrdiff_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -most_, most_);
    }
    HeadLayout layout_;
    float most_;
};

}}  // namespace cairn
