// Embeddings: rows of a weight matrix looked up by token or by position.
#pragma once

#include <limits>
#include <utility>

#include "cairn/layers/linear.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// One row a token. The matrix is packed like any other, so a tied output layer shares it.
class Embedding {
  public:
    Embedding() = default;
    explicit Embedding(WeightMatrix table) : table_(std::move(table)) {}
    /// to[width] = row `id`; 0 <= id < count().
    void lookup(std::ptrdiff_t id, float* to) const { table_.row(id, to); }
    std::ptrdiff_t count() const noexcept { return table_.out(); }
    std::ptrdiff_t width() const noexcept { return table_.in(); }
    const WeightMatrix& table() const noexcept { return table_; }

  private:
    WeightMatrix table_;
};

/// Learned positions (GPT-2): a vector added to the embedding of each token.
class LearnedPositions {
  public:
    LearnedPositions() = default;
    explicit LearnedPositions(WeightMatrix table) : table_(std::move(table)) {}
    /// row += table[position]; `scratch` holds width floats.
    void add(int position, float* row, float* scratch) const {
        const FpEnvironment environment;
        table_.row(position, scratch);
        kernels::active().add(scratch, table_.in(), row);
    }
    std::ptrdiff_t width() const noexcept { return table_.in(); }
    int limit() const noexcept { return static_cast<int>(table_.out()); }
    /// Whether tokens beyond the limit can be fed to a cache that forgets old rows.
    static constexpr bool relative() noexcept { return false; }
    std::size_t parameters() const noexcept {
        return static_cast<std::size_t>(table_.out() * table_.in());
    }
    std::size_t bytes() const noexcept { return table_.bytes(); }
    void hash(Fingerprint& to) const { table_.hash(to); }

  private:
    WeightMatrix table_;
};

/// For models whose positions enter by rotation and whose embedding is multiplied by a number
/// (Gemma, Granite).
class ScaledEmbedding {
  public:
    /// Throws Error{invalid_argument} for a factor that is not finite.
    ScaledEmbedding(float factor, std::ptrdiff_t width, int context)
        : factor_(factor), width_(width), context_(context) {
        require(factor - factor == 0.0F, ErrorCode::invalid_argument, "embedding times ", factor);
    }
    void add(int, float* row, float*) const {
        const FpEnvironment environment;
        kernels::active().scale(factor_, width_, row);
    }
    std::ptrdiff_t width() const noexcept { return width_; }
    int limit() const noexcept { return context_; }
    static constexpr bool relative() noexcept { return true; }
    std::size_t parameters() const noexcept { return 0; }
    std::size_t bytes() const noexcept { return 0; }
    void hash(Fingerprint& to) const {
        to.add(&factor_, sizeof factor_);
        to.setting("embedding scale", &factor_, sizeof factor_);
    }

  private:
    float factor_;
    std::ptrdiff_t width_;
    int context_;
};

/// For models whose positions enter by rotation.
struct NoPositions {
    int context = std::numeric_limits<int>::max();
    void add(int, float*, float*) const noexcept {}
    int limit() const noexcept { return context; }
    static constexpr bool relative() noexcept { return true; }
    std::size_t parameters() const noexcept { return 0; }
    std::size_t bytes() const noexcept { return 0; }
    void hash(Fingerprint&) const noexcept {}
};

}}  // namespace cairn
