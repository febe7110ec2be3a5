// For models that norm the embedded token before the first block (BLOOM).
#pragma once

#include <utility>

#include "cairn/layers/norm.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Positions enter by ALiBi or by rotation; the embedding is normed.
class NormedEmbedding {
  public:
    NormedEmbedding(LayerNorm norm, int context) : norm_(std::move(norm)), context_(context) {}
    void add(int, float* row, float*) const { norm_.apply(row, row); }
    std::ptrdiff_t width() const noexcept { return norm_.width(); }
    int limit() const noexcept { return context_; }
    static constexpr bool relative() noexcept { return true; }
    std::size_t parameters() const noexcept { return norm_.parameters(); }
    std::size_t bytes() const noexcept { return 0; }
    void hash(Fingerprint& to) const { norm_.hash(to); }

  private:
    LayerNorm norm_;
    int context_;
};

}}  // namespace cairn
